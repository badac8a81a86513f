"""Execution for code that is not a request: asking, requiring, and holding a permit that no stop has to wait for."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from django.db import OperationalError, connection, connections, transaction

import golive
from golive import ExecutionDenied
from golive.database import file_locks
from golive.domain.decision import decide
from golive.state import permits, singletons
from golive.state.permits import Permit
from tests.support.changes import apply, go_live
from tests.support.faults import database_url, is_postgresql, renamed_table, rerouted, run_sql
from tests.support.forks import ask_fork
from tests.support.patience import wait_until
from tests.support.roles import login
from tests.support.server import ROOT

pytestmark = pytest.mark.usefixtures("database")

SETTLED_SECONDS = 0.3


@contextmanager
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    """One other thread with connections of its own, which are closed in the end."""
    with ThreadPoolExecutor(1) as pool:
        try:
            yield pool
        finally:
            pool.submit(connections.close_all).result()


@contextmanager
def deferred_transactions() -> Iterator[None]:
    """SQLite's transactions of this thread are as Django makes them where nobody asks for IMMEDIATE."""
    connection.ensure_connection()
    wrapper = cast(Any, connections[connection.alias])
    mode, wrapper.transaction_mode = wrapper.transaction_mode, None
    try:
        yield
    finally:
        wrapper.transaction_mode = mode


def is_waiting(work: Future[Any]) -> bool:
    time.sleep(SETTLED_SECONDS)
    return not work.done()


# -- asking ------------------------------------------------------------------------------------------------------------


def test_execution__allowed__may_go_on() -> None:
    go_live()

    assert golive.is_execution_allowed()
    golive.require_execution()
    with golive.execution_permit():
        pass


@pytest.mark.parametrize(("change", "code"), [("engage", "KILL_SWITCH_ENGAGED"), ("disable", "GO_LIVE_DISABLED")])
def test_execution__stopped__is_denied_with_the_code(change: str, code: str) -> None:
    go_live()
    apply(change)

    assert not golive.is_execution_allowed()
    with pytest.raises(ExecutionDenied) as required:
        golive.require_execution()
    with pytest.raises(ExecutionDenied) as held, golive.execution_permit():
        pytest.fail("the block was begun")
    assert (required.value.code, held.value.code) == (code, code)


@pytest.mark.parametrize("is_table_there", [True, False])
def test_execution__state_unknown__is_denied_and_the_connection_goes_on(is_table_there: bool) -> None:
    go_live()
    if is_table_there:
        run_sql("DELETE FROM go_live_state")

    with renamed_table("system_metadata" if is_table_there else "go_live_state"):
        assert not golive.is_execution_allowed()
        with pytest.raises(ExecutionDenied) as required:
            golive.require_execution()
        with pytest.raises(ExecutionDenied) as held, golive.execution_permit():
            pytest.fail("the block was begun")

    assert (required.value.code, held.value.code) == ("STATE_UNKNOWN", "STATE_UNKNOWN")
    assert run_sql("SELECT 1") == [(1,)]


