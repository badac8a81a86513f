"""The environment variables: what each one defaults to, takes and refuses, and that a refusal stops the start."""

from __future__ import annotations

import base64
import os
import re
import runpy
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import make_conninfo

from tests.support.server import ROOT, VARIABLES, GunicornServer, Response, ServerError, clean_environment, request
from valhalla import environment
from valhalla.database_url import POSTGRESQL, SQLITE
from valhalla.environment import Environment, load

KEY = "k" * 32
PASSWORD = "pw-that-nobody-may-see"
URL = f"postgresql://valhalla:{PASSWORD}@database.invalid:6543/go"
HOSTNAME = "valhalla.onrender.com"
DEVELOPMENT = {"APP_ENV": "development", "SECRET_KEY": KEY}
PRODUCTION = {"APP_ENV": "production", "SECRET_KEY": KEY, "DATABASE_URL": URL}

Load = Callable[..., Environment]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty project folder and an empty environment; both as they were after the test, whatever `load` wrote."""
    monkeypatch.setattr(environment, "BASE_DIR", tmp_path)
    with mock.patch.dict(os.environ, clear=True):
        yield tmp_path


@pytest.fixture
def load_development(folder: Path) -> Load:
    return lambda **values: load_with({**DEVELOPMENT, **values})


@pytest.fixture
def load_production(folder: Path) -> Load:
    return lambda **values: load_with({**PRODUCTION, **values})


def load_with(values: dict[str, str]) -> Environment:
    os.environ.clear()
    os.environ.update(values)
    return load()


# -- defaults ----------------------------------------------------------------------------------------------------------


def test_load__development_and_nothing_else__has_the_defaults_of_development(folder: Path) -> None:
    loaded = load_with(DEVELOPMENT)

    assert loaded == Environment(
        app_env="development",
        environment_name="development",
        secret_key=KEY,
        database={"ENGINE": SQLITE, "NAME": str(folder / "db.sqlite3")},
        database_direct=None,
        allowed_hosts=(),
        render_external_hostname=None,
        release=None,
        cors_allowed_origins=(),
        read_token_required=False,
        public_details=True,
        exempt_prefixes=(),
        enforce=False,
        close_on_failover=False,
        safe_migrate=True,
        trusted_proxies=0,
        port=8000,
        web_concurrency=2,
        log_level="INFO",
    )


def test_load__production_and_what_it_needs__has_the_defaults_of_production(load_production: Load) -> None:
    loaded = load_production()

    expected = {"public_details": False, "enforce": True, "trusted_proxies": 1, "read_token_required": False}
    assert {name: getattr(loaded, name) for name in expected} == expected
    assert loaded.is_production
    assert loaded.database["ENGINE"] == POSTGRESQL
    assert loaded.database_direct is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "production"),
        ({"GOLIVE_ENVIRONMENT": " "}, "production"),
        ({"GOLIVE_ENVIRONMENT": " staging (EU) "}, "staging (EU)"),
        ({"GOLIVE_ENVIRONMENT": "x" * 100}, "x" * 100),
    ],
)
def test_load__name_of_the_environment__is_app_env_unless_it_is_given(
    load_production: Load, values: dict[str, str], expected: str
) -> None:
    assert load_production(**values).environment_name == expected


@pytest.mark.parametrize("value", ["two\nlines", "\x1b[31mred", "x" * 101, "a\u202eb"])
def test_load__name_of_the_environment_that_is_no_line__stops_the_start(load_production: Load, value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="GOLIVE_ENVIRONMENT must be one line"):
        load_production(GOLIVE_ENVIRONMENT=value)


@pytest.mark.parametrize("values", [{}, {"APP_ENV": ""}, {"APP_ENV": "  "}])
def test_load__app_env_unset_or_empty__means_production(folder: Path, values: dict[str, str]) -> None:
    loaded = load_with({"SECRET_KEY": KEY, "DATABASE_URL": URL, **values})

    assert loaded.app_env == "production"


def test_load__every_variable_empty__is_as_if_it_were_unset(folder: Path) -> None:
    loaded = load_with({**dict.fromkeys(VARIABLES, ""), **DEVELOPMENT})

    assert loaded == load_with(DEVELOPMENT)


def test_load__development_without_a_key__makes_one_that_forked_workers_share(folder: Path) -> None:
    loaded = load_with({"APP_ENV": "development"})

    assert len(loaded.secret_key) >= 32
    assert load().secret_key == loaded.secret_key


# -- good values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "attribute", "expected"),
    [
        ("ALLOWED_HOSTS", "a.example, .b.example ,", "allowed_hosts", ("a.example", ".b.example")),
        ("ALLOWED_HOSTS", "[::1],10.0.0.1", "allowed_hosts", ("[::1]", "10.0.0.1")),
        ("ALLOWED_HOSTS", "*", "allowed_hosts", ("*",)),
        ("RENDER_EXTERNAL_HOSTNAME", HOSTNAME, "render_external_hostname", HOSTNAME),
        ("RENDER_GIT_COMMIT", "0123abc", "release", "0123abc"),
        ("CORS_ALLOWED_ORIGINS", "https://a.example", "cors_allowed_origins", ("https://a.example",)),
        ("CORS_ALLOWED_ORIGINS", "https://a.b, http://c:30", "cors_allowed_origins", ("https://a.b", "http://c:30")),
        ("GOLIVE_EXEMPT_PREFIXES", "/static/,/hooks", "exempt_prefixes", ("/static/", "/hooks")),
        ("GOLIVE_TRUSTED_PROXIES", "3", "trusted_proxies", 3),
        ("PORT", "10000", "port", 10000),
        ("PORT", "65535", "port", 65535),
        ("WEB_CONCURRENCY", "4", "web_concurrency", 4),
        ("LOG_LEVEL", "debug", "log_level", "DEBUG"),
        ("LOG_LEVEL", " WARNING ", "log_level", "WARNING"),
    ],
)
def test_load__good_value__is_taken(
    load_production: Load, name: str, text: str, attribute: str, expected: object
) -> None:
    loaded = load_production(**{name: text})

    assert getattr(loaded, attribute) == expected


@pytest.mark.parametrize(
    "name",
    [
        "GOLIVE_READ_TOKEN_REQUIRED",
        "GOLIVE_PUBLIC_DETAILS",
        "GO_LIVE_ENFORCE",
        "GOLIVE_CLOSE_ON_FAILOVER",
        "GOLIVE_SAFE_MIGRATE",
    ],
)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((text, True) for text in ("true", "True", "1", "yes", "on")),
        *((text, False) for text in ("false", "FALSE", "0", "no", "off")),
    ],
)
def test_load__boolean__is_read_in_its_usual_forms(
    load_production: Load, name: str, text: str, *, expected: bool
) -> None:
    attributes = {
        "GOLIVE_READ_TOKEN_REQUIRED": "read_token_required",
        "GOLIVE_PUBLIC_DETAILS": "public_details",
        "GO_LIVE_ENFORCE": "enforce",
        "GOLIVE_CLOSE_ON_FAILOVER": "close_on_failover",
        "GOLIVE_SAFE_MIGRATE": "safe_migrate",
    }

    loaded = load_production(**{name: text})

    assert getattr(loaded, attributes[name]) is expected


@pytest.mark.parametrize("name", ["GOLIVE_REQUIRE_TOTP", "GOLIVE_FOUR_EYES"])
def test_load__safeguard_not_asked_for__starts(load_production: Load, name: str) -> None:
    assert load_production(**{name: "false"}).is_production


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_load__database_url__is_read_in_full(load_production: Load, scheme: str) -> None:
    url = f"{scheme}://us%40er:p%2Fw%23d@database.invalid:6543/go?sslmode=require"

    database = load_production(DATABASE_URL=url).database

    assert database == {
        "ENGINE": POSTGRESQL,
        "NAME": "go",
        "USER": "us@er",
        "PASSWORD": "p/w#d",
        "HOST": "database.invalid",
        "PORT": 6543,
        "OPTIONS": {"sslmode": "require"},
    }


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("%2Fvar%2Frun%2FPostgreSQL", "/var/run/PostgreSQL", ""),
        ("%2Ftmp:6543", "/tmp", 6543),
        ("h1:6543,h2:6544", "h1,h2", "6543,6544"),
        ("[::1]:6543,h2:6544", "::1,h2", "6543,6544"),
        ("h1,h2", "h1,h2", ""),
        ("[::1]:6543", "::1", 6543),
    ],
)
def test_load__database_url_as_libpq_writes_it__is_understood(
    load_production: Load, address: str, host: str, port: object
) -> None:
    database = load_production(DATABASE_URL=f"postgresql://u:p@{address}/go").database

    assert (database["HOST"], database["PORT"], database["NAME"]) == (host, port, "go")
    make_conninfo(host=host, port=str(port), dbname="go")


@pytest.mark.parametrize(
    "query",
    ["sslmode=require&connect_timeout=5", "application_name=x", "target_session_attrs=read-write", "options=-c"],
)
def test_load__option_that_libpq_knows__is_handed_on(load_production: Load, query: str) -> None:
    assert set(load_production(DATABASE_URL=f"{URL}?{query}").database["OPTIONS"]) == {
        part.partition("=")[0] for part in query.split("&")
    }


@pytest.mark.parametrize(
    ("query", "option"),
    [
        ("pool=true", "pool"),
        ("isolation_level=9", "isolation_level"),
        ("autocommit=false", "autocommit"),
        ("AUTOCOMMIT=true", "autocommit"),
        ("pgbouncer=true", "pgbouncer"),
        ("schema=public", "schema"),
        ("server_side_binding=true", "server_side_binding"),
        ("prepare_threshold=1", "prepare_threshold"),
        ("context=1", "context"),
        ("dbname=other", "dbname"),
        ("connect_timeout=soon", "connect_timeout"),
        ("sslmode=require&conect_timeout=5", "conect_timeout"),
    ],
)
def test_load__option_that_a_driver_would_refuse_late__is_refused_by_name(
    load_production: Load, query: str, option: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=rf"^DATABASE_URL .*{option}"):
        load_production(DATABASE_URL=f"{URL}?{query}")


def test_load__direct_url__is_read_beside_the_pooled_one(load_production: Load) -> None:
    loaded = load_production(DATABASE_DIRECT_URL="postgresql://u:p@direct.invalid/go")

    assert loaded.database_direct is not None
    assert (loaded.database_direct["HOST"], loaded.database["HOST"]) == ("direct.invalid", "database.invalid")


def test_load__sqlite_url_in_development__names_that_file(load_development: Load, tmp_path: Path) -> None:
    database = load_development(DATABASE_URL=f"sqlite:///{tmp_path}/file.sqlite3").database

    assert (database["ENGINE"], database["NAME"]) == (SQLITE, f"{tmp_path}/file.sqlite3")


def test_load__sqlite_url_in_a_folder_that_is_not_there__is_refused(load_development: Load, tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^DATABASE_URL names a file in a folder that does not exist"):
        load_development(DATABASE_URL=f"sqlite:///{tmp_path}/nowhere/file.sqlite3")


def test_load__generated_key_of_render__is_long_enough(load_production: Load) -> None:
    key = base64.b64encode(secrets.token_bytes(32)).decode()

    assert load_production(SECRET_KEY=key).secret_key == key


# -- bad values --------------------------------------------------------------------------------------------------------

BAD_VALUES = [
    ("APP_ENV", "staging"),
    ("APP_ENV", "Production"),
    ("SECRET_KEY", ""),
    ("SECRET_KEY", " " * 40),
    ("SECRET_KEY", "k" * 31),
    ("DATABASE_URL", ""),
    ("DATABASE_URL", "nonsense"),
    ("DATABASE_URL", "mysql://u:p@database.invalid/go"),
    ("DATABASE_URL", "unheard-of://u:p@database.invalid/go"),
    ("DATABASE_URL", "postgresql://u:p@database.invalid"),
    ("DATABASE_URL", "postgresql://u:p@database.invalid/"),
    ("DATABASE_URL", "postgresql://u:p@database.invalid:port/go"),
    ("DATABASE_URL", "postgresql://u:p@database.invalid:99999/go"),
    ("DATABASE_URL", "postgresql://u:p@h1:1,h2:99999/go"),
    ("DATABASE_URL", "postgresql://u:p@h1:1,h2:2,h3/go"),
    ("DATABASE_URL", "postgresql://u:p@database.invalid/go/"),
    ("DATABASE_URL", "postgresql://u:p@database.invalid/go%2Flive"),
    ("DATABASE_URL", "postgresql://u:p@database.invalid/go?pool=true"),
    ("DATABASE_URL", "sqlite:///db.sqlite3"),
    ("DATABASE_URL", "sqlite://:memory:"),
    ("DATABASE_DIRECT_URL", "nonsense"),
    ("DATABASE_DIRECT_URL", "sqlite:///db.sqlite3"),
    ("DATABASE_DIRECT_URL", "postgresql://u:p@database.invalid:port/go"),
    ("ALLOWED_HOSTS", "https://a.example"),
    ("ALLOWED_HOSTS", "a.example:8000"),
    ("ALLOWED_HOSTS", "a.example/path"),
    ("ALLOWED_HOSTS", "a.example b.example"),
    ("ALLOWED_HOSTS", "good.example,-bad-"),
    ("ALLOWED_HOSTS", "*.example.com"),
    ("RENDER_EXTERNAL_HOSTNAME", "https://a.example"),
    ("RENDER_EXTERNAL_HOSTNAME", "a.example,b.example"),
    ("CORS_ALLOWED_ORIGINS", "a.example"),
    ("CORS_ALLOWED_ORIGINS", "https://a.example/"),
    ("CORS_ALLOWED_ORIGINS", "https://a.example/path"),
    ("CORS_ALLOWED_ORIGINS", "https://"),
    ("CORS_ALLOWED_ORIGINS", "ftp://a.example"),
    ("CORS_ALLOWED_ORIGINS", "https://good.example,null"),
    ("CORS_ALLOWED_ORIGINS", "*"),
    ("GO_LIVE_ENFORCE", "maybe"),
    ("GO_LIVE_ENFORCE", "2"),
    ("GOLIVE_READ_TOKEN_REQUIRED", "required"),
    ("GOLIVE_PUBLIC_DETAILS", "some"),
    ("GOLIVE_CLOSE_ON_FAILOVER", "perhaps"),
    ("GOLIVE_ENVIRONMENT", "n" * 101),
    ("GOLIVE_ENVIRONMENT", "two\nlines"),
    ("GOLIVE_EXEMPT_PREFIXES", "static/"),
    ("GOLIVE_EXEMPT_PREFIXES", "/good/,bad/"),
    ("GOLIVE_EXEMPT_PREFIXES", "/good/,/"),
    ("GOLIVE_SAFE_MIGRATE", "sometimes"),
    ("GOLIVE_TRUSTED_PROXIES", "-1"),
    ("GOLIVE_TRUSTED_PROXIES", "11"),
    ("GOLIVE_TRUSTED_PROXIES", "one"),
    ("GOLIVE_REQUIRE_TOTP", "true"),
    ("GOLIVE_REQUIRE_TOTP", "maybe"),
    ("GOLIVE_FOUR_EYES", "true"),
    ("GOLIVE_FOUR_EYES", "maybe"),
    ("PORT", "0"),
    ("PORT", "65536"),
    ("PORT", "http"),
    ("PORT", "80.5"),
    ("PORT", "٨٠٠٠"),
    ("WEB_CONCURRENCY", "0"),
    ("WEB_CONCURRENCY", "65"),
    ("WEB_CONCURRENCY", "auto"),
    ("LOG_LEVEL", "LOUD"),
    ("LOG_LEVEL", "10"),
]


@pytest.mark.parametrize(("name", "text"), BAD_VALUES)
def test_load__bad_value__names_the_variable(load_production: Load, name: str, text: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        load_production(**{name: text})

    message = str(caught.value)
    assert message.startswith(f"{name} ")
    assert message.endswith(".")
    assert "\n" not in message


def test_bad_values__of_the_contract__leave_no_variable_out() -> None:
    """RENDER_GIT_COMMIT alone takes any text: it is shown and never interpreted."""
    assert {name for name, _ in BAD_VALUES} == set(VARIABLES) - {"RENDER_GIT_COMMIT"}


@pytest.mark.parametrize("url", ["sqlite:///db.sqlite3", "postgresql:///"])
def test_load__bad_direct_url_in_development__is_refused_too(load_development: Load, url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^DATABASE_DIRECT_URL "):
        load_development(DATABASE_DIRECT_URL=url)


@pytest.mark.parametrize(
    "origin",
    ["https://user:word@a.example", "https://a b.example", "https://*.example.com", "https://a.example:port"],
)
def test_load__origin_that_no_browser_sends__is_refused(load_production: Load, origin: str) -> None:
    """Taken, such a value would match nothing, and nobody would learn why."""
    with pytest.raises(ImproperlyConfigured, match=r"^CORS_ALLOWED_ORIGINS "):
        load_production(CORS_ALLOWED_ORIGINS=origin)


@pytest.mark.parametrize("url", ["sqlite://db.sqlite3", "sqlite:db.sqlite3", "sqlite:///"])
@pytest.mark.filterwarnings("ignore:SQLite URL contains host component")
def test_load__sqlite_url_that_names_no_file__is_refused(load_development: Load, url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^DATABASE_URL "):
        load_development(DATABASE_URL=url)


# -- secrets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["DATABASE_URL", "DATABASE_DIRECT_URL"])
@pytest.mark.parametrize(
    "url",
    [
        f"mysql://valhalla:{PASSWORD}@database.invalid/go",
        f"postgresql://valhalla:{PASSWORD}@database.invalid",
        f"postgresql://valhalla:{PASSWORD}@database.invalid:port/go",
        f"postgresql://valhalla:{PASSWORD}@database.invalid:1,{PASSWORD}:x/go",
        f"postgresql://valhalla:{PASSWORD}@database.invalid/go?pool=true",
        f"postgresql://valhalla:{PASSWORD}@database.invalid/go/",
        PASSWORD,
    ],
)
def test_load__bad_url_with_a_password__does_not_repeat_it(load_production: Load, name: str, url: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        load_production(**{name: url})

    assert PASSWORD not in str(caught.value)
    # Nor in what a traceback would print below it.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_load__short_key__does_not_repeat_it(load_production: Load) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        load_production(SECRET_KEY="short-and-secret")

    assert "short-and-secret" not in str(caught.value)


def test_environment__repr__shows_no_secret(load_production: Load) -> None:
    loaded = load_production(DATABASE_DIRECT_URL=URL)

    assert PASSWORD not in repr(loaded)
    assert KEY not in repr(loaded)
    assert "database.invalid" not in repr(loaded)
    assert {field.name for field in fields(loaded) if not field.repr} == {"secret_key", "database", "database_direct"}


# -- .env --------------------------------------------------------------------------------------------------------------


def test_env_file__beside_manage_py__is_read(folder: Path) -> None:
    (folder / ".env").write_text(f"# a comment\nAPP_ENV=development\nSECRET_KEY={KEY}\nPORT='1234'\n")

    loaded = load_with({})

    assert (loaded.app_env, loaded.secret_key, loaded.port) == ("development", KEY, 1234)


def test_env_file__and_the_real_environment__the_real_one_wins(folder: Path) -> None:
    (folder / ".env").write_text(f"APP_ENV=development\nSECRET_KEY={KEY}\nPORT=1234\nLOG_LEVEL=DEBUG\n")

    loaded = load_with({"APP_ENV": "production", "DATABASE_URL": URL, "PORT": "4321"})

    assert (loaded.app_env, loaded.port, loaded.log_level) == ("production", 4321, "DEBUG")


def test_env_file__bad_value__stops_the_start_as_any_other(folder: Path) -> None:
    (folder / ".env").write_text(f"APP_ENV=development\nSECRET_KEY={KEY}\nPORT=eighty\n")

    with pytest.raises(ImproperlyConfigured, match=r"^PORT "):
        load_with({})


@pytest.mark.parametrize(
    "line",
    [
        "PORT = 1234",
        "PORT= 1234",
        "  PORT =1234  ",
        "export PORT=1234",
        "export  PORT = '1234'",
        'PORT="1234"',
        "PORT=1234\r",
        "\tPORT=1234",
    ],
)
def test_env_file__line_as_people_write_it__is_read(folder: Path, line: str) -> None:
    (folder / ".env").write_text(f"\ufeffAPP_ENV=development\nSECRET_KEY={KEY}\n{line}\n", newline="")

    assert load_with({}).port == 1234


@pytest.mark.parametrize(
    "line",
    [
        "PORT",
        "PORT: 1234",
        "PORT 1234",
        "=1234",
        "1PORT=1",
        "GOLIVE-PORT=1",
        "PORT='1234",
        'PORT="1234" # port',
        "PORT='",
    ],
)
def test_env_file__line_that_is_none__is_refused_by_its_number(folder: Path, line: str) -> None:
    (folder / ".env").write_text(f"APP_ENV=development\nSECRET_KEY={KEY}\n{line}\n")

    with pytest.raises(ImproperlyConfigured, match=r"^\.env line 3 ") as caught:
        load_with({})

    assert "1234" not in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfeA\x00", b"SECRET_KEY=\xff"])
def test_env_file__not_utf_8__is_refused(folder: Path, content: bytes) -> None:
    (folder / ".env").write_bytes(content)

    with pytest.raises(ImproperlyConfigured, match=r"^\.env beside manage\.py cannot be read"):
        load_with({})


@pytest.mark.parametrize("kind", ["folder", "dangling link"])
def test_env_file__that_cannot_be_read__is_refused(folder: Path, kind: str) -> None:
    """Root may read any file, so the tests take what nobody can."""
    if kind == "folder":
        (folder / ".env").mkdir()
    else:
        (folder / ".env").symlink_to(folder / "nowhere")

    with pytest.raises(ImproperlyConfigured, match=r"^\.env beside manage\.py cannot be read"):
        load_with(DEVELOPMENT)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("GOLIVE_READ_TOKEN_REQUIRD", "GOLIVE_READ_TOKEN_REQUIRED"),
        ("ALLOWED_HOST", "ALLOWED_HOSTS"),
        ("LOGLEVEL", "LOG_LEVEL"),
        ("DATABASE_URLS", "DATABASE_URL"),
    ],
)
def test_env_file__misspelt_name__is_refused_with_the_right_one(folder: Path, name: str, meant: str) -> None:
    (folder / ".env").write_text(f"APP_ENV=development\nSECRET_KEY={KEY}\n{name}=true\n")

    with pytest.raises(ImproperlyConfigured, match=rf"^{name} is not a variable of this project; is it {meant}\?"):
        load_with({})


def test_env_file__name_of_another_program__is_handed_on(folder: Path) -> None:
    (folder / ".env").write_text("REDIS_URL=redis://x\nAPP_NAME=shop\n")

    load_with(DEVELOPMENT)

    assert os.environ["REDIS_URL"] == "redis://x"


@pytest.mark.parametrize("name", ["GOLIVE_READ_TOKEN_REQUIRD", "GO_LIVE_READ_TOKEN_REQUIRED", "GOLIVE_UNHEARD_OF"])
def test_real_environment__unknown_name_with_our_prefix__is_refused(load_production: Load, name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=rf"^{name} is not a variable of this project"):
        load_production(**{name: "true"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALLOWED_HOST", "x"),
        ("LOGLEVEL", "x"),
        ("GOLIVE_TOKEN", "vgl_x"),
        ("GOLIVE_UNHEARD_OF", " "),
        # As Kubernetes sets them for a service of this name.
        ("GOLIVE_SERVICE_HOST", "10.0.0.1"),
        ("GOLIVE_PORT", "tcp://10.0.0.1:80"),
        ("GOLIVE_PORT_80_TCP_ADDR", "10.0.0.1"),
    ],
)
def test_real_environment__name_that_may_be_anybodys__is_let_be(load_production: Load, name: str, value: str) -> None:
    assert load_production(**{name: value}).is_production


# -- the start ---------------------------------------------------------------------------------------------------------


def run_manage(*arguments: str, **values: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=clean_environment(values),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_manage__bad_value__says_so_in_one_line_and_exits_2() -> None:
    done = run_manage("check", PORT="eighty")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "manage.py: PORT must be a whole number from 1 to 65535.\n"


@pytest.mark.parametrize("url", ["//bob:hunter2@host/go", "hunter2", "mysql://bob:hunter2@host/go", "postgres:hunter2"])
def test_manage__database_url_of_another_kind__says_so_in_one_line_without_it(url: str) -> None:
    done = run_manage("check", DATABASE_URL=url)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("manage.py: DATABASE_URL must begin with postgresql:// (or sqlite:/// in development).\n")


def test_manage__production_without_a_database__says_so_in_one_line_and_exits_2() -> None:
    done = run_manage("migrate", APP_ENV="")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "manage.py: DATABASE_URL is not set; give a postgresql:// URL.\n"


def test_manage__python_without_the_requirements__says_which_one_to_use() -> None:
    done = subprocess.run(
        [sys.executable, "-S", "manage.py", "check"],
        cwd=ROOT,
        env={},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "has no django. Use `.venv/bin/python manage.py ...`" in done.stderr


@pytest.mark.parametrize(
    "values",
    [
        {"DATABASE_URL": "postgresql+psycopg2://u:p@h/go"},
        {"DATABASE_URL": "mysql://u:p@h/shop"},
        {"DATABASE_URL": "postgres://[::"},
        {"DATABASE_URL": "nonsense"},
        {"APP_ENV": "", "SECRET_KEY": "", "PORT": "eighty"},
        {"APP_ENV": "staging", "GOLIVE_UNHEARD_OF": "1"},
        {"DJANGO_SETTINGS_MODULE": "the.owners.settings"},
    ],
)
def test_manage__audit_of_another_project__needs_no_variable_of_this_one(
    tmp_path: Path, values: dict[str, str]
) -> None:
    (tmp_path / "1.py").write_text("revision = 'a'\ndown_revision = None\ndef upgrade(): pass\ndef downgrade(): pass\n")

    done = run_manage("audit_migrations", str(tmp_path), **values)

    assert done.returncode == 0, done.stderr
    assert "Sound" in done.stdout


def test_manage__audit_of_this_project__needs_no_variable_either() -> None:
    assert run_manage("audit_migrations", APP_ENV="staging").returncode == 0


def serve(*arguments: str, **values: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "valhalla", *arguments],
        cwd=ROOT,
        env=clean_environment(values),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("value", ["two", "2.5", "0"])
def test_serve__web_concurrency_that_is_no_number__says_so_in_one_line(value: str) -> None:
    done = serve("--check-config", WEB_CONCURRENCY=value)

    assert done.returncode == 1
    assert done.stderr == "valhalla: WEB_CONCURRENCY must be a whole number from 1 to 64.\n"


def test_serve__web_concurrency_that_is_empty__takes_the_default() -> None:
    done = serve("--print-config", WEB_CONCURRENCY="")

    assert done.returncode == 0, done.stderr
    assert re.search(r"^workers += 2$", done.stdout, re.MULTILINE)


def test_sqlite__file_that_is_made__is_for_its_owner_only(tmp_path: Path) -> None:
    done = run_manage("migrate", "-v0", DATABASE_URL=f"sqlite:///{tmp_path}/db.sqlite3")

    assert done.returncode == 0, done.stderr
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {"db.sqlite3": 0o600}


def test_gunicorn__bad_value__does_not_start_and_says_so_in_one_line() -> None:
    server = GunicornServer({"LOG_LEVEL": "LOUD"}, workers=1)

    with pytest.raises(ServerError, match="gunicorn ended while starting"):
        server.start()

    assert server.log_text() == "gunicorn: LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL.\n"


def test_check_deploy__settings_of_production_with_a_generated_key__finds_nothing() -> None:
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    values = {**PRODUCTION, "SECRET_KEY": key, "RENDER_EXTERNAL_HOSTNAME": HOSTNAME}

    done = run_manage("check", "--deploy", "--fail-level", "WARNING", **values)

    assert len(key) == 44
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout + done.stderr


# -- the settings ------------------------------------------------------------------------------------------------------


def load_settings(**values: str) -> dict[str, Any]:
    """The settings module as another environment would have it; Django's own settings stay as they are."""
    with mock.patch.dict(os.environ, clean_environment(values), clear=True):
        return runpy.run_path(str(ROOT / "valhalla" / "settings.py"))


