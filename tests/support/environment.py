"""Loaded by pytest before Django's settings (`-p tests.support.environment`), so that no developer's .env decides."""

import os

from tests.support.server import VARIABLES

# Empty, not deleted: what is set in the real environment wins over .env, and empty means the default.
os.environ |= {name: "" for name in VARIABLES if name != "DATABASE_URL"}
os.environ["APP_ENV"] = "development"
os.environ["SECRET_KEY"] = "only-for-tests-0123456789-abcdefghijklmnop"
