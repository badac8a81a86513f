"""Execution for code that is not a request: asking, requiring, and holding a permit that a stop has to wait for."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, cast

import pytest
from django.db import connection, connections, transaction

import golive
from golive import ExecutionDenied
from golive.domain.errors import NotAppliedError
from tests.controls_kit import apply, go_live
from tests.faults import is_postgresql, renamed_table, run_sql
from tests.patience import SLACK, ends_within
from tests.server import ROOT

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


@pytest.mark.parametrize("is_in_transaction", [False, True])
def test_permit__held__a_stop_waits_for_it(is_in_transaction: bool) -> None:
    go_live()

    with elsewhere() as other:
        if is_in_transaction:
            with transaction.atomic():
                with golive.execution_permit():
                    stop = other.submit(apply, "engage")
                # The block is over, what it did is not committed.
                assert is_waiting(stop)
        else:
            with golive.execution_permit():
                stop = other.submit(apply, "engage")
                assert is_waiting(stop)
        assert stop.result(5).changed

    with pytest.raises(ExecutionDenied), golive.execution_permit():
        pytest.fail("the block was begun")


@pytest.mark.sqlite_only
def test_permit__in_a_project_whose_transactions_are_deferred__a_stop_waits_for_it() -> None:
    go_live()

    with elsewhere() as other:
        with deferred_transactions(), golive.execution_permit():
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


@pytest.mark.postgresql
def test_permit__held__others_hold_theirs_beside_it() -> None:
    go_live()

    def hold() -> str:
        with golive.execution_permit():
            return "held"

    with elsewhere() as other, golive.execution_permit():
        assert other.submit(hold).result(2) == "held"


@pytest.mark.postgresql
def test_permits__one_after_another_without_a_gap__do_not_hold_off_a_stop() -> None:
    """A stream of permits, always some at once: the stop gets its turn all the same, and none begins after it."""
    go_live()
    stopped_at: list[float] = []
    ends_at = time.monotonic() + 8
    began: list[float] = []

    def stream() -> None:
        try:
            while time.monotonic() < ends_at:
                with golive.execution_permit():
                    began.append(time.monotonic())
                    time.sleep(0.2)
        except ExecutionDenied:
            pass
        finally:
            connections.close_all()

    threads = [threading.Thread(target=stream) for _ in range(4)]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    asked_at = time.monotonic()
    apply("engage")
    stopped_at.append(time.monotonic())
    for thread in threads:
        thread.join()

    assert stopped_at[0] - asked_at < SLACK * 1
    assert max(began) < stopped_at[0]


@pytest.mark.postgresql
def test_permit__held_too_long__a_stop_is_not_applied_in_time() -> None:
    go_live()

    with elsewhere() as other, golive.execution_permit(), ends_within(5), pytest.raises(NotAppliedError):
        other.submit(apply, "engage").result(60)


@pytest.mark.postgresql
def test_permit__a_stop_waits_before_it__is_denied_in_time_and_the_transaction_goes_on() -> None:
    """Behind a stop that waits for somebody else: nothing begins, and what the caller has done so far stands."""
    go_live()

    with elsewhere() as holder, elsewhere() as stopper:
        release = threading.Event()

        def hold() -> None:
            with golive.execution_permit():
                release.wait(60)

        held = holder.submit(hold)
        time.sleep(SETTLED_SECONDS)
        stop = stopper.submit(apply, "engage")
        time.sleep(SETTLED_SECONDS)
        with transaction.atomic():
            run_sql("UPDATE system_metadata SET notes = 'kept'")
            with ends_within(3), pytest.raises(ExecutionDenied), golive.execution_permit():
                pytest.fail("the block was begun")
        release.set()
        held.result(5)
        assert stop.result(5).changed

    assert run_sql("SELECT notes FROM system_metadata") == [("kept",)]


@pytest.mark.postgresql
def test_permit__inside_a_transaction_that_began_before_the_stop__is_denied() -> None:
    """REPEATABLE READ shows the row as it was; the lock does not."""
    go_live()

    with elsewhere() as other, transaction.atomic():
        run_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        assert run_sql("SELECT kill_switch_engaged FROM go_live_state") == [(False,)]
        other.submit(apply, "engage").result(5)

        with pytest.raises(ExecutionDenied), golive.execution_permit():
            pytest.fail("the block was begun")


@pytest.mark.postgresql
def test_permit__in_a_transaction__leaves_its_settings_as_they_were() -> None:
    go_live()

    with transaction.atomic():
        run_sql("SET LOCAL lock_timeout = '7s'")
        with golive.execution_permit():
            assert run_sql("SHOW lock_timeout") == [("7s",)]


def test_permit__ended__leaves_no_transaction() -> None:
    go_live()

    with golive.execution_permit():
        inside = connection.in_atomic_block

    assert (inside, connection.in_atomic_block) == (True, False)
    assert is_postgresql() or not connection.connection.in_transaction
