"""Loaded by pytest before Django's settings (`-p tests.support.environment`), so that no .env has an effect."""

import os

from tests.support.server import VARIABLES

# Empty, not deleted: the real environment overrides .env, and empty means the default.
os.environ |= {name: "" for name in VARIABLES if name != "DATABASE_URL"}
os.environ["APP_ENV"] = "development"
os.environ["SECRET_KEY"] = "only-for-tests-0123456789-abcdefghijklmnop"
