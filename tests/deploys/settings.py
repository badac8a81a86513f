"""The project's settings and what a test adds through the environment: apps, a second database, sabotage."""

from __future__ import annotations

import os

from valhalla.database_url import parse_database_url
from valhalla.settings import *  # noqa: F403 - that is what a settings module on top of another does
from valhalla.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.deploys.sabotage", *filter(None, os.environ.get("EXTRA_APPS", "").split(","))]

if other := os.environ.get("OTHER_DATABASE_URL", ""):
    DATABASES["other"] = {**DATABASES["default"], **parse_database_url("OTHER_DATABASE_URL", other)}
    DATABASES["other"]["ENGINE"] = DATABASES["default"]["ENGINE"]

if routers := os.environ.get("ROUTERS", ""):
    DATABASE_ROUTERS = routers.split(",")
