"""Parses DATABASE_URL into Django's settings and checks it as far as possible without a connection.

What a driver would refuse only at the first connection is refused here, naming the variable. No message repeats a part
of the URL that may contain the password.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

SQLITE, POSTGRESQL = "django.db.backends.sqlite3", "django.db.backends.postgresql"
_SCHEMES = ("postgresql", "postgres", "sqlite")
_FORM = "write postgresql://USER:PASSWORD@HOST:PORT/NAME, with %XX for special characters"
# Options that the URL must not set, because this project relies on its own values.
_REFUSED = {
    "pool": "the connections here are persistent, which excludes Django's pool",
    "isolation_level": "each transaction here chooses its own",
    "autocommit": "Django's transactions rely on it",
    "dbname": "end the URL with /NAME",
    "replication": "it makes the connection one for another purpose",
}
_NUMBERS = (
    "connect_timeout",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "tcp_user_timeout",
)
# Django's own, in addition to libpq's.
_DJANGO_OPTIONS = ("assume_role",)
_SQLITE_OPTIONS = ("timeout",)


def parse_database_url(name: str, text: str) -> dict[str, Any]:
    """The settings of one database, from the URL in the variable `name`. Raises ImproperlyConfigured naming it."""
    if text.startswith("sqlite:") and not re.fullmatch(r"sqlite:///.+|sqlite://:memory:", text):
        raise _wrong(name, "names no file; write sqlite:/// and the path (four slashes in all for an absolute one)")
    # For another scheme, or none, the parser's error would print the whole URL, with the password.
    if text.partition("://")[0].lower() not in _SCHEMES:
        raise _wrong(name, "must begin with postgresql:// (or sqlite:/// in development)")
    try:
        config: dict[str, Any] = environ.Env.db_url_config(text)
        netloc = urlsplit(text).netloc.rpartition("@")[2]
    except Exception as error:  # noqa: BLE001 - the parser may raise anything
        # Without the cause: its text may contain the password.
        raise _wrong(name, f"cannot be read ({type(error).__name__}); {_FORM}") from None
    if not config.get("NAME"):
        raise _wrong(name, "names no database; end it with /NAME")
    if config["ENGINE"] == POSTGRESQL:
        if "/" in config["NAME"]:
            raise _wrong(name, "names a database with a slash; end it with /NAME, and no slash after that")
        if "%2f" in netloc.lower():
            # A socket directory in libpq's notation. The parser leaves it encoded, in lower case.
            config["HOST"] = unquote(netloc.partition(":")[0])
        _check_hosts(name, config)
    _check_options(name, config)
    return config


def _check_hosts(name: str, config: dict[str, Any]) -> None:
    """Several hosts may each have a port; libpq needs both lists to have the same length."""
    hosts = str(config["HOST"]).split(",")
    ports = str(config["PORT"] or "").split(",")
    if not all(re.fullmatch(r"[0-9]{0,5}", port) and int(port or 0) <= 65535 for port in ports):
        raise _wrong(name, "has a port that is not a number")
    if len(hosts) == 1:
        return
    hosts = [host.removeprefix("[").removesuffix("]") for host in hosts]
    if any(":" in host and not re.fullmatch(r"[0-9A-Fa-f:.]+", host) for host in hosts):
        raise _wrong(name, "has a port that is not a number")
    if len(ports) not in (1, len(hosts)):
        raise _wrong(name, "has several hosts, of which some have a port; give each its own")
    config["HOST"] = ",".join(hosts)


def _check_options(name: str, config: dict[str, Any]) -> None:
    given: dict[str, Any] = dict(config.get("OPTIONS", {}))
    given |= {"autocommit": config["AUTOCOMMIT"]} if "AUTOCOMMIT" in config else {}
    for option, value in given.items():
        if option in _REFUSED:
            raise _wrong(name, f"has the option {option}, which cannot be set here: {_REFUSED[option]}")
        if option not in _find_options(config["ENGINE"]):
            shown = option if re.fullmatch(r"[A-Za-z_]{1,40}", option) else "not shown"
            raise _wrong(name, f"has an option ({shown}) that the database's driver does not know; leave it out")
        if option in _NUMBERS and not isinstance(value, int):
            raise _wrong(name, f"has the option {option}, which must be a whole number")


def _find_options(engine: str) -> tuple[str, ...]:
    if engine == SQLITE:
        return _SQLITE_OPTIONS
    from psycopg import pq  # imported here, because SQLite needs no driver

    return (*(option.keyword.decode() for option in pq.Conninfo.get_defaults()), *_DJANGO_OPTIONS)


def _wrong(name: str, problem: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{name} {problem}.")