def test_settings__hostname_of_render__is_a_host_and_a_csrf_origin() -> None:
    settings = load_settings(**PRODUCTION, RENDER_EXTERNAL_HOSTNAME=HOSTNAME, ALLOWED_HOSTS="go.example,.b.example")

    assert settings["ALLOWED_HOSTS"] == ["go.example", ".b.example", HOSTNAME]
    # A sibling below .b.example may be anybody's.
    assert settings["CSRF_TRUSTED_ORIGINS"] == ["https://go.example", f"https://{HOSTNAME}"]


def test_settings__production_without_hosts__allow_none() -> None:
    settings = load_settings(**PRODUCTION)

    assert settings["ALLOWED_HOSTS"] == []
    assert settings["DEBUG"] is False


def test_settings__production__keep_cookies_to_https() -> None:
    settings = load_settings(**PRODUCTION)

    assert settings["SESSION_COOKIE_SECURE"] is True
    assert settings["CSRF_COOKIE_SECURE"] is True
    assert settings["SESSION_COOKIE_HTTPONLY"] is True


def test_settings__development__are_for_this_machine_only() -> None:
    settings = load_settings()

    assert settings["ALLOWED_HOSTS"] == ["localhost", ".localhost", "127.0.0.1", "[::1]"]
    assert settings["DEBUG"] is False
    assert "SECURE_SSL_REDIRECT" not in settings


