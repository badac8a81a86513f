"""Side by side with Alembic: "Handing over from Alembic" in docs/, run literally with a real Alembic environment."""

from __future__ import annotations

import re
import secrets
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from tests.deploys.alembic_project import AlembicProject
from tests.deploys.commands import manage
from tests.deploys.defects import BASE
from tests.deploys.sandbox import TABLES, Sandbox, open_sandbox
from tests.support.postgres import fresh_database
from tests.support.server import ROOT

pytestmark = pytest.mark.postgresql

_HEAD = [{"version_num": "e5"}]
_STATE = "SELECT go_live_enabled, kill_switch_engaged, changed_by, updated_at FROM go_live_state"
_SEEDED = {
    "go_live_enabled": True,
    "kill_switch_engaged": False,
    "changed_by": "seed",
    "updated_at": datetime(2026, 1, 5, 10, 20, 30, tzinfo=UTC),
}


def read_block(name: str) -> str:
    """A block of the documents by the comment on its first line."""
    text = "\n".join(path.read_text() for path in sorted((ROOT / "docs").rglob("*.md")))
    found = re.search(rf"```(?:sql|python)\n *(?:--|#) {name}\n(.*?)```", text, re.DOTALL)
    assert found is not None, name
    return textwrap.dedent(found.group(1))


def read_statements(name: str, **values: str) -> list[str]:
    sql = read_block(name)
    for variable, value in values.items():
        sql = sql.replace(f':"{variable}"', value)
    return [statement.strip() for statement in sql.split(";") if statement.strip()]


