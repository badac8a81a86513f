"""A schema that somebody else has put in front answers nobody: not a read, not a change, not its acknowledgement."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import connection

from golive.controls import rehearsal
from golive.postgresql import base, search_path
from golive.postgresql.search_path import Schema, choose
from golive.state import singletons, snapshots
from tests.support.changes import apply, check_sound, go_live
from tests.support.faults import database_url, rerouted, run_sql
from tests.support.roles import WEB_GRANTS, Login, login

TABLES = ("go_live_state", "system_metadata", "golive_event")
READABLE = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"


def make_schema(
    name: str, *, trusted: bool = False, held: bool = True, role_s: bool = False, table: bool | None = None
) -> Schema:
    return Schema(name, 1, "somebody", role_s, trusted, held, held and (trusted if table is None else table))


OURS, THEIRS = make_schema("public", trusted=True), make_schema("theirs")
OURS_EMPTY = make_schema("public", trusted=True, held=False)
ROLE_S = make_schema("web", role_s=True)
APP = make_schema("app", trusted=True)
# Somebody who may create tables in public has made one there.
PUBLIC_OF_ANOTHER = make_schema("public", trusted=True, table=False)
THEIRS_EMPTY = make_schema("theirs", held=False)


@pytest.mark.parametrize(
    ("path", "used"),
    [
        ([OURS], [OURS]),
        ([APP, OURS], [APP, OURS]),
        ([THEIRS_EMPTY, OURS], [OURS]),
        # Which of the two is real nobody can tell: a role of its own migrates, or a table was left behind.
        ([THEIRS, OURS], []),
        ([OURS, THEIRS], []),
        ([THEIRS, PUBLIC_OF_ANOTHER], []),
        ([ROLE_S, PUBLIC_OF_ANOTHER], [PUBLIC_OF_ANOTHER]),
        ([PUBLIC_OF_ANOTHER], [PUBLIC_OF_ANOTHER]),
        ([ROLE_S, OURS], [OURS]),
        # A migrating role's own schema, which the service's role was given: nobody else has the tables.
        ([THEIRS, OURS_EMPTY], [THEIRS, OURS_EMPTY]),
        # Under the role's name anybody could have made it, before the tables were.
        ([ROLE_S, OURS_EMPTY], [OURS_EMPTY]),
        ([ROLE_S], []),
        ([], []),
    ],
)
def test_choose__a_path__uses_the_schemas_of_those_who_may(path: Sequence[Schema], used: list[Schema]) -> None:
    assert choose(path) == (used, [schema for schema in path if schema not in used])


@contextmanager
def schema_in_front(web: Login, mallory: Login, *, allowed: bool) -> Iterator[None]:
    """`mallory`, who may create schemas, makes one under the service's name, with tables that say what they like."""
    with psycopg.connect(mallory.url, autocommit=True) as other:
        other.execute(f"CREATE SCHEMA {web.role}".encode())
        for table in TABLES:
            other.execute(f"CREATE TABLE {web.role}.{table} AS SELECT * FROM public.{table}".encode())
            other.execute(f"GRANT ALL ON {web.role}.{table} TO PUBLIC".encode())
        other.execute(f"GRANT USAGE ON SCHEMA {web.role} TO PUBLIC".encode())
        stopped = "false" if allowed else "true"
        other.execute(
            f"UPDATE {web.role}.go_live_state SET go_live_enabled = true, kill_switch_engaged = {stopped}".encode()
        )
    try:
        yield
    finally:
        run_sql(f"DROP SCHEMA {web.role} CASCADE")


@contextmanager
def attacked(*, allowed: bool) -> Iterator[Login]:
    database = connection.settings_dict["NAME"]
    with (
        login(READABLE, *WEB_GRANTS, f'GRANT TEMPORARY ON DATABASE "{database}" TO {{role}}') as web,
        login(READABLE, f'GRANT CREATE ON DATABASE "{database}" TO {{role}}') as mallory,
        schema_in_front(web, mallory, allowed=allowed),
    ):
        yield web


@pytest.mark.postgresql
@pytest.mark.usefixtures("database")
def test_schema__in_front_by_somebody_else__answers_no_read_and_takes_no_change(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_path, "_dropped", set())
    go_live()
    apply("engage")

    with attacked(allowed=True) as web:
        with rerouted(USER=web.role, PASSWORD=web.password):
            snapshots.stop_all()
            # For whatever else is read, by Django's own queries.
            path = run_sql("SHOW search_path")
            read = singletons.read_go_live()
            leased = snapshots.read_snapshot().decision.allowed
            rehearsed = rehearsal.rehearse()
            done = apply("disable")
            snapshots.stop_all()
        theirs = run_sql(f"SELECT go_live_enabled FROM {web.role}.go_live_state")

    assert path == [("public",)]
    assert (read.kill_switch_engaged, leased, rehearsed.ok) == (True, False, True)
    assert done.changed
    assert theirs == [(True,)]
    assert singletons.read_go_live().go_live_enabled is False
    check_sound()
    said = [record.getMessage() for record in caplog.records if "left out of the search path" in record.getMessage()]
    assert len(said) == 1
    assert web.role in said[0]


