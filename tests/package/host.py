"""An empty Django project of somebody else, in which the app may be installed."""

from __future__ import annotations

import json
import subprocess
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.package.environments import FreshEnvironment

DJANGO_APPS = (
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
)
# As `django-admin startproject` writes them, as far as they matter here.
_SETTINGS = """
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "x" * 50
DEBUG = False
ALLOWED_HOSTS = ["testserver"]
INSTALLED_APPS = {apps!r}
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "host.urls"
TEMPLATES = [
    {{
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {{
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        }},
    }},
]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "collected"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"""
_URLS = """
from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("admin/", admin.site.urls)]
"""
_MANAGE = """
import os
import sys

os.environ["DJANGO_SETTINGS_MODULE"] = "host.settings"
from django.core.management import execute_from_command_line

execute_from_command_line(sys.argv)
"""
# Asks for pages as an operator, or before the sign-in, and prints status and text of each.
_ASK = """
import json
import os
import sys

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "host.settings"
django.setup()
from django.contrib.auth import get_user_model
from django.test import Client

users = get_user_model().objects
root = users.filter(username="root").first() or users.create_superuser("root", "", "root")
answers = []
for method, path, form in json.loads(sys.argv[1]):
    client = Client()
    if method != "anonymous":
        client.force_login(root)
    response = client.post(path, form) if method == "post" else client.get(path)
    answers.append([response.status_code, response.content.decode()])
print(json.dumps(answers))
"""
_LOOK = {
    "base_site.html": """{% extends "admin/base.html" %}
{% block title %}{{ title }} @ {{ site_title }}{% endblock %}
{% block branding %}<p>The shop's own: {{ site_header }}</p>{% endblock %}""",
    "index.html": """{% extends "admin/base_site.html" %}
{% block content %}<h1>The shop's own {{ title }}</h1>{% include "admin/app_list.html" %}{% endblock %}""",
    "nav_sidebar.html": """<nav id="nav-sidebar">The shop's own</nav>""",
}
_OWN_TITLES = """
admin.site.site_header = "Shop header"
admin.site.site_title = "Shop title"
admin.site.index_title = "Shop index"
"""
_OWN_MIGRATE = """
from django.core.management.commands import migrate

class Command(migrate.Command):
    help = "The shop's own migrate."
"""


@dataclass(frozen=True)
class Answer:
    status: int
    text: str


@dataclass(frozen=True)
class Host:
    """The project in `folder`, run in `environment`."""

    folder: Path
    environment: FreshEnvironment

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.environment.run(self.environment.python, "manage.py", *arguments, folder=self.folder)

    def run(self, *arguments: str) -> str:
        """A command that must succeed; what it printed."""
        done = self.manage(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, *requests: tuple[str, str] | tuple[str, str, dict[str, Any]]) -> list[Answer]:
        """The answers to requests: `get`, `post` (with a form) or `anonymous`, and the path."""
        steps = [(*request, {})[:3] for request in requests]
        done = self.environment.run(self.environment.python, "ask.py", json.dumps(steps), folder=self.folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return [Answer(*answer) for answer in json.loads(done.stdout)]


def make_host(
    folder: Path,
    environment: FreshEnvironment,
    *,
    apps: Iterable[str],
    settings: str = "",
    urls: str = "",
    has_own_look: bool = False,
    has_own_migrate: bool = False,
) -> Host:
    """A project with `apps` before Django's own, and perhaps an app `shop` with a look and a `migrate` of its own."""
    installed = [*apps, *DJANGO_APPS]
    files = {
        "manage.py": _MANAGE,
        "ask.py": _ASK,
        "host/__init__.py": "",
        "host/settings.py": _SETTINGS.format(apps=installed) + textwrap.dedent(settings),
        "host/urls.py": _URLS + (_OWN_TITLES if has_own_look else "") + textwrap.dedent(urls),
        "shop/__init__.py": "",
    }
    if has_own_look:
        files |= {f"shop/templates/admin/{name}": text for name, text in _LOOK.items()}
    if has_own_migrate:
        files |= {f"shop/{name}/__init__.py": "" for name in ("management", "management/commands")}
        files["shop/management/commands/migrate.py"] = _OWN_MIGRATE
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip("\n"))
    return Host(folder, environment)
