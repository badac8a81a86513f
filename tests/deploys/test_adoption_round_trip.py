"""To zero and forward again, the whole command, and SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError
from django.db import connection, connections

from golive.migrations.adoption import shapes
from golive.migrations.adoption.operation import find_all_faults
from golive.models import GoLiveState, SystemMetadata
from tests.deploys.commands import assert_refused, manage
from tests.deploys.defects import BASE
from tests.deploys.remedies import read_remedies
from tests.deploys.sandbox import TABLES, Sandbox, apply_first, open_connection, open_sandbox
from tests.support.postgres import fresh_database

_MAKE = {"system_metadata": BASE[:2], "go_live_state": BASE[2:]}
_ROWS = {
    "system_metadata": "SELECT version, backend_complete, notes, updated_at, completed_at FROM system_metadata",
    "go_live_state": "SELECT go_live_enabled, kill_switch_engaged, changed_by, reason, updated_at FROM go_live_state",
}


# -- PostgreSQL --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster(django_db_blocker: Any) -> Iterator[Sandbox]:
    with django_db_blocker.unblock(), fresh_database("round_trip") as url, open_sandbox(url) as opened:
        yield opened


@pytest.fixture
def sandbox(cluster: Sandbox) -> Iterator[Sandbox]:
    with cluster.schemas():
        yield cluster


@pytest.fixture
def whole(django_db_blocker: Any) -> Iterator[Sandbox]:
    """A database of its own, for what is not in a schema: the whole command."""
    with django_db_blocker.unblock(), fresh_database("whole") as url, open_sandbox(url) as opened:
        yield opened


def _standing(sandbox: Sandbox) -> set[str]:
    found = sandbox.query(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND pg_table_is_visible(oid) AND oid >= 16384"
    )
    return {row["relname"] for row in found} - {"django_migrations"}


@pytest.mark.postgresql
@pytest.mark.parametrize("adopted", [(), *((table,) for table in TABLES), TABLES], ids="-".join)
def test_zero__made_and_adopted_tables__drops_what_was_made_and_leaves_the_rest(
    sandbox: Sandbox, adopted: tuple[str, ...]
) -> None:
    for table in adopted:
        sandbox.execute(*_MAKE[table])
    sandbox.migrate()
    fingerprint = sandbox.fingerprint()
    before = {table: sandbox.query(_ROWS[table]) for table in TABLES}

    for _ in range(2):
        sandbox.migrate(("golive", None))
        assert _standing(sandbox) == set(adopted)
        assert all(sandbox.query(_ROWS[table]) == before[table] for table in adopted)

        sandbox.migrate()
        assert {table: sandbox.query(_ROWS[table]) for table in TABLES} == before
        events = sandbox.query("SELECT subject, action FROM golive_event ORDER BY sequence")
        assert [(e["subject"], e["action"]) for e in events] == [
            (t, "adopt" if t in adopted else "seed") for t in TABLES
        ]
        assert sandbox.fingerprint() == fingerprint
        assert sandbox.find_schema_faults() == []


@pytest.mark.postgresql
def test_zero__table_that_another_tool_has_dropped__is_no_obstacle(sandbox: Sandbox) -> None:
    sandbox.migrate()
    sandbox.execute("DROP TABLE go_live_state")
    sandbox.migrate(("golive", None))
    assert _standing(sandbox) == set()


@pytest.mark.postgresql
def test_zero__made_table_that_another_tool_has_made_again__stands(sandbox: Sandbox) -> None:
    sandbox.migrate()
    sandbox.execute("DROP TABLE go_live_state", *_MAKE["go_live_state"])
    sandbox.migrate(("golive", None))
    assert _standing(sandbox) == {"go_live_state"}
    sandbox.migrate()
    assert sandbox.find_schema_faults() == []


@pytest.mark.postgresql
def test_adoption__what_was_adopted_before__is_adopted_without_a_change(sandbox: Sandbox) -> None:
    sandbox.execute(*BASE)
    sandbox.migrate()
    sandbox.migrate(("golive", None))
    (head,) = sandbox.query("SELECT event_head FROM go_live_state")
    described = [sandbox.describe(table) for table in TABLES]
    sandbox.migrate_first()
    assert [sandbox.describe(table) for table in TABLES] == described
    assert sandbox.query("SELECT event_head FROM go_live_state") == [head]


@pytest.mark.postgresql
def test_migrate__legacy_tables__adopts_and_a_second_run_changes_nothing(whole: Sandbox) -> None:
    whole.execute(
        *BASE, "CREATE TABLE alembic_version (version_num varchar(32))", "INSERT INTO alembic_version VALUES ('a')"
    )
    done = manage(whole.url, "migrate", "--noinput")
    assert done.returncode == 0, done.stderr
    assert whole.query("SELECT * FROM alembic_version") == [{"version_num": "a"}]
    assert whole.find_schema_faults() == []
    (row,) = whole.query(_ROWS["go_live_state"])
    assert (row["go_live_enabled"], row["kill_switch_engaged"], row["changed_by"]) == (True, False, "ann")

    before = whole.take_snapshot()
    assert manage(whole.url, "migrate", "--noinput").returncode == 0
    whole.assert_unchanged_since(before)
    assert manage(whole.url, "golive", "history", "--verify").returncode == 0
    assert manage(whole.url, "migrate", "golive", "zero").returncode == 0
    assert set(TABLES) < _standing(whole)
    assert "golive_event" not in _standing(whole)


@pytest.mark.postgresql
def test_migrate__unfit_tables__is_refused_before_any_table_is_made(whole: Sandbox) -> None:
    whole.execute(
        *BASE,
        "UPDATE go_live_state SET kill_switch_engaged = 2",
        "ALTER TABLE system_metadata DROP COLUMN notes",
        "CREATE VIEW board AS SELECT reason FROM go_live_state",
    )
    before = whole.take_snapshot()
    told = assert_refused(manage(whole.url, "migrate", "--noinput"))
    whole.assert_unchanged_since(before)
    for subject in ("go_live_state.kill_switch_engaged", "go_live_state.reason", "system_metadata.notes"):
        assert f"  {subject} " in told

    whole.execute(*read_remedies(told))
    assert manage(whole.url, "migrate", "--noinput").returncode == 0
    assert whole.find_schema_faults() == []


# -- SQLite ------------------------------------------------------------------------------------------------------------

_SQLITE = {
    "system_metadata": """CREATE TABLE system_metadata (id integer PRIMARY KEY, version TEXT NOT NULL DEFAULT '1.0.0',
        backend_complete bool NOT NULL DEFAULT 0, notes text, updated_at datetime, completed_at datetime,
        revision bigint NOT NULL DEFAULT 1, extra text, CONSTRAINT system_metadata_singleton CHECK (id = 1))""",
    "go_live_state": """CREATE TABLE go_live_state (id integer NOT NULL PRIMARY KEY,
        go_live_enabled bool NOT NULL DEFAULT 0, kill_switch_engaged bool NOT NULL DEFAULT 1, changed_by text,
        reason text, updated_at datetime, revision bigint NOT NULL DEFAULT 1, lease_ms integer NOT NULL DEFAULT 250,
        event_head text, CONSTRAINT go_live_state_singleton CHECK (id = 1),
        CONSTRAINT "go_live_state_lease_range" CHECK ("lease_ms" BETWEEN 0 AND 5000))""",
}
_SQLITE_ROW = """INSERT INTO go_live_state (id, go_live_enabled, kill_switch_engaged, changed_by, revision)
    VALUES (1, 1, 0, 'ann', 7)"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "db.sqlite3"