@pytest.mark.postgresql
@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("has_row", [True, False])
def test_schema__in_front_of_a_session_that_we_did_not_begin__is_not_read(
    has_row: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a pooler in transaction mode, or with Django's own backend: the path is as the server has it."""
    monkeypatch.setattr(base, "drop_foreign_schemas", lambda *_, **__: ([], []))
    monkeypatch.setattr(singletons, "_our_tables", {})
    go_live()
    apply("engage")

    with attacked(allowed=True) as web:
        if not has_row:
            run_sql(f"DELETE FROM {web.role}.go_live_state")
        with rerouted(USER=web.role, PASSWORD=web.password):
            unsafe = run_sql("SELECT count(*) FROM go_live_state WHERE kill_switch_engaged")
            read = singletons.read_go_live()
            run_sql("RESET search_path")
            done = apply("disable")

    assert unsafe == [(0,)]
    assert read.kill_switch_engaged is True
    assert done.changed
    assert singletons.read_go_live().go_live_enabled is False


@pytest.mark.postgresql
@pytest.mark.usefixtures("database")
def test_read__of_tables_that_are_known__is_one_statement_on_the_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    singletons.read_both()
    asked: list[Any] = []
    monkeypatch.setattr(singletons, "drop_foreign_schemas", lambda *_, **__: asked.append(1))

    for _ in range(3):
        singletons.read_both()

    assert asked == []


@pytest.mark.postgresql
@pytest.mark.usefixtures("database")
def test_schema__of_the_role_that_migrates__is_used_by_the_service_s_role() -> None:
    """Neither the database's owner nor the service has made it, and nobody else has the tables."""
    name = f"app_{secrets.token_hex(4)}"
    with login() as migrator, login() as web:
        run_sql(f"CREATE SCHEMA {name} AUTHORIZATION {migrator.role}")
        try:
            for table in TABLES:
                run_sql(f"CREATE TABLE {name}.{table} AS SELECT * FROM {table}")
            run_sql(f"GRANT USAGE ON SCHEMA {name} TO {web.role}")
            run_sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO {web.role}")
            run_sql(f"UPDATE {name}.go_live_state SET revision = 77")
            run_sql(f"ALTER ROLE {web.role} SET search_path = {name}")
            with rerouted(USER=web.role, PASSWORD=web.password):
                read = singletons.read_go_live()
        finally:
            run_sql(f"DROP SCHEMA {name} CASCADE")

    assert read.revision == 77


@pytest.mark.postgresql
@pytest.mark.usefixtures("database")
def test_schema__of_the_role_that_migrates__beside_a_table_left_in_public__is_unknown() -> None:
    """Of two tables one says "allowed": which is ours nobody can tell, so the answer is no."""
    go_live()
    name = f"app_{secrets.token_hex(4)}"
    with login() as migrator, login(READABLE) as web:
        run_sql(f"CREATE SCHEMA {name} AUTHORIZATION {migrator.role}")
        try:
            for table in TABLES:
                run_sql(f"CREATE TABLE {name}.{table} AS SELECT * FROM {table}")
            run_sql(f"GRANT USAGE ON SCHEMA {name} TO {web.role}")
            run_sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO {web.role}")
            run_sql(f"UPDATE {name}.go_live_state SET kill_switch_engaged = true")
            run_sql(f"ALTER ROLE {web.role} SET search_path = {name}, public")
            with rerouted(USER=web.role, PASSWORD=web.password):
                snapshots.stop_all()
                decision = snapshots.read_snapshot().decision
                snapshots.stop_all()
        finally:
            run_sql(f"DROP SCHEMA {name} CASCADE")

    assert decision.code == "STATE_UNKNOWN"


@pytest.mark.postgresql
@pytest.mark.usefixtures("database")
def test_schema__made_under_the_role_s_name_after_the_session_began__is_not_looked_into() -> None:
    database = connection.settings_dict["NAME"]
    with (
        login(READABLE, *WEB_GRANTS) as web,
        login(READABLE, f'GRANT CREATE ON DATABASE "{database}" TO {{role}}') as mallory,
        rerouted(USER=web.role, PASSWORD=web.password),
    ):
        before = run_sql("SELECT current_schemas(false)")
        with psycopg.connect(mallory.url, autocommit=True) as other:
            other.execute(f"CREATE SCHEMA {web.role}".encode())
            other.execute(f"GRANT USAGE ON SCHEMA {web.role} TO PUBLIC".encode())
            try:
                after = run_sql("SELECT current_schemas(false)")
            finally:
                other.execute(f"DROP SCHEMA {web.role} CASCADE".encode())

    assert after == before


@pytest.mark.postgresql
@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("make_path", [lambda name: f"{name}, public", lambda name: f"public, {name}"])
def test_schema__of_a_superuser__stays_in_the_path(make_path: Callable[[str], str]) -> None:
    name = f"app_{secrets.token_hex(4)}"
    run_sql(f"CREATE SCHEMA {name}")
    try:
        with login(READABLE) as web, psycopg.connect(web.url) as other:
            run_sql(f"GRANT USAGE ON SCHEMA {name} TO {web.role}")
            other.execute(f"SET search_path = {make_path(name)}".encode())
            with other.cursor() as cursor:
                used, dropped = search_path.drop_foreign_schemas(cursor, is_local=True)
    finally:
        run_sql(f"DROP SCHEMA {name} CASCADE")

    assert [schema.name for schema in used] == make_path(name).split(", ")
    assert dropped == []


@pytest.mark.postgresql
@pytest.mark.usefixtures("database")
def test_owner__of_the_database_of_these_tests__is_known() -> None:
    with psycopg.connect(database_url()) as plain, plain.cursor() as cursor:
        path = search_path.read_path(cursor)

    assert [(schema.name, schema.is_trusted, schema.has_table) for schema in path] == [("public", True, True)]