def test_settings__key_of_django__is_derived_and_stable() -> None:
    first, second = load_settings(**PRODUCTION)["SECRET_KEY"], load_settings(**PRODUCTION)["SECRET_KEY"]
    other = load_settings(**{**PRODUCTION, "SECRET_KEY": "o" * 32})["SECRET_KEY"]

    assert first == second != other
    assert len(first) >= 50
    assert KEY not in first


def test_settings__origins__are_those_of_weweb_and_the_given_ones() -> None:
    settings = load_settings(**PRODUCTION, CORS_ALLOWED_ORIGINS="https://front.example")

    assert settings["CORS_ALLOWED_ORIGINS"] == [
        "https://editor.weweb.io",
        "https://app.weweb.io",
        "https://preview.weweb.io",
        "https://front.example",
    ]
    assert settings["CORS_ALLOW_CREDENTIALS"] is False


@pytest.mark.parametrize("url", [URL, "sqlite:///db.sqlite3"])
def test_settings__database__is_atomic_persistent_and_checked(url: str) -> None:
    database = load_settings(APP_ENV="development", DATABASE_URL=url)["DATABASES"]["default"]

    assert database["ATOMIC_REQUESTS"] is True
    assert database["CONN_HEALTH_CHECKS"] is True
    assert 0 < database["CONN_MAX_AGE"] < 60, "a name that moves to another server is followed within a minute"