def _execute(file: Path, *statements: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(file, isolation_level=None)) as opened:
        return [opened.execute(statement).fetchall() for statement in statements][-1]


def _dump(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as opened:
        return list(opened.iterdump())


@pytest.mark.sqlite_only
def test_sqlite__tables_of_our_shape__are_used_and_kept(file: Path) -> None:
    _execute(file, *_SQLITE.values(), _SQLITE_ROW)
    done = manage(f"sqlite:///{file}", "migrate", "--noinput")
    assert done.returncode == 0, done.stderr
    kept = "SELECT go_live_enabled, kill_switch_engaged, changed_by, revision FROM go_live_state"
    assert _execute(file, kept) == [(1, 0, "ann", 7)]
    actions = _execute(file, "SELECT subject, action FROM golive_event WHERE subject <> 'deploy' ORDER BY sequence")
    assert actions == [("system_metadata", "seed"), ("go_live_state", "adopt")]

    # Backward, what had data of its own stands.
    assert manage(f"sqlite:///{file}", "migrate", "golive", "zero").returncode == 0
    assert _execute(file, kept) == [(1, 0, "ann", 7)]
    assert _execute(file, "SELECT name FROM sqlite_master WHERE name = 'system_metadata'") == []
    assert manage(f"sqlite:///{file}", "migrate").returncode == 0
    assert _execute(file, kept) == [(1, 0, "ann", 7)]


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("CREATE TABLE go_live_state (id integer)", "go_live_state.kill_switch_engaged is missing"),
        ("CREATE TABLE Go_Live_State (id integer)", "go_live_state.kill_switch_engaged is missing"),
        ("CREATE VIEW go_live_state AS SELECT 1 AS id", "the view go_live_state has this name"),
        (
            _SQLITE["go_live_state"].replace("engaged bool NOT NULL DEFAULT 1", "engaged bool NOT NULL DEFAULT 0"),
            "engaged is",
        ),
        (
            _SQLITE["go_live_state"].replace("reason text", "reason varchar(9)"),
            "go_live_state.reason is varchar(9) NULL",
        ),
        (_SQLITE["go_live_state"].replace("updated_at datetime", "updated_at datetime NOT NULL"), "updated_at is"),
        (_SQLITE["go_live_state"].replace("CHECK (id = 1)", "CHECK (id > 0)"), "go_live_state.id lacks CONSTRAINT"),
        (_SQLITE["go_live_state"].replace("NOT NULL PRIMARY KEY", "NOT NULL"), "go_live_state.id is integer NOT NULL"),
        (_SQLITE["go_live_state"].replace("event_head", "must text NOT NULL, event_head"), "go_live_state.must is"),
    ],
)
def test_sqlite__table_of_another_shape__is_refused_with_nothing_changed(
    file: Path, django_db_blocker: Any, statement: str, told: str
) -> None:
    _execute(file, statement)
    before = _dump(file)
    with django_db_blocker.unblock(), open_connection({"NAME": str(file)}) as alias:
        with pytest.raises(CommandError) as refusal:
            apply_first(connections[alias])
        with connections[alias].cursor() as cursor:
            assert find_all_faults(cursor) == str(refusal.value)
        assert told in str(refusal.value)
        assert _dump(file) == before

        statements = [part.strip() for line in read_remedies(str(refusal.value)) for part in line.split(";")]
        _execute(file, *filter(None, dict.fromkeys(statements)))
        apply_first(connections[alias])


