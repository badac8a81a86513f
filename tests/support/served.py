"""The environment of a service that runs beside the tests, on their database."""

from __future__ import annotations

import os
from urllib.parse import quote

from django.db import connection

RELEASE = "e5c1b2f0a9d84736bb51c2d3e4f5061728394a5b"


def server_environment() -> dict[str, str]:
    """For `GunicornServer`: it uses the test database, and accepts sessions that the tests create."""
    return {
        "DATABASE_URL": _database_url(),
        "SECRET_KEY": os.environ["SECRET_KEY"],
        "RENDER_GIT_COMMIT": RELEASE,
    }


def _database_url() -> str:
    values = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{values['NAME']}"
    user, password = (quote(values[name], safe="") for name in ("USER", "PASSWORD"))
    return f"postgresql://{user}:{password}@{values['HOST']}:{values['PORT']}/{quote(values['NAME'], safe='')}"
