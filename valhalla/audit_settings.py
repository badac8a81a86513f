"""Settings for commands that only read files: they ignore this installation's environment variables, valid or not."""

from __future__ import annotations

import secrets
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = secrets.token_urlsafe(48)
INSTALLED_APPS = ["golive", "django.contrib.contenttypes", "django.contrib.auth"]
USE_TZ = True