@pytest.mark.sqlite_only
def test_migrate_on_sqlite__table_of_another_shape__is_told_in_one_message(file: Path) -> None:
    _execute(file, "CREATE TABLE go_live_state (id integer)", "INSERT INTO go_live_state VALUES (5)")
    told = assert_refused(manage(f"sqlite:///{file}", "migrate", "--noinput"))
    assert "go_live_state.reason is missing" in told
    assert _execute(file, "SELECT * FROM go_live_state") == [(5,)]
    assert _execute(file, "SELECT name FROM sqlite_master WHERE name = 'golive_event'") == []


# -- the frozen copy ---------------------------------------------------------------------------------------------------


def test_shapes__against_the_models__are_the_same() -> None:
    """The shapes are what the first migration made; `later` is what others have added since."""
    later = {"timeline"}
    types = {"boolean": "BooleanField", "text": "TextField", "integer": "IntegerField", "bigint": "BigIntegerField"}
    types["timestamp with time zone"] = "DateTimeField"
    for model in (SystemMetadata, GoLiveState):
        shape = shapes.SHAPES[model._meta.db_table]
        fields = {field.column: field for field in model._meta.concrete_fields if field.column != "id"}
        assert [name for name in fields if name not in later] == [column.name for column in shape.columns]
        for column in shape.columns:
            field = fields[column.name]
            assert field.get_internal_type() == types[column.type]
            assert field.null == (column.default is None)
            default = repr(field.db_default) if field.has_db_default() else None
            assert column.default == (default.lower() if default in ("True", "False") else default)
        editor = connection.schema_editor(collect_sql=True)
        wanted = {f"CONSTRAINT {check.name} CHECK ({check.condition})" for check in shape.checks}
        assert {
            str(constraint.constraint_sql(model, editor)).replace('"', "") for constraint in model._meta.constraints
        } == wanted