def test_settings__url_that_says_otherwise__does_not_switch_the_transactions_off() -> None:
    url = f"{URL}?atomic_requests=false&conn_health_checks=false&conn_max_age=0"

    database = load_settings(**{**PRODUCTION, "DATABASE_URL": url})["DATABASES"]["default"]

    assert database["ATOMIC_REQUESTS"] is True
    assert database["CONN_HEALTH_CHECKS"] is True
    assert database["CONN_MAX_AGE"] > 0


def test_settings__release_and_flags__are_handed_on() -> None:
    settings = load_settings(
        **PRODUCTION,
        RENDER_GIT_COMMIT="0123abc",
        GOLIVE_PUBLIC_DETAILS="true",
        GOLIVE_READ_TOKEN_REQUIRED="true",
        GO_LIVE_ENFORCE="false",
        GOLIVE_EXEMPT_PREFIXES="/hooks/",
        GOLIVE_TRUSTED_PROXIES="2",
        GOLIVE_CLOSE_ON_FAILOVER="true",
        GOLIVE_SAFE_MIGRATE="false",
        LOG_LEVEL="WARNING",
    )

    assert settings["RELEASE"] == "0123abc"
    assert settings["GOLIVE_PUBLIC_DETAILS"] is True
    assert settings["GOLIVE_READ_TOKEN_REQUIRED"] is True
    assert settings["GO_LIVE_ENFORCE"] is False
    assert settings["GOLIVE_EXEMPT_PREFIXES"] == ("/hooks/",)
    assert settings["GOLIVE_TRUSTED_PROXIES"] == 2
    assert settings["GOLIVE_CLOSE_ON_FAILOVER"] is True
    assert settings["GOLIVE_SAFE_MIGRATE"] is False
    assert settings["LOGGING"]["root"]["level"] == "WARNING"


