"""The role of docs/deploy/database.md: enough for the service, and no more."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from tests.support.postgres import PostgresServer
from tests.support.server import ROOT, GunicornServer, clean_environment, request

pytestmark = pytest.mark.postgresql


@dataclass(frozen=True)
class Roles:
    """The same database, as its owner and as the service's role."""

    owner_url: str
    web_url: str


@pytest.fixture(scope="module")
def roles() -> Iterator[Roles]:
    sql = re.search(r"```sql\n-- web-role\n(.*?)```", (ROOT / "docs/deploy/database.md").read_text(), re.DOTALL)
    assert sql is not None
    password = secrets.token_hex(12)
    server = PostgresServer().start()
    try:
        owner_url = server.create_database("roles")
        _manage(owner_url, "migrate", "-v0")
        for statement in sql.group(1).replace(":'password'", f"'{password}'").split(";"):
            if statement.strip():
                server.execute(statement, "roles")
        parts = urlsplit(owner_url)
        web = parts._replace(netloc=f"valhalla_web:{password}@{parts.hostname}:{parts.port}")
        yield Roles(owner_url, urlunsplit(web))
    finally:
        server.destroy()


def _variables(url: str) -> dict[str, str]:
    key = "for-the-test-only-0123456789-0123456789"
    return {"APP_ENV": "development", "SECRET_KEY": key, "DATABASE_URL": url}


def _manage(url: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=clean_environment(_variables(url)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_web_role__the_whole_way__works(roles: Roles) -> None:
    for change in ("complete", "release", "enable"):
        _manage(roles.web_url, "golive", change, "--reason", "as the web role")
    assert "ALLOWED" in _manage(roles.web_url, "golive", "status")
    _manage(roles.web_url, "golive", "reopen")
    assert "0 problems" in _manage(roles.web_url, "golive", "history", "--verify")


def test_web_role__served__reads_and_signs_in(roles: Roles) -> None:
    password = _manage(roles.web_url, "create_operator").split("Password:")[1].split()[0]
    with GunicornServer(_variables(roles.web_url), workers=1) as server:
        assert request("GET", server.url("/readyz")).status == 200
        assert request("GET", server.url("/api/status")).status == 200
        login = request("GET", server.url("/admin/login/"))
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', login.text)
        cookie = re.search(r"csrftoken=\w+", login.headers["Set-Cookie"])
        assert token is not None
        assert cookie is not None
        body = f"username=operator&password={password}&csrfmiddlewaretoken={token.group(1)}".encode()
        headers = {"Cookie": cookie.group(0), "Content-Type": "application/x-www-form-urlencoded"}
        answer = request("POST", server.url("/admin/login/?next=/admin/"), headers=headers, body=body)
    assert (answer.status, answer.headers["Location"]) == (302, "/admin/")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE golive_event SET reason = 'x'",
        "DELETE FROM golive_event",
        "TRUNCATE golive_event",
        "DROP TRIGGER golive_event_append_only ON golive_event",
        "ALTER TABLE golive_event DISABLE TRIGGER ALL",
        "DELETE FROM go_live_state",
        "INSERT INTO go_live_state (id) VALUES (1)",
        "DROP TABLE go_live_state",
        "ALTER TABLE go_live_state ADD COLUMN x integer",
        "DELETE FROM django_migrations",
        "CREATE TABLE more (id integer)",
    ],
)
def test_web_role__more_than_it_needs__is_denied(roles: Roles, statement: str) -> None:
    with psycopg.connect(roles.web_url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement.encode())


def test_docs__sql_of_the_role__names_every_table_of_the_project() -> None:
    from django.apps import apps

    text = (Path(ROOT) / "docs/deploy/database.md").read_text()
    tables = {model._meta.db_table for model in apps.get_models(include_auto_created=True)} | {"django_migrations"}
    assert {table for table in tables if table not in text} == set()