def test_package__without_django__can_be_imported_and_names_its_functions() -> None:
    program = (
        "import sys; sys.modules['django'] = None; import golive; golive.ExecutionDenied; print(sorted(golive.__all__))"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert "execution_permit" in done.stdout
    with pytest.raises(AttributeError):
        _ = golive.nothing


# -- holding -----------------------------------------------------------------------------------------------------------


def test_permit__own_transaction__is_undone_with_the_block() -> None:
    go_live()

    def fail() -> None:
        with golive.execution_permit():
            run_sql("DELETE FROM system_metadata")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert run_sql("SELECT count(*) FROM system_metadata") == [(1,)]


@pytest.mark.parametrize("is_in_transaction", [False, pytest.param(True, marks=pytest.mark.postgresql)])
def test_permit__held__a_stop_takes_effect_at_once_and_waits_for_its_end(is_in_transaction: bool) -> None:
    go_live()

    with elsewhere() as other:
        with ExitStack() as held:
            if is_in_transaction:
                held.enter_context(transaction.atomic())
                with golive.execution_permit():
                    pass  # the block is over, what it did is not committed
            else:
                held.enter_context(golive.execution_permit())
            stop = other.submit(apply, "engage")
            wait_until(lambda: ask_elsewhere() == "KILL_SWITCH_ENGAGED")
            assert not stop.done()
        done = stop.result(10)

    assert (done.changed, done.permits_outstanding) == (True, 0)
    with pytest.raises(ExecutionDenied), golive.execution_permit():
        pytest.fail("the block was begun")


def ask_elsewhere() -> str:
    """What somebody else is told now."""
    with elsewhere() as other:
        return str(decide(other.submit(singletons.read_go_live).result(10)).code)


@pytest.mark.parametrize("name", ["engage", "disable", "reopen"])
def test_permit__held_for_longer_than_a_stop_waits__is_counted_and_named(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    go_live()
    monkeypatch.setattr(permits, "WAIT_SECONDS", 0.2)

    with elsewhere() as other, golive.execution_permit():
        done = other.submit(apply, name).result(10)

    assert (done.changed, done.permits_outstanding) == (True, 1)
    assert not golive.is_execution_allowed()
    (told,) = [record.getMessage() for record in caplog.records if record.name == "golive.state.permits"]
    assert "leaves 1 permits that are still held: " in told
    assert ("role " in told and "since 20" in told) if is_postgresql() else "the thread " in told


def test_permit__held__a_change_that_stops_nothing_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    go_live()

    def fail(**_: object) -> int:
        pytest.fail("it waited for permits")

    monkeypatch.setattr(permits, "await_end", fail)
    with elsewhere() as other, golive.execution_permit():
        for change in (partial(apply, "edit", version="9"), partial(apply, "release"), partial(apply, "complete")):
            assert other.submit(change).result(10).permits_outstanding is None


def test_permit__given_after_the_stop_looked__is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop waits for those that it has seen, so that a stream of others cannot hold it up."""
    looks: list[list[Permit]] = [[Permit("1", "one")], [Permit("2", "two")]]
    monkeypatch.setattr(permits, "find_held", lambda **_: looks.pop(0))

    assert permits.await_end(ends_at=time.monotonic() + 60, using="default") == 0
    assert looks == []


def test_permits__that_cannot_be_counted__are_said_to_be_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> list[Permit]:
        raise OperationalError("away")

    go_live()
    monkeypatch.setattr(permits, "find_held", fail)
    monkeypatch.setattr(permits, "WAIT_SECONDS", 0.1)

    done = apply("engage")

    assert (done.changed, done.permits_outstanding) == (True, None)


@pytest.mark.parametrize("count", [1, 3])
def test_permit__held_by_a_process_that_is_killed__is_given_back(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    go_live()
    children = [hold_in_a_process() for _ in range(count)]
    held_before = len(permits.find_held())
    for child in children:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()

    done = apply("engage")

    # SQLite cannot tell how many other processes there are.
    assert held_before == (count if is_postgresql() else 1)
    assert done.permits_outstanding == 0


def hold_in_a_process() -> subprocess.Popen[str]:
    program = (
        "import django, time; django.setup(); import golive\n"
        "with golive.execution_permit(): print('held', flush=True); time.sleep(600)"
    )
    environment = {**os.environ, "DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "valhalla.settings"}
    child = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


@pytest.mark.sqlite_only
def test_permit__in_a_block_of_its_own__leaves_the_lock_of_the_database_to_others() -> None:
    go_live()

    with elsewhere() as other, golive.execution_permit():
        assert other.submit(apply, "edit", version="9.0").result(10).changed


@pytest.mark.sqlite_only
def test_permit__in_a_block_of_its_own__may_write_too() -> None:
    go_live()

    with golive.execution_permit():
        run_sql("UPDATE system_metadata SET notes = 'done under a permit'")

    assert run_sql("SELECT notes FROM system_metadata") == [("done under a permit",)]


@pytest.mark.sqlite_only
@pytest.mark.parametrize("path", [None, "a-file"])
def test_file_lock__shared_by_threads__is_there_until_the_last_gives_it_back(path: str | None, tmp_path: Path) -> None:
    full = None if path is None else str(tmp_path / path)

    with file_locks.share(full):
        with file_locks.share(full):
            both = len(file_locks.find_holders(full))
        one = len(file_locks.find_holders(full))

    assert (both, one, file_locks.find_holders(full)) == (2, 1, [])


@pytest.mark.sqlite_only
def test_file_lock__held_here_and_by_another_process__shows_both(tmp_path: Path) -> None:
    path = str(tmp_path / "a-file")

    with file_locks.share(path):
        names = ask_fork(lambda: hold_in_fork(path))
        own = [words for _, words in file_locks.find_holders(path)]

    # The fork sees its parent, and itself; what it held went with it.
    assert names.count(";") == 1
    assert file_locks.OTHERS in names
    assert len(own) == 1


def hold_in_fork(path: str) -> str:
    with file_locks.share(path):
        return ";".join(words for _, words in file_locks.find_holders(path))


@pytest.mark.sqlite_only
def test_permit__in_a_deferred_transaction__holds_off_the_commit_of_a_stop() -> None:
    """One writer at a time: this is inherent."""
    go_live()

    with elsewhere() as other:
        with deferred_transactions(), transaction.atomic(), golive.execution_permit():
            stop = other.submit(apply, "engage")
            assert is_waiting(stop)
        assert stop.result().changed


@pytest.mark.sqlite_only
def test_permit__in_a_deferred_transaction_that_saw_an_older_state__is_denied() -> None:
    go_live()

    with elsewhere() as other, deferred_transactions(), transaction.atomic():
        run_sql("SELECT revision FROM go_live_state")
        other.submit(apply, "engage").result()
        with pytest.raises(ExecutionDenied), golive.execution_permit():
            pytest.fail("the block was begun")


def test_permit__held__others_hold_theirs_beside_it() -> None:
    go_live()

    def hold() -> str:
        with golive.execution_permit():
            return "held"

    with elsewhere() as other, golive.execution_permit():
        assert other.submit(hold).result(10) == "held"


def test_permits__one_after_another_without_a_gap__none_outlives_the_acknowledgement() -> None:
    """A stream of permits, always some at once: with none outstanding, none is held that was given before."""
    go_live()
    acknowledged = threading.Event()
    overtaken: list[str] = []

    def stream() -> None:
        try:
            while True:
                with golive.execution_permit():
                    time.sleep(0.02)
                    if acknowledged.is_set():
                        overtaken.append(threading.current_thread().name)
        except ExecutionDenied:
            pass
        finally:
            connections.close_all()

    threads = [threading.Thread(target=stream) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    done = apply("engage")
    if done.permits_outstanding == 0:
        acknowledged.set()
    for thread in threads:
        thread.join()

    assert done.changed
    assert overtaken == []
    assert permits.find_held() == []


@pytest.mark.postgresql
@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ"])
def test_permit__denied_inside_a_transaction_that_goes_on__is_not_held(level: str) -> None:
    """Else every stop would wait for somebody who may not execute anything."""
    with transaction.atomic():
        run_sql(f"SET TRANSACTION ISOLATION LEVEL {level}")
        with pytest.raises(ExecutionDenied), golive.execution_permit():
            pytest.fail("the block was begun")
        held = permits.find_held()

    assert held == []


@pytest.mark.postgresql
@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_permit__inside_a_transaction_that_began_before_the_stop__is_denied(level: str) -> None:
    """It shows the row as it was, so another connection is asked."""
    go_live()

    with elsewhere() as other, transaction.atomic():
        run_sql(f"SET TRANSACTION ISOLATION LEVEL {level}")
        assert run_sql("SELECT kill_switch_engaged FROM go_live_state") == [(False,)]
        other.submit(apply, "engage").result(10)

        with pytest.raises(ExecutionDenied) as denied, golive.execution_permit():
            pytest.fail("the block was begun")

    assert denied.value.code == "KILL_SWITCH_ENGAGED"


@pytest.mark.postgresql
@pytest.mark.leased
def test_permit__inside_a_repeatable_transaction__relies_on_no_lease() -> None:
    go_live()
    assert golive.is_execution_allowed()  # from now on there is a snapshot that may answer
    run_sql("UPDATE go_live_state SET kill_switch_engaged = true, lease_ms = 5000")

    with transaction.atomic():
        run_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        with pytest.raises(ExecutionDenied), golive.execution_permit():
            pytest.fail("the block was begun")


@pytest.mark.postgresql
@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_permit__inside_a_transaction__is_held_to_its_end_and_leaves_its_settings(level: str) -> None:
    go_live()

    with transaction.atomic():
        run_sql(f"SET TRANSACTION ISOLATION LEVEL {level}")
        run_sql("SET LOCAL lock_timeout = '7s'")
        with golive.execution_permit():
            assert run_sql("SHOW lock_timeout") == [("7s",)]
        with elsewhere() as other:
            assert len(other.submit(permits.find_held).result(10)) == 1
    assert permits.find_held() == []


@pytest.mark.postgresql
@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_permit__where_transactions_are_repeatable_by_default__sees_the_row_as_it_is(level: str) -> None:
    go_live()
    run_sql(f"SET default_transaction_isolation = '{level}'")
    try:
        with golive.execution_permit():
            inside = run_sql("SHOW transaction_isolation")
    finally:
        run_sql("RESET default_transaction_isolation")

    assert inside == [("read committed",)]


@pytest.mark.postgresql
def test_permit__denied__what_the_caller_has_done_so_far_stands() -> None:
    go_live()
    apply("engage")

    with transaction.atomic():
        run_sql("UPDATE system_metadata SET notes = 'kept'")
        with pytest.raises(ExecutionDenied), golive.execution_permit():
            pytest.fail("the block was begun")

    assert run_sql("SELECT notes FROM system_metadata") == [("kept",)]


@pytest.mark.postgresql
def test_permit__by_a_role_that_may_only_read__is_given_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    go_live()
    monkeypatch.setattr(permits, "WAIT_SECONDS", 0.2)

    with (
        login("GRANT SELECT ON go_live_state TO {role}") as reader,
        psycopg.connect(reader.url) as job,
        elsewhere() as other,
    ):
        with rerouted(USER=reader.role, PASSWORD=reader.password), golive.execution_permit():
            pass
        # As a job of that role would hold it.
        job.execute("SELECT pg_advisory_xact_lock_shared(%s, %s)", permits.LOCK_KEY)
        done = other.submit(apply, "engage").result(10)

    assert done.permits_outstanding == 1


@pytest.mark.postgresql
@pytest.mark.parametrize("function", ["pg_advisory_lock", "pg_advisory_lock_shared"])
def test_permit_lock__held_by_a_login_that_may_only_connect__holds_up_no_stop(function: str) -> None:
    go_live()

    with login() as stranger, psycopg.connect(stranger.url, autocommit=True) as other:
        other.execute(f"SELECT {function}(%s, %s)".encode(), permits.LOCK_KEY)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(time, "sleep", lambda _: pytest.fail("it waited"))
            done = apply("engage")

    assert (done.changed, done.permits_outstanding) == (True, 0)


@pytest.mark.postgresql
def test_permit_lock__held_by_somebody_alone__permits_are_denied_at_once() -> None:
    go_live()

    with login() as stranger, psycopg.connect(stranger.url, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s, %s)", permits.LOCK_KEY)
        with pytest.raises(ExecutionDenied) as denied, golive.execution_permit():
            pytest.fail("the block was begun")

    assert denied.value.code == "STATE_UNKNOWN"


def test_permit__ended__leaves_no_transaction() -> None:
    go_live()

    with golive.execution_permit():
        inside = connection.in_atomic_block

    assert (inside, connection.in_atomic_block) == (True, False)
    assert is_postgresql() or not connection.connection.in_transaction
