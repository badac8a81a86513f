"""The settings for commands that look at files only: they need no variable of this installation, good or bad."""

from __future__ import annotations

import secrets
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = secrets.token_urlsafe(48)
INSTALLED_APPS = ["golive", "django.contrib.contenttypes", "django.contrib.auth"]
USE_TZ = True