@contextmanager
def _copy(url: str) -> Iterator[str]:
    """A database with all that another one has."""
    parts, name = urlsplit(url), f"alembic_{secrets.token_hex(4)}"
    with psycopg.connect(urlunsplit(parts._replace(path="/postgres")), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {parts.path[1:]}".encode())
        try:
            yield urlunsplit(parts._replace(path=f"/{name}"))
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def _both(url: str, folder: Path, hook: str = "") -> Iterator[tuple[AlembicProject, Sandbox]]:
    project = AlembicProject(folder, url)
    project.make(hook)
    with open_sandbox(url) as sandbox:
        yield project, sandbox


def _migrate(sandbox: Sandbox) -> None:
    done = manage(sandbox.url, "migrate", "--noinput")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sandbox.find_schema_faults() == []


def _actions(sandbox: Sandbox) -> list[str]:
    events = sandbox.query("SELECT action FROM golive_event WHERE subject <> 'deploy' ORDER BY sequence")
    return [event["action"] for event in events]


@pytest.fixture(scope="module", autouse=True)
def _unblocked(django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Made and seeded by Alembic, then adopted."""
    with fresh_database("alembic") as url:
        with _both(url, tmp_path_factory.mktemp("alembic")) as (alembic, sandbox):
            alembic.succeed("upgrade", "head")
            assert sandbox.query("SELECT * FROM alembic_version") == _HEAD
            _migrate(sandbox)
        yield url


@pytest.fixture
def adopted(template: str, tmp_path: Path) -> Iterator[tuple[AlembicProject, Sandbox]]:
    with _copy(template) as url, _both(url, tmp_path) as both:
        yield both


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[tuple[AlembicProject, Sandbox]]:
    with fresh_database("alembic_empty") as url, _both(url, tmp_path) as both:
        yield both


def test_alembic__upgraded_before_and_after_adoption__changes_nothing(adopted: tuple[AlembicProject, Sandbox]) -> None:
    alembic, sandbox = adopted
    assert sandbox.query(_STATE) == [_SEEDED]
    assert _actions(sandbox) == ["adopt", "adopt"]
    before = sandbox.take_snapshot()
    for _ in range(2):
        alembic.succeed("upgrade", "head")
        sandbox.assert_unchanged_since(before)
    assert "e5 (head)" in alembic.succeed("current")
    sandbox.assert_unchanged_since(before)


def test_alembic__everything_again_from_the_start__changes_nothing_of_ours(
    adopted: tuple[AlembicProject, Sandbox],
) -> None:
    alembic, sandbox = adopted
    sandbox.execute("DELETE FROM alembic_version", "DROP TABLE messages")
    before = {table: (sandbox.describe(table), sandbox.query(f"SELECT * FROM {table}")) for table in TABLES}
    alembic.succeed("upgrade", "head")
    assert {table: (sandbox.describe(table), sandbox.query(f"SELECT * FROM {table}")) for table in TABLES} == before
    assert sandbox.find_schema_faults() == []


@pytest.mark.parametrize("revision", ["", "a1", "b2"], ids=["none", "one-table", "no-rows"])
def test_alembic__adoption_in_the_middle_of_its_chain__both_come_to_their_end(
    empty: tuple[AlembicProject, Sandbox], revision: str
) -> None:
    alembic, sandbox = empty
    if revision:
        alembic.succeed("upgrade", revision)
    sandbox.migrate()
    assert _actions(sandbox) == ["seed", "seed"]
    before = {table: sandbox.query(f"SELECT * FROM {table}") for table in TABLES}

    alembic.succeed("upgrade", "head")

    assert {table: sandbox.query(f"SELECT * FROM {table}") for table in TABLES} == before
    assert sandbox.query("SELECT * FROM alembic_version") == _HEAD
    assert sandbox.query("SELECT * FROM messages") == []
    assert sandbox.find_schema_faults() == []
    (state,) = sandbox.query(_STATE)
    assert (state["go_live_enabled"], state["kill_switch_engaged"]) == (False, True)


def test_alembic__later_revision_that_alters_our_table__is_named(adopted: tuple[AlembicProject, Sandbox]) -> None:
    alembic, sandbox = adopted
    default = "ALTER TABLE go_live_state ALTER kill_switch_engaged SET DEFAULT {}"
    alembic.add("f6", "e5", "default", f'op.execute("{default.format("false")}")')
    alembic.succeed("upgrade", "head")
    done = manage(sandbox.url, "migrate")
    assert done.returncode == 1
    assert "go_live_state.kill_switch_engaged: default is false, not true" in done.stderr
    sandbox.execute(default.format("true"))
    _migrate(sandbox)


def test_alembic__downgrade_that_drops_the_tables__is_closed_and_can_be_made_good(
    adopted: tuple[AlembicProject, Sandbox],
) -> None:
    alembic, sandbox = adopted
    events = sandbox.query("SELECT * FROM golive_event ORDER BY sequence")
    alembic.succeed("downgrade", "base")
    assert sandbox.query("SELECT to_regclass('go_live_state') AS found") == [{"found": None}]
    status = manage(sandbox.url, "golive", "status")
    assert (status.returncode, "STATE_UNKNOWN" in status.stdout + status.stderr) == (2, True)
    done = manage(sandbox.url, "migrate")
    assert done.returncode == 1
    assert {f"{table}: the table is missing" for table in TABLES} <= {line.strip() for line in done.stderr.splitlines()}

    # Made again by Alembic, live and without our columns: still nothing executes.
    alembic.succeed("upgrade", "head")
    assert sandbox.query("SELECT go_live_enabled, kill_switch_engaged FROM go_live_state") == [
        {"go_live_enabled": True, "kill_switch_engaged": False}
    ]
    assert manage(sandbox.url, "golive", "status").returncode == 2

    sandbox.execute(*read_statements("put-aside"), *read_statements("make-again"))
    status = manage(sandbox.url, "golive", "status")
    assert (status.returncode, "KILL_SWITCH_ENGAGED" in status.stdout) == (1, True)
    assert manage(sandbox.url, "golive", "history", "--verify").returncode == 1
    for command in (
        ("golive", "reconcile", "--reason", "alembic downgrade had dropped the tables"),
        ("migrate", "--noinput"),
        ("golive", "history", "--verify"),
    ):
        done = manage(sandbox.url, *command)
        assert done.returncode == 0, done.stdout + done.stderr
    assert sandbox.query("SELECT * FROM golive_event ORDER BY sequence")[: len(events)] == events
    assert sandbox.find_schema_faults() == []


def test_alembic__tables_taken_out_of_its_reach__cannot_be_dropped_and_the_rest_goes_on(
    adopted: tuple[AlembicProject, Sandbox],
) -> None:
    alembic, sandbox = adopted
    ending, password = secrets.token_hex(4), secrets.token_hex(12)
    owner, legacy = f"owner_{ending}", f"legacy_{ending}"
    sandbox.execute(
        f"CREATE ROLE {owner} LOGIN PASSWORD '{password}'",
        f"CREATE ROLE {legacy} LOGIN PASSWORD '{password}'",
        f"GRANT USAGE, CREATE ON SCHEMA public TO {owner}, {legacy}",
        *(f"ALTER TABLE {table} OWNER TO {legacy}" for table in (*TABLES, "messages", "alembic_version")),
        *read_statements("take-over", owner=owner, legacy=legacy),
    )
    parts = urlsplit(sandbox.url)
    url = urlunsplit(parts._replace(netloc=f"{legacy}:{password}@{parts.hostname}:{parts.port}"))
    try:
        before = sandbox.take_snapshot()
        done = AlembicProject(alembic.folder, url).run("downgrade", "base")
        assert done.returncode != 0
        assert "must be owner of table go_live_state" in done.stderr
        sandbox.assert_unchanged_since(before)

        project = AlembicProject(alembic.folder, url)
        project.add("f6", "e5", "more", 'op.execute("ALTER TABLE messages ADD COLUMN at timestamptz")')
        project.succeed("upgrade", "head")
        with psycopg.connect(url) as connection:
            assert connection.execute("SHOW timezone").fetchone() == ("UTC",)
            assert connection.execute("SELECT go_live_enabled FROM go_live_state").fetchone() == (True,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("UPDATE go_live_state SET go_live_enabled = false")
    finally:
        sandbox.execute(f"DROP OWNED BY {owner}, {legacy}", f"DROP ROLE {owner}, {legacy}")


def test_alembic__autogenerate__wants_to_drop_our_columns_unless_they_are_out_of_its_sight(
    adopted: tuple[AlembicProject, Sandbox],
) -> None:
    alembic, sandbox = adopted
    before = sandbox.take_snapshot()
    done = alembic.run("check")
    assert done.returncode != 0
    told = done.stdout + done.stderr
    for lost in ("remove_table", "golive_event", "django_migrations", "remove_column", "lease_ms", "event_head"):
        assert lost in told

    alembic.make(read_block("alembic-env"))
    assert "No new upgrade operations detected" in alembic.succeed("check")
    sandbox.assert_unchanged_since(before)


# -- the old application's SQL -----------------------------------------------------------------------------------------


def test_old_writer__switch_by_sql__takes_effect_and_blocks_until_reconciled(
    adopted: tuple[AlembicProject, Sandbox],
) -> None:
    _, sandbox = adopted
    assert manage(sandbox.url, "golive", "status").returncode == 0
    sandbox.execute("UPDATE go_live_state SET go_live_enabled = false, kill_switch_engaged = true WHERE id = 1")
    status = manage(sandbox.url, "golive", "status")
    assert (status.returncode, "KILL_SWITCH_ENGAGED" in status.stdout) == (1, True)

    sandbox.execute("UPDATE system_metadata SET backend_complete = true")
    release = ("golive", "release", "--reason", "on with it")
    refused = manage(sandbox.url, *release)
    assert refused.returncode == 1
    assert "events_intact" in refused.stdout + refused.stderr
    assert manage(sandbox.url, "golive", "reconcile", "--reason", "the old application did it").returncode == 0
    released = manage(sandbox.url, *release)
    assert released.returncode == 0, released.stdout + released.stderr


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("UPDATE go_live_state SET kill_switch_engaged = 1", psycopg.errors.DatatypeMismatch),
        ("SELECT * FROM go_live_state WHERE kill_switch_engaged = 0", psycopg.errors.UndefinedFunction),
        ("INSERT INTO system_metadata (version) VALUES ('2')", psycopg.errors.NotNullViolation),
        ("INSERT INTO go_live_state (id) VALUES (2)", psycopg.errors.CheckViolation),
    ],
)
def test_old_writer__sql_that_no_longer_fits__fails(template: str, statement: str, error: type[psycopg.Error]) -> None:
    with psycopg.connect(template) as connection, pytest.raises(error):
        connection.execute(statement.encode())


def test_old_writer__sql_that_still_fits__does_what_the_document_says(template: str) -> None:
    with psycopg.connect(template) as connection:
        insert = "INSERT INTO go_live_state (id, go_live_enabled) VALUES (1, false) ON CONFLICT DO NOTHING"
        assert connection.execute(insert.encode()).rowcount == 0
        for zone, hour in (("UTC", 10), ("Europe/Berlin", 9)):
            connection.execute(f"SET timezone = '{zone}'".encode())
            connection.execute("UPDATE go_live_state SET updated_at = TIMESTAMP '2026-01-05 10:00:00'")
            row = connection.execute(
                "SELECT extract(hour FROM updated_at AT TIME ZONE 'UTC') FROM go_live_state"
            ).fetchone()
            assert row == (hour,)
        connection.execute("DELETE FROM system_metadata")
        connection.execute("INSERT INTO system_metadata (id) VALUES (1)")
        assert connection.execute("SELECT updated_at FROM system_metadata").fetchone() == (None,)
        connection.rollback()


def test_old_reader__statement_prepared_before_adoption__fails_until_it_connects_again(
    empty: tuple[AlembicProject, Sandbox],
) -> None:
    _, sandbox = empty
    sandbox.execute(*BASE)
    select = b"SELECT * FROM go_live_state"
    with psycopg.connect(sandbox.url, autocommit=True) as connection:
        connection.execute(select, prepare=True)
        sandbox.migrate()
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="cached plan must not change result type"):
            connection.execute(select, prepare=True)
    with psycopg.connect(sandbox.url) as connection:
        assert connection.execute(select, prepare=True).fetchone() is not None
