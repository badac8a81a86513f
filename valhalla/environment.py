"""The environment variables: the only place where each is read and validated.

`.env` beside `manage.py` (`valhalla.env_file`) is read first; the real environment overrides it. An invalid value
raises ImproperlyConfigured with the variable's name and the remedy, before anything has started.
"""

from __future__ import annotations

import difflib
import os
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import environ
from django.core.exceptions import ImproperlyConfigured

from valhalla.database_url import POSTGRESQL, SQLITE, parse_database_url
from valhalla.env_file import read_env_file

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY_LENGTH = 32
# Threads per worker, if its server does not say (`valhalla.wsgi`); gunicorn.conf.py uses it too.
SERVER_THREADS = 16
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_NOT_YET = ("GOLIVE_REQUIRE_TOTP", "GOLIVE_FOUR_EYES")
_HOST = re.compile(r"\.?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]|\*")
_ORIGIN = re.compile(r"https?://([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
# Excludes the variables that Kubernetes sets for a service named `golive`.
_OUR_PREFIX = re.compile(r"GO_?LIVE_(?!SERVICE_|PORT$|PORT_)")
_SIMILARITY = 0.9
# Every variable that has been read, and those that this project's other programs read.
_known = {"GOLIVE_GATE", "GOLIVE_TOKEN"}

T = TypeVar("T")


@dataclass(frozen=True)
class Environment:
    """The validated values. `secret_key` and the databases are left out of the repr: they contain secrets."""

    app_env: str
    environment_name: str
    secret_key: str = field(repr=False)
    database: dict[str, Any] = field(repr=False)
    database_direct: dict[str, Any] | None = field(repr=False)
    allowed_hosts: tuple[str, ...]
    render_external_hostname: str | None
    release: str | None
    cors_allowed_origins: tuple[str, ...]
    read_token_required: bool
    public_details: bool
    exempt_prefixes: tuple[str, ...]
    enforce: bool
    close_on_failover: bool
    safe_migrate: bool
    trusted_proxies: int
    port: int
    web_concurrency: int
    log_level: str

    @property
    def is_production(self) -> bool:
        return self.app_env == "production"


def load() -> Environment:
    """Read and validate everything. Raises ImproperlyConfigured naming the variable."""
    in_file = read_env_file(BASE_DIR / ".env")
    for name, value in in_file.items():
        os.environ.setdefault(name, value)
    environment = _load()
    _check_names(in_file)
    return environment


def _load() -> Environment:
    app_env = _get("APP_ENV") or "production"
    if app_env not in ("development", "production"):
        raise _wrong("APP_ENV", "must be development or production (unset means production)")
    is_production = app_env == "production"
    for name in _NOT_YET:
        if _read_boolean(name, default=False):
            # Fail closed: nobody must believe in a safeguard that is not there.
            raise _wrong(name, "asks for a safeguard that this release does not have; unset it")
    hostname = _get("RENDER_EXTERNAL_HOSTNAME") or None
    return Environment(
        app_env=app_env,
        environment_name=_read_name("GOLIVE_ENVIRONMENT", default=app_env),
        secret_key=_read_secret_key(is_production=is_production),
        database=_read_database(is_production=is_production),
        database_direct=_read_direct_database(),
        allowed_hosts=_read_hosts("ALLOWED_HOSTS"),
        render_external_hostname=_check_host("RENDER_EXTERNAL_HOSTNAME", hostname) if hostname else None,
        release=_get("RENDER_GIT_COMMIT") or None,
        cors_allowed_origins=_read_origins("CORS_ALLOWED_ORIGINS"),
        read_token_required=_read_boolean("GOLIVE_READ_TOKEN_REQUIRED", default=False),
        public_details=_read_boolean("GOLIVE_PUBLIC_DETAILS", default=not is_production),
        exempt_prefixes=_read_prefixes("GOLIVE_EXEMPT_PREFIXES"),
        enforce=_read_boolean("GO_LIVE_ENFORCE", default=is_production),
        close_on_failover=_read_boolean("GOLIVE_CLOSE_ON_FAILOVER", default=False),
        safe_migrate=_read_boolean("GOLIVE_SAFE_MIGRATE", default=True),
        trusted_proxies=_read_number(
            "GOLIVE_TRUSTED_PROXIES", default=1 if is_production else 0, minimum=0, maximum=10
        ),
        port=_read_number("PORT", default=8000, minimum=1, maximum=65535),
        web_concurrency=_read_number("WEB_CONCURRENCY", default=2, minimum=1, maximum=64),
        log_level=_read_choice("LOG_LEVEL", default="INFO", choices=LOG_LEVELS),
    )


def _wrong(name: str, problem: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{name} {problem}.")


def _get(name: str) -> str:
    """The value, empty if unset. Registers the name as one of ours."""
    _known.add(name)
    return os.environ.get(name, "").strip()


def _check_names(in_file: Iterable[str]) -> None:
    """Refuse names that look like ours but are not: a misspelt variable would silently have no effect.

    In the real environment only names with our prefixes are checked; others may belong to any program.
    """
    ours = [name for name, value in os.environ.items() if value.strip() and _OUR_PREFIX.match(name)]
    for name in sorted({*in_file, *ours} - _known):
        close = difflib.get_close_matches(name, sorted(_known), n=1, cutoff=_SIMILARITY)
        if close or _OUR_PREFIX.match(name):
            hint = f"; is it {close[0]}?" if close else ""
            raise _wrong(name, f"is not a variable of this project{hint}")


def _read(name: str, default: T, parse: Callable[[str], T]) -> T:
    text = _get(name)
    return default if not text else parse(text)


def _read_boolean(name: str, *, default: bool) -> bool:
    def parse(text: str) -> bool:
        if text.lower() in environ.Env.BOOLEAN_TRUE_STRINGS:
            return True
        if text.lower() in ("false", "off", "no", "n", "0"):
            return False
        raise _wrong(name, "must be true or false")

    return _read(name, default, parse)


def _read_number(name: str, *, default: int, minimum: int, maximum: int) -> int:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not minimum <= int(text) <= maximum:
            raise _wrong(name, f"must be a whole number from {minimum} to {maximum}")
        return int(text)

    return _read(name, default, parse)


def _read_name(name: str, *, default: str) -> str:
    def parse(text: str) -> str:
        if len(text) > 100 or not text.isprintable():
            raise _wrong(name, "must be one line of at most 100 characters")
        return text

    return _read(name, default, parse)


def _read_choice(name: str, *, default: str, choices: tuple[str, ...]) -> str:
    def parse(text: str) -> str:
        if text.upper() not in choices:
            raise _wrong(name, f"must be one of {', '.join(choices)}")
        return text.upper()

    return _read(name, default, parse)


def _read_items(name: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in _get(name).split(",") if item.strip())


def _check_host(name: str, host: str) -> str:
    if not _HOST.fullmatch(host):
        raise _wrong(name, "must hold host names without scheme, port or path, separated by commas")
    return host


def _read_hosts(name: str) -> tuple[str, ...]:
    return tuple(_check_host(name, host) for host in _read_items(name))


def _read_origins(name: str) -> tuple[str, ...]:
    for origin in _read_items(name):
        if not _ORIGIN.fullmatch(origin):
            raise _wrong(name, "must hold origins such as https://app.example.com, separated by commas")
    return _read_items(name)


def _read_secret_key(*, is_production: bool) -> str:
    key = _get("SECRET_KEY")
    if not key and not is_production:
        # Stored in the environment, so that gunicorn's forked workers share one key.
        key = os.environ["SECRET_KEY"] = secrets.token_urlsafe(48)
    if len(key) < SECRET_KEY_LENGTH:
        what = "is not set; give it" if not key else "is too short; give it"
        raise _wrong("SECRET_KEY", f"{what} {SECRET_KEY_LENGTH} random characters or more")
    return key


def _read_prefixes(name: str) -> tuple[str, ...]:
    for prefix in _read_items(name):
        if not prefix.startswith("/"):
            raise _wrong(name, "must hold paths that begin with /, separated by commas")
        if not prefix.strip("/"):
            raise _wrong(name, "must not hold /, which would exempt every view; name the paths")
    return _read_items(name)


def _read_database(*, is_production: bool) -> dict[str, Any]:
    text = _get("DATABASE_URL")
    if not text and not is_production:
        return {"ENGINE": SQLITE, "NAME": str(BASE_DIR / "db.sqlite3")}
    if not text:
        raise _wrong("DATABASE_URL", "is not set; give a postgresql:// URL")
    config = parse_database_url("DATABASE_URL", text)
    if config["ENGINE"] == SQLITE and is_production:
        raise _wrong("DATABASE_URL", "names SQLite, which the hosts of a production cannot share; use PostgreSQL")
    if config["ENGINE"] == SQLITE and not Path(config["NAME"]).parent.is_dir():
        raise _wrong("DATABASE_URL", "names a file in a folder that does not exist; make the folder, or name another")
    return config


def _read_direct_database() -> dict[str, Any] | None:
    config = _read("DATABASE_DIRECT_URL", None, lambda text: parse_database_url("DATABASE_DIRECT_URL", text))
    if config is not None and config["ENGINE"] != POSTGRESQL:
        raise _wrong("DATABASE_DIRECT_URL", "must begin with postgresql://")
    return config
