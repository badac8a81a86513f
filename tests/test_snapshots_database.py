"""The leased snapshot on a real database: rows, cut connections, standby, a frozen server, forks, threads."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import pytest
from django.db import connections, transaction

from golive import snapshots
from golive.deadline import READ_SECONDS
from golive.domain.rows import GoLiveRow, SystemRow
from golive.snapshots import Snapshot
from tests.faults import proxied, renamed_table, run_sql, wait_until

pytestmark = pytest.mark.leased


@pytest.fixture
def fresh(database: None) -> None:
    """The store of the process, on the tests' database, without a lease: what follows is about connections."""
    run_sql("UPDATE go_live_state SET lease_ms = 0")


@pytest.mark.usefixtures("fresh")
def test_snapshot__in_a_transaction_that_failed__is_read_all_the_same() -> None:
    with transaction.atomic():
        with pytest.raises(Exception, match="nowhere"):
            run_sql("SELECT * FROM nowhere")

        found = snapshots.read_snapshot()

        transaction.set_rollback(True)
    assert found.decision.code == "KILL_SWITCH_ENGAGED"


@pytest.mark.parametrize("table", ["system_metadata", "go_live_state"])
@pytest.mark.parametrize("breakage", ["no row", "no table"])
@pytest.mark.usefixtures("fresh")
def test_snapshot__one_row_missing__leaves_the_other_known(table: str, breakage: str) -> None:
    if breakage == "no row":
        run_sql(f"DELETE FROM {table}")
        found = snapshots.read_snapshot()
    else:
        with renamed_table(table):
            found = snapshots.read_snapshot()

    is_known = (isinstance(found.go_live, GoLiveRow), isinstance(found.system, SystemRow))
    assert is_known == (table != "go_live_state", table != "system_metadata")
    assert (found.problem is None, found.system_problem is None) == is_known


@pytest.mark.postgresql
@pytest.mark.usefixtures("fresh")
def test_snapshot__connection_cut_while_idle__is_read_at_once() -> None:
    snapshots.read_snapshot()
    run_sql(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )

    assert snapshots.read_snapshot().problem is None


@pytest.mark.postgresql
@pytest.mark.usefixtures("fresh")
def test_snapshot__of_a_standby__is_unknown() -> None:
    run_sql("CREATE SCHEMA standby")
    run_sql("CREATE FUNCTION standby.pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT true'")
    (name,) = run_sql("SELECT current_database()")[0]
    run_sql(f"ALTER DATABASE {name} SET search_path = standby, pg_catalog, public")
    snapshots.stop_all()
    try:
        found = snapshots.read_snapshot()
    finally:
        run_sql(f"ALTER DATABASE {name} RESET search_path")
        run_sql("DROP SCHEMA standby CASCADE")
        snapshots.stop_all()

    assert found.decision.code == "STATE_UNKNOWN"
    assert "standby" in (found.problem or "")
    assert snapshots.read_snapshot().problem is None


@pytest.mark.postgresql
@pytest.mark.usefixtures("fresh")
def test_snapshot__frozen_server__is_unknown_in_time_and_recovers_by_itself() -> None:
    with proxied() as proxy:
        snapshots.stop_all()
        snapshots.read_snapshot()
        proxy.freeze()
        began = time.monotonic()
        assert snapshots.read_snapshot().decision.code == "STATE_UNKNOWN"
        assert time.monotonic() - began < 1
        time.sleep(READ_SECONDS)
        assert snapshots.read_snapshot().decision.code == "STATE_UNKNOWN"
        proxy.thaw()
        wait_until(lambda: snapshots.read_snapshot().problem is None, seconds=1)
        snapshots.stop_all()


@pytest.mark.usefixtures("fresh")
def test_snapshot__in_a_fork__is_read_by_the_fork_itself() -> None:
    """It has none of the threads, and must not use the connection of the parent."""
    assert snapshots.read_snapshot().problem is None
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(source)
        found = snapshots.read_snapshot()
        os.write(sink, (found.problem or "known").encode())
        os._exit(0)
    os.close(sink)
    with os.fdopen(source) as report:
        assert report.read() == "known"
    os.waitpid(child, 0)
    assert snapshots.read_snapshot().problem is None


@pytest.mark.usefixtures("fresh")
def test_stop_all__ends_the_threads() -> None:
    def count() -> int:
        return sum(thread.name.startswith("golive-snapshot") for thread in threading.enumerate())

    snapshots.read_snapshot()
    assert count() == 1

    snapshots.stop_all()

    assert count() == 0
    connections.close_all()


def test_once__makes_it_once_for_each_snapshot_and_argument() -> None:
    made: list[bool] = []

    def make(snapshot: Snapshot, with_details: bool) -> list[bool]:
        made.append(with_details)
        return made

    shown: Callable[[bool], object] = lambda details: found.once(make, details)  # noqa: E731
    found = Snapshot(None, None, 0.0)

    assert shown(True) is shown(True)
    assert shown(False) is made
    assert made == [True, False]
