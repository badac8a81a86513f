"""Reading the rows: strictly, in time, and what cannot be read is unknown."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC
from typing import Any

import pytest
from django.db import Error, connection, transaction

from golive.database.deadline import database_deadline
from golive.domain.decision import decide
from golive.domain.errors import StateUnknownError
from golive.domain.rows import GO_LIVE_STATE, SYSTEM_METADATA
from golive.models import GoLiveState, SystemMetadata
from golive.state import singletons
from tests.support.changes import go_live
from tests.support.faults import is_postgresql, proxied, renamed_table, rerouted, run_sql, watched_statements
from tests.support.patience import SLACK, ends_within, wait_until

pytestmark = pytest.mark.usefixtures("database")

# Promise 2 of docs/explain/design.md: unknown is answered within 3 seconds.
LIMIT_SECONDS = 3.0
READS: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "read_go_live": (singletons.read_go_live, (GO_LIVE_STATE,)),
    "read_system": (singletons.read_system, (SYSTEM_METADATA,)),
    "read_both": (singletons.read_both, (GO_LIVE_STATE, SYSTEM_METADATA)),
}


def check_unknown_in_time(read: Callable[[], Any], *, limit_seconds: float = LIMIT_SECONDS) -> StateUnknownError:
    with ends_within(limit_seconds), pytest.raises(StateUnknownError) as caught:
        read()
    assert caught.value.code == "STATE_UNKNOWN"
    return caught.value


# -- what stands -------------------------------------------------------------------------------------------------------


def test_read__after_the_migrations__is_safe() -> None:
    go_live_row, system_row = singletons.read_both()

    assert (go_live_row.go_live_enabled, go_live_row.kill_switch_engaged) == (False, True)
    assert (go_live_row.revision, go_live_row.lease_ms) == (1, 250)
    assert (go_live_row.changed_by, go_live_row.reason, go_live_row.updated_at) == (None, None, None)
    assert (system_row.version, system_row.backend_complete, system_row.notes) == ("1.0.0", False, None)
    assert (system_row.updated_at, system_row.completed_at, system_row.revision) == (None, None, 1)


def test_read__each_way__gives_the_same_rows_as_the_model() -> None:
    go_live()

    go_live_row, system_row = singletons.read_both()

    assert singletons.read_go_live() == go_live_row
    assert singletons.read_system() == system_row
    for row, model in ((go_live_row, GoLiveState.objects.get()), (system_row, SystemMetadata.objects.get())):
        for name in row.__dataclass_fields__:
            assert getattr(row, name) == getattr(model, name), name


def test_read__times__are_in_utc() -> None:
    go_live()

    go_live_row, system_row = singletons.read_both()

    for moment in (go_live_row.updated_at, system_row.updated_at, system_row.completed_at):
        assert moment is not None
        assert moment.utcoffset() == UTC.utcoffset(None)


@pytest.mark.parametrize("name", READS)
def test_read__each_way__is_one_statement(name: str) -> None:
    with watched_statements() as statements:
        READS[name][0]()

    assert len(statements) == 1


def test_read__changed_by_sql__is_seen_at_once() -> None:
    go_live()
    run_sql("UPDATE go_live_state SET kill_switch_engaged = true")

    assert decide(singletons.read_go_live()).allowed is False


# -- what is missing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("table", [GO_LIVE_STATE, SYSTEM_METADATA])
def test_read__no_row__is_unknown_and_none_is_made(name: str, table: str) -> None:
    read, tables = READS[name]
    run_sql(f"DELETE FROM {table}")

    if table in tables:
        assert table in check_unknown_in_time(read).detail
    else:
        read()

    assert run_sql(f"SELECT count(*) FROM {table}") == [(0,)]


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("table", [GO_LIVE_STATE, SYSTEM_METADATA])
def test_read__no_table__is_unknown_and_the_connection_goes_on(name: str, table: str) -> None:
    read, tables = READS[name]

    with renamed_table(table):
        if table in tables:
            check_unknown_in_time(read)
        else:
            read()

    read()


# -- what cannot be read -----------------------------------------------------------------------------------------------


@contextmanager
def handmade_table(table: str, column: str, value: Any) -> Iterator[None]:
    """A table that another tool made: no types, no checks, and in one column this value."""
    names = [field.column for field in (GoLiveState if table == GO_LIVE_STATE else SystemMetadata)._meta.fields]
    stored = [column_type(table, str(name)) for name in names]
    with renamed_table(table):
        run_sql(f"CREATE TABLE {table} ({', '.join(stored)})")
        copied = ", ".join(map(str, names))
        run_sql(f"INSERT INTO {table} ({copied}) SELECT {copied} FROM {table}_elsewhere")
        run_sql(f"UPDATE {table} SET {column} = %s", [value])
        try:
            yield
        finally:
            run_sql(f"DROP TABLE {table}")


def column_type(table: str, name: str) -> str:
    """As the migration declares it, so that the driver converts as it would, but without any constraint."""
    types = dict(run_sql(f"SELECT name, type FROM pragma_table_info('{table}')"))
    return f"{name} {types[name]}"


@pytest.mark.sqlite_only
@pytest.mark.parametrize("value", [2, -1, "abc", "", None, 0.5, b"\x01", "true", "1x"], ids=repr)
@pytest.mark.parametrize(
    ("table", "column"),
    [
        (GO_LIVE_STATE, "go_live_enabled"),
        (GO_LIVE_STATE, "kill_switch_engaged"),
        (SYSTEM_METADATA, "backend_complete"),
    ],
)
def test_read__a_boolean_that_is_neither__is_unknown(table: str, column: str, value: Any) -> None:
    go_live()

    with handmade_table(table, column, value):
        read = singletons.read_go_live if table == GO_LIVE_STATE else singletons.read_system
        assert column in check_unknown_in_time(read).detail
        check_unknown_in_time(singletons.read_both)


@pytest.mark.sqlite_only
@pytest.mark.parametrize(("value", "expected"), [(1, True), (0, False), (True, True), (False, False)])
def test_read__zero_and_one__are_false_and_true(value: Any, expected: bool) -> None:
    with handmade_table(GO_LIVE_STATE, "kill_switch_engaged", value):
        assert singletons.read_go_live().kill_switch_engaged is expected


@pytest.mark.sqlite_only
@pytest.mark.parametrize("value", ["2026-13-45 00:00:00", "never", 5, b"\xff\xfe"], ids=repr)
@pytest.mark.parametrize(
    ("table", "column"),
    [(GO_LIVE_STATE, "updated_at"), (SYSTEM_METADATA, "updated_at"), (SYSTEM_METADATA, "completed_at")],
)
def test_read__a_time_that_is_none__is_unknown_or_no_time(table: str, column: str, value: Any) -> None:
    read = singletons.read_go_live if table == GO_LIVE_STATE else singletons.read_system

    with handmade_table(table, column, value):
        try:
            row = read()
        except StateUnknownError:
            return

        assert getattr(row, column) is None


@pytest.mark.sqlite_only
@pytest.mark.parametrize("value", ["abc", None, b"\x01", 1.5], ids=repr)
@pytest.mark.parametrize(
    ("table", "column"), [(GO_LIVE_STATE, "revision"), (GO_LIVE_STATE, "lease_ms"), (SYSTEM_METADATA, "revision")]
)
def test_read__a_number_that_is_none__is_unknown(table: str, column: str, value: Any) -> None:
    read = singletons.read_go_live if table == GO_LIVE_STATE else singletons.read_system

    with handmade_table(table, column, value):
        check_unknown_in_time(read)


@pytest.mark.postgresql
def test_read__a_time_that_python_cannot_hold__is_unknown() -> None:
    run_sql("UPDATE go_live_state SET updated_at = 'infinity'")

    check_unknown_in_time(singletons.read_go_live)

    run_sql("UPDATE go_live_state SET updated_at = NULL")
    singletons.read_go_live()


# -- a standby ---------------------------------------------------------------------------------------------------------


@pytest.mark.postgresql
@pytest.mark.parametrize("name", READS)
def test_read__the_database_is_a_standby__is_unknown(name: str) -> None:
    # A function of this name found before the server's own: it answers as a standby's would.
    run_sql("CREATE SCHEMA standby")
    run_sql("CREATE FUNCTION standby.pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT true'")
    run_sql("SET search_path = standby, pg_catalog, public")
    try:
        assert "standby" in check_unknown_in_time(READS[name][0]).detail
    finally:
        run_sql("RESET search_path")
        run_sql("DROP SCHEMA standby CASCADE")

    READS[name][0]()


# -- a database that is away -------------------------------------------------------------------------------------------


@pytest.mark.postgresql
@pytest.mark.parametrize("name", READS)
def test_read__the_server_is_down__is_unknown_and_recovers_by_itself(name: str) -> None:
    with rerouted(HOST="127.0.0.1", PORT=1):
        check_unknown_in_time(READS[name][0])

    READS[name][0]()


@pytest.mark.postgresql
@pytest.mark.parametrize("is_connected", [True, False])
def test_read__the_server_is_frozen__is_unknown_in_time_and_recovers_by_itself(is_connected: bool) -> None:
    with proxied() as proxy:
        if is_connected:
            singletons.read_both()
        proxy.freeze()

        check_unknown_in_time(singletons.read_both)
        check_unknown_in_time(singletons.read_go_live)

        proxy.thaw()
        wait_until(can_read)


def can_read() -> bool:
    with suppress(StateUnknownError):
        return singletons.read_go_live().kill_switch_engaged
    return False


@pytest.mark.postgresql
def test_read__the_server_is_frozen_and_has_two_hosts__is_unknown_in_two_seconds_for_each() -> None:
    # psycopg goes no lower than 2 s for a connection, and gives them to each host that the URL names.
    with proxied() as proxy:
        port = f"{proxy.port},{proxy.port}"
        with rerouted(HOST="127.0.0.1,127.0.0.1", PORT=port):
            proxy.freeze()
            try:
                check_unknown_in_time(singletons.read_go_live, limit_seconds=2 * 2 + 1)
            finally:
                proxy.thaw()


@pytest.mark.postgresql
def test_read__the_connection_was_lost__the_next_read_works() -> None:
    singletons.read_go_live()
    terminate_own_connection()

    check_unknown_in_time(singletons.read_go_live)

    assert singletons.read_go_live().kill_switch_engaged is True


def terminate_own_connection() -> None:
    """End this thread's connection from another one, as an administrator or a failover does."""
    ((pid,),) = run_sql("SELECT pg_backend_pid()")

    def terminate() -> None:
        run_sql(f"SELECT pg_terminate_backend({pid})")
        wait_until(lambda: run_sql(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}") == [(0,)])
        connection.close()

    thread = threading.Thread(target=terminate)
    thread.start()
    thread.join()


@pytest.mark.postgresql
def test_read__many_at_once_on_a_frozen_server__all_are_unknown_in_time() -> None:
    outcomes: list[str] = []

    def read() -> None:
        try:
            singletons.read_go_live()
            outcomes.append("an answer")
        except StateUnknownError:
            outcomes.append("unknown")
        finally:
            connection.close()

    with proxied() as proxy:
        proxy.freeze()
        threads = [threading.Thread(target=read) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SLACK * LIMIT_SECONDS)

        # While it was still frozen.
        assert outcomes == ["unknown"] * 20


@pytest.mark.postgresql
def test_read__a_lock_on_the_table__is_unknown_in_time() -> None:
    # As during an ALTER TABLE by hand.
    is_locked, is_over = threading.Event(), threading.Event()

    def lock() -> None:
        with transaction.atomic():
            run_sql("LOCK TABLE go_live_state IN ACCESS EXCLUSIVE MODE")
            is_locked.set()
            is_over.wait(60)
        connection.close()

    thread = threading.Thread(target=lock)
    thread.start()
    assert is_locked.wait(60)
    try:
        check_unknown_in_time(singletons.read_go_live)
    finally:
        is_over.set()
        thread.join()

    singletons.read_go_live()


@pytest.mark.sqlite_only
def test_read__while_somebody_writes__does_not_wait() -> None:
    is_writing, is_over = threading.Event(), threading.Event()

    def write() -> None:
        with transaction.atomic():
            run_sql("UPDATE go_live_state SET lease_ms = 100")
            is_writing.set()
            is_over.wait(60)
        connection.close()

    thread = threading.Thread(target=write)
    thread.start()
    assert is_writing.wait(60)
    try:
        # While the other one is still writing.
        assert singletons.read_go_live().lease_ms == 250
        assert thread.is_alive()
    finally:
        is_over.set()
        thread.join()

    assert singletons.read_go_live().lease_ms == 100


def test_read__no_time_left__is_unknown_at_once_or_answers() -> None:
    with ends_within(LIMIT_SECONDS), database_deadline(0):
        try:
            singletons.read_go_live()
        except StateUnknownError:
            assert is_postgresql()

    singletons.read_go_live()


# -- one moment --------------------------------------------------------------------------------------------------------


def write_elsewhere(statement: str) -> None:
    """Run SQL on another connection, and wait for it."""

    def write() -> None:
        run_sql(statement)
        connection.close()

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()


def test_consistent_read__somebody_writes_meanwhile__sees_one_moment() -> None:
    with singletons.consistent_read():
        before = singletons.read_both()
        write_elsewhere("UPDATE go_live_state SET lease_ms = 100")

        assert singletons.read_both() == before

    assert singletons.read_go_live().lease_ms == 100


def test_consistent_read__inside_another__is_part_of_it() -> None:
    with singletons.consistent_read():
        before = singletons.read_go_live()
        with singletons.consistent_read():
            assert singletons.read_go_live() == before
        write_elsewhere("UPDATE go_live_state SET lease_ms = 100")
        with singletons.consistent_read():
            assert singletons.read_go_live() == before


def test_consistent_read__a_write_inside__fails_and_nothing_stands() -> None:
    with pytest.raises(Error), singletons.consistent_read():
        run_sql("UPDATE go_live_state SET lease_ms = 100")

    assert singletons.read_go_live().lease_ms == 250
    run_sql("UPDATE go_live_state SET lease_ms = 100")
    assert singletons.read_go_live().lease_ms == 100


def test_consistent_read__an_exception_inside__leaves_a_connection_that_works() -> None:
    with pytest.raises(ZeroDivisionError), singletons.consistent_read():
        raise ZeroDivisionError

    with singletons.consistent_read():
        singletons.read_both()


def test_consistent_read__inside_a_transaction__is_part_of_it() -> None:
    with transaction.atomic():
        run_sql("UPDATE go_live_state SET lease_ms = 100")
        with singletons.consistent_read():
            assert singletons.read_go_live().lease_ms == 100
