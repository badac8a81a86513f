"""The project's settings with views that fail, and a switch that takes one safeguard out.

`FAULTY_WITHOUT` names the safeguard: a test that stays green without it would prove nothing.
"""

import os

from valhalla.settings import *  # noqa: F403 - all of them is the point
from valhalla.settings import DATABASES, MIDDLEWARE

ROOT_URLCONF = "tests.faulty.urls"

MIDDLEWARE_OF_ROLLBACK = "golive.middleware.AtomicRequestMiddleware"
WITHOUT = os.environ.get("FAULTY_WITHOUT", "")

match WITHOUT:
    case "":
        pass
    case "middleware":
        MIDDLEWARE.remove(MIDDLEWARE_OF_ROLLBACK)
    case "atomic-requests":
        DATABASES["default"]["ATOMIC_REQUESTS"] = False
    case "health-checks":
        DATABASES["default"]["CONN_HEALTH_CHECKS"] = False
    case _:
        raise ValueError(f"FAULTY_WITHOUT={WITHOUT} names no safeguard")