# -- behind the proxy --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def production() -> Iterator[GunicornServer]:
    """The service in the settings of production. Its database is away: nothing here needs it."""
    values = {
        "APP_ENV": "production",
        "DATABASE_URL": f"postgresql://valhalla:{PASSWORD}@127.0.0.1:1/valhalla",
        "RENDER_EXTERNAL_HOSTNAME": HOSTNAME,
    }
    with GunicornServer(values, workers=1) as server:
        yield server


def ask(server: GunicornServer, path: str, *, method: str = "GET", body: str = "", **headers: str) -> Response:
    """One request; `headers` are named as Python allows (`x_forwarded_proto`)."""
    named = {name.replace("_", "-"): value for name, value in {"host": HOSTNAME, **headers}.items()}
    return request(method, server.url(path), headers=named, body=body or None)


def test_proxy__plain_http__is_sent_to_https(production: GunicornServer) -> None:
    answer = ask(production, "/admin/login/?next=/admin/", x_forwarded_proto="http")

    assert answer.status == 301
    assert answer.headers["Location"] == f"https://{HOSTNAME}/admin/login/?next=/admin/"


def test_proxy__https__is_answered_with_hsts(production: GunicornServer) -> None:
    answer = ask(production, "/", x_forwarded_proto="https", accept="application/json")

    assert (answer.status, answer.json()) == (200, {"ok": True, "service": "valhalla"})
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains; preload"


