"""Which installation this is: the names of its environment and database, shown so that nobody acts on the wrong one."""

from __future__ import annotations

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections


def environment_name() -> str:
    """The setting GOLIVE_ENVIRONMENT; where it is not set, APP_ENV, and without that production."""
    return str(getattr(settings, "GOLIVE_ENVIRONMENT", None) or getattr(settings, "APP_ENV", None) or "production")


def database_name(*, using: str = DEFAULT_DB_ALIAS) -> str:
    """The database as its administrator would name it: `valhalla on db.example.com`, or a file. No credentials."""
    connection = connections[using]
    values = connection.settings_dict
    name = str(values["NAME"])
    if connection.vendor == "sqlite":
        return name
    if "://" in name or "=" in name:
        # libpq accepts a whole connection string in place of a name, and that may hold a password.
        return "a database named by a connection string"
    options = values.get("OPTIONS", {})
    host = values.get("HOST") or options.get("host") or options.get("service") or "the local socket"
    port = values.get("PORT")
    return f"{name or 'the default database'} on {host}" + (f":{port}" if port else "")


def describe(*, using: str = DEFAULT_DB_ALIAS) -> str:
    """Both in one line: `production (valhalla on db.example.com)`."""
    return f"{environment_name()} ({database_name(using=using)})"
