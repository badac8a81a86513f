"""The environment variables: each one read, checked and explained here, and nowhere else.

`.env` beside `manage.py` is read first; the real environment wins over it. A value that cannot be used raises
ImproperlyConfigured with the variable's name and what to do, before anything has started.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY_LENGTH = 32
SQLITE, POSTGRESQL = "django.db.backends.sqlite3", "django.db.backends.postgresql"
_DATABASE_SCHEMES = ("postgresql", "postgres", "sqlite")
_DATABASE_FORM = "write postgresql://USER:PASSWORD@HOST:PORT/NAME, with %XX for special characters"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_NOT_YET = ("GOLIVE_REQUIRE_TOTP", "GOLIVE_FOUR_EYES")
_HOST = re.compile(r"\.?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]|\*")
_ORIGIN = re.compile(r"https?://([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")

T = TypeVar("T")


@dataclass(frozen=True)
class Environment:
    """The checked values. `secret_key` and `database` are kept out of the representation: they hold secrets."""

    app_env: str
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
    trusted_proxies: int
    port: int
    web_concurrency: int
    log_level: str

    @property
    def is_production(self) -> bool:
        return self.app_env == "production"


def load() -> Environment:
    """Read and check everything. Raises ImproperlyConfigured naming the variable."""
    if (BASE_DIR / ".env").is_file():
        try:
            environ.Env.read_env(str(BASE_DIR / ".env"))
        except (OSError, UnicodeDecodeError) as error:
            raise _wrong(
                ".env", f"beside manage.py cannot be read ({type(error).__name__}); it must be UTF-8"
            ) from None
    app_env = os.environ.get("APP_ENV", "").strip() or "production"
    if app_env not in ("development", "production"):
        raise _wrong("APP_ENV", "must be development or production (unset means production)")
    is_production = app_env == "production"
    for name in _NOT_YET:
        if _read_boolean(name, default=False):
            # Fail closed: whoever asks for a safeguard must not believe to have it.
            raise _wrong(name, "asks for a safeguard that this release does not have; unset it")
    hostname = os.environ.get("RENDER_EXTERNAL_HOSTNAME", "").strip() or None
    return Environment(
        app_env=app_env,
        secret_key=_read_secret_key(is_production=is_production),
        database=_read_database(is_production=is_production),
        database_direct=_read_direct_database(),
        allowed_hosts=_read_hosts("ALLOWED_HOSTS"),
        render_external_hostname=_check_host("RENDER_EXTERNAL_HOSTNAME", hostname) if hostname else None,
        release=os.environ.get("RENDER_GIT_COMMIT", "").strip() or None,
        cors_allowed_origins=_read_origins("CORS_ALLOWED_ORIGINS"),
        read_token_required=_read_boolean("GOLIVE_READ_TOKEN_REQUIRED", default=False),
        public_details=_read_boolean("GOLIVE_PUBLIC_DETAILS", default=not is_production),
        exempt_prefixes=_read_prefixes("GOLIVE_EXEMPT_PREFIXES"),
        enforce=_read_boolean("GO_LIVE_ENFORCE", default=is_production),
        close_on_failover=_read_boolean("GOLIVE_CLOSE_ON_FAILOVER", default=False),
        trusted_proxies=_read_number("GOLIVE_TRUSTED_PROXIES", default=1 if is_production else 0, least=0, most=10),
        port=_read_number("PORT", default=8000, least=1, most=65535),
        web_concurrency=_read_number("WEB_CONCURRENCY", default=2, least=1, most=64),
        log_level=_read_choice("LOG_LEVEL", default="INFO", choices=LOG_LEVELS),
    )


def _wrong(name: str, problem: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{name} {problem}.")


def _read(name: str, default: T, parse: Callable[[str], T]) -> T:
    text = os.environ.get(name, "").strip()
    return default if not text else parse(text)


def _read_boolean(name: str, *, default: bool) -> bool:
    def parse(text: str) -> bool:
        if text.lower() in environ.Env.BOOLEAN_TRUE_STRINGS:
            return True
        if text.lower() in ("false", "off", "no", "n", "0"):
            return False
        raise _wrong(name, "must be true or false")

    return _read(name, default, parse)


def _read_number(name: str, *, default: int, least: int, most: int) -> int:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise _wrong(name, f"must be a whole number from {least} to {most}")
        return int(text)

    return _read(name, default, parse)


def _read_choice(name: str, *, default: str, choices: tuple[str, ...]) -> str:
    def parse(text: str) -> str:
        if text.upper() not in choices:
            raise _wrong(name, f"must be one of {', '.join(choices)}")
        return text.upper()

    return _read(name, default, parse)


def _read_items(name: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in os.environ.get(name, "").split(",") if item.strip())


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
    key = os.environ.get("SECRET_KEY", "").strip()
    if not key and not is_production:
        # Kept in the environment, so that the workers which gunicorn forks share one key.
        key = os.environ["SECRET_KEY"] = secrets.token_urlsafe(48)
    if len(key) < SECRET_KEY_LENGTH:
        what = "is not set; give it" if not key else "is too short; give it"
        raise _wrong("SECRET_KEY", f"{what} {SECRET_KEY_LENGTH} random characters or more")
    return key


def _read_prefixes(name: str) -> tuple[str, ...]:
    for prefix in _read_items(name):
        if not prefix.startswith("/"):
            raise _wrong(name, "must hold paths that begin with /, separated by commas")
    return _read_items(name)


def _read_database(*, is_production: bool) -> dict[str, Any]:
    text = os.environ.get("DATABASE_URL", "").strip()
    if not text and not is_production:
        return {"ENGINE": SQLITE, "NAME": str(BASE_DIR / "db.sqlite3")}
    if not text:
        raise _wrong("DATABASE_URL", "is not set; give a postgresql:// URL")
    config = _parse_database_url("DATABASE_URL", text)
    if config["ENGINE"] == SQLITE and is_production:
        raise _wrong("DATABASE_URL", "names SQLite, which the hosts of a production cannot share; use PostgreSQL")
    if config["ENGINE"] == SQLITE and not Path(config["NAME"]).parent.is_dir():
        raise _wrong("DATABASE_URL", "names a file in a folder that does not exist; make the folder, or name another")
    return config


def _read_direct_database() -> dict[str, Any] | None:
    config = _read("DATABASE_DIRECT_URL", None, lambda text: _parse_database_url("DATABASE_DIRECT_URL", text))
    if config is not None and config["ENGINE"] != POSTGRESQL:
        raise _wrong("DATABASE_DIRECT_URL", "must begin with postgresql://")
    return config


def _parse_database_url(name: str, text: str) -> dict[str, Any]:
    if text.startswith("sqlite:") and not re.fullmatch(r"sqlite:///.+|sqlite://:memory:", text):
        raise _wrong(name, "names no file; write sqlite:/// and the path (four slashes in all for an absolute one)")
    # Of what has another scheme, or none, the parser would print the whole: with the password.
    if text.partition("://")[0].lower() not in _DATABASE_SCHEMES:
        raise _wrong(name, "must begin with postgresql:// (or sqlite:/// in development)")
    try:
        config: dict[str, Any] = environ.Env.db_url_config(text)
    except Exception as error:  # noqa: BLE001 - whatever the parser stumbles over
        # Without the cause: its text may hold the password of the URL.
        raise _wrong(name, f"cannot be read ({type(error).__name__}); {_DATABASE_FORM}") from None
    if not config.get("NAME"):
        raise _wrong(name, "names no database; end it with /NAME")
    if not isinstance(config.get("PORT") or 0, int):
        raise _wrong(name, "has a port that is not a number")
    return config
