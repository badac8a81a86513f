"""Loaded by pytest before Django's settings are (`-p tests.environment`): what is tested is not up to a developer's .env."""

import os

os.environ["APP_ENV"] = "development"
os.environ["SECRET_KEY"] = "only-for-tests-0123456789-abcdefghijklmnop"  # noqa: S105 - protects nothing
for _name in list(os.environ):
    if _name.startswith(("GOLIVE_", "GO_LIVE_", "RENDER_", "CORS_", "ALLOWED_")):
        del os.environ[_name]