@pytest.mark.parametrize("path", ["/health", "/readyz"])
def test_proxy__probe_from_inside_over_plain_http__is_answered(production: GunicornServer, path: str) -> None:
    answer = ask(production, path, host="10.0.0.5:10000")

    assert answer.status == {"/health": 200, "/readyz": 503}[path]
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("origin", "status"), [(f"https://{HOSTNAME}", 503), ("https://elsewhere.example", 403), ("null", 403)]
)
def test_proxy__form_from_an_origin__is_taken_from_ours_only(
    production: GunicornServer, origin: str, status: int
) -> None:
    """503: past the check, at the database, which is away."""
    token = "t" * 32
    body = f"csrfmiddlewaretoken={token}&username=a&password=b"

    answer = ask(
        production,
        "/admin/login/",
        method="POST",
        body=body,
        origin=origin,
        cookie=f"csrftoken={token}",
        x_forwarded_proto="https",
        content_type="application/x-www-form-urlencoded",
    )

    assert answer.status == status


def test_proxy__form_from_a_sibling_subdomain__is_refused() -> None:
    values = {
        **PRODUCTION,
        "DATABASE_URL": f"postgresql://valhalla:{PASSWORD}@127.0.0.1:1/go",
        "ALLOWED_HOSTS": ".b.example",
    }
    token = "t" * 32

    with GunicornServer(values, workers=1) as server:
        answers = {
            name: ask(
                server,
                "/admin/login/",
                method="POST",
                body=f"csrfmiddlewaretoken={token}&username=a&password=b",
                host="control.b.example",
                origin=f"https://{name}.b.example",
                cookie=f"csrftoken={token}",
                x_forwarded_proto="https",
                content_type="application/x-www-form-urlencoded",
            ).status
            for name in ("control", "sibling")
        }

    # 503: past the check, at the database, which is away.
    assert answers == {"control": 503, "sibling": 403}


def test_proxy__unknown_host__is_refused_except_for_the_probe(production: GunicornServer) -> None:
    refused = ask(production, "/api/status", host="elsewhere.example", x_forwarded_proto="https")
    health = ask(production, "/health", host="elsewhere.example")

    assert (refused.status, health.status) == (400, 200)


def test_proxy__log_after_all_this__holds_no_secret(production: GunicornServer) -> None:
    ask(production, "/api/status", x_forwarded_proto="https")

    log = production.log_text()
    assert "the database failed" in log or "503" in log
    assert PASSWORD not in log
