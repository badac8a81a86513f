"""The leased snapshot: who may be answered from it, for how long, and what happens when the database does not answer.

Mostly with a source and a clock that the test works by hand, since the rule is about moments.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import psycopg
import pytest
from django.db import connections, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from golive.database.deadline import READ_SECONDS, database_deadline
from golive.domain.rows import GoLiveRow, SystemRow
from golive.postgresql import renewal
from golive.postgresql.base import DatabaseWrapper
from golive.state import leases, snapshots
from golive.state.singletons import Reading
from golive.state.snapshots import PATIENCE_SECONDS, Snapshot, SnapshotCache
from tests.support.factories import make_rows
from tests.support.faults import Proxy, proxied, renamed_table, run_sql
from tests.support.forks import ask_fork, held_by_another_thread
from tests.support.patience import ends_within, wait_until
from tests.support.postgres import PostgresServer
from tests.support.profiles import examples

pytestmark = pytest.mark.leased

ROWS = make_rows()
LEASE_SECONDS = 0.25


def read_with(**columns: object) -> Reading:
    assert ROWS.go_live is not None
    return Reading(replace(ROWS.go_live, **{"lease_ms": 250, **columns}), ROWS.system)  # type: ignore[arg-type]


@dataclass
class Source:
    """A database worked by hand: each SELECT shows the revision at the moment it is sent, and is answered when told."""

    revision: int = 1
    lease_ms: int = 250
    sent: list[Future[Reading]] = field(default_factory=list)
    shown: list[int] = field(default_factory=list)

    def __call__(self) -> Reading:
        answer: Future[Reading] = Future()
        self.shown.append(self.revision)
        self.sent.append(answer)
        return answer.result(20)

    def await_select(self, number: int) -> None:
        wait_until(lambda: len(self.sent) >= number, seconds=5)

    def answer(self, number: int) -> None:
        self.await_select(number)
        self.sent[number - 1].set_result(read_with(revision=self.shown[number - 1], lease_ms=self.lease_ms))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(leases, "boottime", made)
    return made


@dataclass
class Bench:
    """A cache on a source worked by hand, and requests on threads of their own."""

    source: Source
    cache: SnapshotCache
    pool: ThreadPoolExecutor

    def ask(self) -> Future[Snapshot]:
        return self.pool.submit(self.cache.read)

    def ask_and_wait(self) -> Future[Snapshot]:
        """A request that has come: it waits, or is answered."""
        before = len(self.cache._condition._waiters)  # type: ignore[attr-defined]
        asked = self.ask()
        wait_until(lambda: asked.done() or len(self.cache._condition._waiters) > before, seconds=5)  # type: ignore[attr-defined]
        return asked


@pytest.fixture
def bench() -> Iterator[Bench]:
    source = Source()
    cache = SnapshotCache(source, name="test")
    with ThreadPoolExecutor(80) as pool:
        yield Bench(source, cache, pool)
        for answer in source.sent:
            if not answer.done():
                answer.set_result(read_with())
        cache.stop()


def revision(snapshot: Snapshot) -> int | None:
    return snapshot.go_live.revision if snapshot.go_live else None


# -- the lease ---------------------------------------------------------------------------------------------------------


def test_read__within_the_lease__asks_nobody(bench: Bench, clock: Clock) -> None:
    first = bench.ask()
    bench.source.answer(1)
    first.result(5)
    clock.now += LEASE_SECONDS / 2 - 0.001

    assert bench.cache.read() is first.result()
    assert len(bench.source.sent) == 1


def test_lease__is_counted_from_before_the_select_was_sent(bench: Bench, clock: Clock) -> None:
    """The answer took 200 ms, so that the snapshot is good for 50 ms more."""
    first = bench.ask()
    bench.source.await_select(1)
    clock.now += 0.2
    bench.source.answer(1)

    assert first.result(5).expires_at == pytest.approx(1000.0 + LEASE_SECONDS)
    clock.now = 1000.0 + LEASE_SECONDS
    bench.source.revision = 2
    again = bench.ask()
    bench.source.answer(2)
    assert revision(again.result(5)) == 2


def test_read__in_the_second_half_of_the_lease__renews_it_and_waits_for_nothing(bench: Bench, clock: Clock) -> None:
    first = bench.ask()
    bench.source.answer(1)
    first.result(5)
    clock.now += LEASE_SECONDS * 0.6

    assert bench.cache.read() is first.result()
    bench.source.revision = 2
    bench.source.answer(2)
    wait_until(lambda: revision(bench.cache.read()) == 2, seconds=5)


def test_lease__zero__reads_for_each_request(bench: Bench, clock: Clock) -> None:
    bench.source.lease_ms = 0
    for number in (1, 2, 3):
        bench.source.revision = number
        asked = bench.ask()
        bench.source.answer(number)
        assert revision(asked.result(5)) == number


@pytest.mark.parametrize(("lease_ms", "seconds"), [(-1, 0), (0, 0), (250, 0.25), (5000, 5), (10**9, 5)])
def test_lease__of_any_row__is_within_its_bounds(lease_ms: int, seconds: float) -> None:
    assert leases.lease_seconds(lease_ms) == seconds


def test_clock__goes_on_while_the_machine_is_suspended() -> None:
    assert abs(leases.boottime() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 1


# -- joining -----------------------------------------------------------------------------------------------------------


def test_refresh__sent_before_the_request_came__is_not_joined(bench: Bench, clock: Clock) -> None:
    """Its SELECT may have seen the state before a stop that was acknowledged before this request was sent."""
    bench.source.lease_ms = 0
    first = bench.ask()
    bench.source.await_select(1)
    bench.source.revision = 2
    second = bench.ask_and_wait()

    bench.source.answer(1)
    bench.source.answer(2)

    assert (revision(first.result(5)), revision(second.result(5))) == (1, 2)


def test_refresh__sent_before_the_request_came__serves_it_within_its_lease(bench: Bench, clock: Clock) -> None:
    first = bench.ask()
    bench.source.await_select(1)
    second = bench.ask_and_wait()

    bench.source.answer(1)

    assert second.result(5) is first.result(5)


def test_snapshot__that_expired_while_the_worker_was_paused__does_not_answer(bench: Bench, clock: Clock) -> None:
    """The waiter is woken in time and runs too late, as after SIGSTOP: validity is asked when it answers."""
    first = bench.ask()
    bench.source.await_select(1)
    second = bench.ask_and_wait()
    clock.now += LEASE_SECONDS
    bench.source.revision = 2

    bench.source.answer(1)
    bench.source.answer(2)

    assert (revision(first.result(5)), revision(second.result(5))) == (1, 2)


def test_refresh__of_64_waiting_requests__is_one(bench: Bench, clock: Clock) -> None:
    bench.source.lease_ms = 0
    first = bench.ask()
    bench.source.await_select(1)
    crowd = [bench.ask() for _ in range(64)]
    wait_until(lambda: len(bench.cache._condition._waiters) == 65, seconds=5)  # type: ignore[attr-defined]
    bench.source.revision = 2

    bench.source.answer(1)
    bench.source.answer(2)

    assert revision(first.result(5)) == 1
    assert {revision(asked.result(5)) for asked in crowd} == {2}
    assert len(bench.source.sent) == 2


@settings(max_examples=examples(150))
@given(
    lease_ms=st.sampled_from([0, 10, 250]),
    steps=st.lists(st.tuples(st.sampled_from(["request", "begin", "end", "change", "pass"]), st.integers(1, 300))),
)
def test_joining__any_interleaving__shows_no_state_that_a_writer_has_waited_out(
    lease_ms: int, steps: list[tuple[str, int]]
) -> None:
    """A model of time in ms: a request is never answered with a state older than one acknowledged before it came."""
    clock = Clock()
    cache = SnapshotCache(read_with)
    cache._demand = lambda: True  # type: ignore[method-assign]
    revision_now, acknowledged = 1, {1: float("-inf")}
    flight: tuple[float, int] | None = None
    waiting: list[tuple[float, int]] = []
    real, leases.boottime = leases.boottime, clock
    try:
        for step, ms in steps:
            if step == "change":
                revision_now += 1
                acknowledged[revision_now] = clock.now + lease_ms / 1000 + leases.MARGIN_SECONDS
            elif step == "pass":
                clock.now += ms / 1000
            elif step == "begin" and flight is None:
                flight = (cache._begin(), revision_now)
            elif step == "end" and flight is not None:
                cache._end(flight[0], read_with(revision=flight[1], lease_ms=lease_ms))
                flight = None
            elif step == "request":
                waiting.append((clock.now, cache._begun + 1))
            for asked in list(waiting):
                came_at, ticket = asked
                found = cache._find_answer(ticket)
                if found is not None:
                    waiting.remove(asked)
                    due = max(number for number, at in acknowledged.items() if at <= came_at)
                    assert (revision(found) or 0) >= due
    finally:
        leases.boottime = real


# -- a database that fails ---------------------------------------------------------------------------------------------


def test_refresh__that_fails__serves_who_waited_and_the_next_asks_again(clock: Clock) -> None:
    readings = [Reading(None, None, "away", "away"), read_with()]
    cache = SnapshotCache(lambda: readings.pop(0))
    try:
        assert cache.read().problem == "away"
        assert cache.read().decision.code != "STATE_UNKNOWN"
    finally:
        cache.stop()


def test_refresh__that_fails__leaves_a_snapshot_within_its_lease(bench: Bench, clock: Clock) -> None:
    first = bench.ask()
    bench.source.answer(1)
    first.result(5)
    clock.now += LEASE_SECONDS * 0.6
    bench.cache.read()
    bench.source.await_select(2)
    bench.source.sent[1].set_result(Reading(None, None, "away", "away"))
    wait_until(lambda: bench.cache._ended == 2, seconds=5)

    assert bench.cache.read() is first.result()
    clock.now += LEASE_SECONDS
    assert bench.ask_and_wait().running()


def test_refresh__that_raises__is_unknown_and_the_thread_goes_on() -> None:
    def fail() -> Reading:
        raise RuntimeError("broken")

    cache = SnapshotCache(fail)
    try:
        assert [cache.read().decision.code for _ in range(3)] == ["STATE_UNKNOWN"] * 3
    finally:
        cache.stop()


def test_decision__that_changes__is_logged_once(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="golive.state.snapshots")
    allowing = {"go_live_enabled": True, "kill_switch_engaged": False, "lease_ms": 0}
    away = Reading(None, None, "away", "away")
    readings = [
        read_with(**allowing, revision=7),
        read_with(**allowing, revision=8),
        away,
        away,
        read_with(go_live_enabled=True, kill_switch_engaged=True, lease_ms=0, revision=9),
        read_with(**allowing, revision=10),
    ]
    cache = SnapshotCache(lambda: readings.pop(0), name="main")
    try:
        while readings:
            cache.read()
    finally:
        cache.stop()

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "the decision from main is now ALLOWED (revision 7)"),
        ("WARNING", "the decision from main is now STATE_UNKNOWN: away"),
        ("INFO", "the decision from main is now KILL_SWITCH_ENGAGED (revision 9)"),
        ("INFO", "the decision from main is now ALLOWED (revision 10)"),
    ]


def test_decision__while_the_database_hangs__is_logged_as_unknown(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    assert bench.cache.read().problem
    assert bench.cache.read().problem

    # What comes after everybody has given up answers nobody, and is not told.
    bench.source.sent[0].set_result(read_with())
    wait_until(lambda: bench.cache._ended == 1, seconds=5)
    assert [record.getMessage() for record in caplog.records] == [
        "the decision from test is now STATE_UNKNOWN: The database does not answer in time."
    ]


def test_decision__of_a_slow_database_that_may_answer_for_longer__is_logged(
    bench: Bench, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="golive.state.snapshots")
    bench.source.lease_ms = 5000
    asked = bench.ask_and_wait()
    bench.source.await_select(1)
    clock.now += PATIENCE_SECONDS + 0.1
    bench.source.answer(1)
    asked.result(5)

    wait_until(lambda: len(caplog.records) > 0, seconds=5)
    assert caplog.records[-1].getMessage() == "the decision from test is now KILL_SWITCH_ENGAGED (revision 1)"


def test_decision__for_a_request_without_time_left__is_not_logged_as_that_of_all(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with database_deadline(0.05):
        assert bench.cache.read().problem

    assert not caplog.records


def test_refresh__that_hangs__is_waited_for_once_and_then_everybody_is_answered_at_once(bench: Bench) -> None:
    """64 requests on 8 threads, as in a worker: nobody waits in turn, and one thread waits for the database."""
    before = threading.active_count()
    began = time.monotonic()

    def ask(_: int) -> tuple[str, float]:
        return bench.cache.read().decision.code, time.monotonic() - began

    with ThreadPoolExecutor(8) as worker:
        answers = list(worker.map(ask, range(64)))
        assert threading.active_count() <= before + 8 + 1

    assert {code for code, _ in answers} == {"STATE_UNKNOWN"}
    # One wait for all; one for each of the eight turns would be at least eight.
    assert max(seconds for _, seconds in answers) < 8 * snapshots.PATIENCE_SECONDS
    assert len(bench.source.sent) == 1


def test_refresh__that_hung__is_tried_again_without_anybody_asking(bench: Bench) -> None:
    assert bench.cache.read().problem
    time.sleep(0.1)  # now its refresh has taken longer than anybody waits, too
    bench.source.sent[0].set_result(Reading(None, None, "away", "away"))

    bench.source.answer(2)

    wait_until(lambda: bench.cache._ended == 2, seconds=5)
    assert revision(bench.cache.read()) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_refresh__whose_thread_dies__is_made_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    def die() -> None:
        raise MemoryError

    cache = SnapshotCache(read_with)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(cache, "_refresh", die)
            assert cache.read().decision.code == "STATE_UNKNOWN"

        assert revision(cache.read()) == ROWS.go_live.revision  # type: ignore[union-attr]
    finally:
        cache.stop()


def test_refresh__for_which_no_thread_can_be_had__is_unknown_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    cache = SnapshotCache(read_with)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            # Long, so that who waited for the refresh after all would be seen.
            patch.setattr(snapshots, "PATIENCE_SECONDS", 60.0)
            assert cache.read().decision.code == "STATE_UNKNOWN"

        assert cache.read().problem is None
    finally:
        cache.stop()


# -- of the real database ----------------------------------------------------------------------------------------------


@pytest.fixture
def fresh(database: None) -> None:
    """The cache of the process, on the tests' database, without a lease: what follows is about connections."""
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
        with ends_within(1):
            assert snapshots.read_snapshot().decision.code == "STATE_UNKNOWN"
        time.sleep(READ_SECONDS)
        assert snapshots.read_snapshot().decision.code == "STATE_UNKNOWN"
        proxy.thaw()
        wait_until(lambda: snapshots.read_snapshot().problem is None, seconds=1)
        snapshots.stop_all()


# -- a name that moves to another server -------------------------------------------------------------------------------

_OTHER = """
CREATE TABLE system_metadata AS SELECT 1 AS id, '1.0.0' AS version, false AS backend_complete, NULL AS notes,
    NULL::timestamptz AS updated_at, NULL::timestamptz AS completed_at, 1::bigint AS revision;
CREATE TABLE go_live_state AS SELECT 1 AS id, true AS go_live_enabled, true AS kill_switch_engaged,
    NULL AS changed_by, NULL AS reason, NULL::timestamptz AS updated_at, 99::bigint AS revision, 0 AS lease_ms,
    NULL AS event_head, NULL::integer AS timeline;
"""


@pytest.fixture(scope="module")
def other_primary(django_db_setup: None) -> Iterator[PostgresServer]:
    """Another server with the same database, where a stop was acknowledged: revision 99."""
    settings = connections["default"].settings_dict
    with PostgresServer(password=settings["PASSWORD"]) as server:
        with psycopg.connect(server.create_database(settings["NAME"]), autocommit=True) as connection:
            connection.execute(_OTHER)
        yield server


@pytest.fixture
def moving(fresh: None) -> Iterator[Proxy]:
    """The name of the database, which can be made to lead to another server."""
    with proxied() as proxy:
        snapshots.stop_all()
        try:
            yield proxy
        finally:
            snapshots.stop_all()


def seen_revision() -> int:
    return snapshots.read_snapshot().known_go_live().revision


@pytest.mark.postgresql
def test_snapshot__name_moves_to_another_primary__is_followed_and_nobody_is_refused(
    moving: Proxy, other_primary: PostgresServer, clock: Clock
) -> None:
    """The old primary goes on answering on the connection that is open."""
    assert seen_revision() == 1
    moving.lead_to("127.0.0.1", other_primary.port)
    clock.now += renewal.RENEW_AFTER_SECONDS - 1
    assert seen_revision() == 1

    clock.now += 1

    # Raises if the state is not known for a moment.
    wait_until(lambda: seen_revision() == 99)


@pytest.mark.postgresql
def test_snapshot__after_a_long_pause__is_of_the_server_that_the_name_leads_to(
    moving: Proxy, other_primary: PostgresServer, clock: Clock
) -> None:
    assert seen_revision() == 1
    moving.lead_to("127.0.0.1", other_primary.port)

    clock.now += renewal.MAX_AGE_SECONDS

    assert seen_revision() == 99


@pytest.mark.postgresql
def test_snapshot__next_connection_is_slow__is_read_on_the_old_one_until_that_is_too_old(
    moving: Proxy, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, may_go_on = threading.Semaphore(0), threading.Event()

    def connect(wrapper: DatabaseWrapper, parameters: dict[str, object]) -> object:
        if threading.current_thread().name.startswith("golive-connect"):
            opening.release()
            may_go_on.wait(20)
        return original(wrapper, parameters)

    original = DatabaseWrapper.get_new_connection
    assert seen_revision() == 1
    monkeypatch.setattr(DatabaseWrapper, "get_new_connection", connect)
    try:
        while clock.now < 1000 + renewal.MAX_AGE_SECONDS - 1:
            clock.now += 1
            assert seen_revision() == 1
        assert opening.acquire(timeout=5)
        assert not opening.acquire(blocking=False), "one at a time"
        used = server_pids()

        clock.now += 1

        assert seen_revision() == 1
        wait_until(lambda: not used & server_pids())
    finally:
        may_go_on.set()


@pytest.mark.postgresql
def test_snapshot__renewed__holds_one_connection_though_nobody_asks(moving: Proxy, clock: Clock) -> None:
    seen_revision()
    before = server_pids()
    clock.now += renewal.RENEW_AFTER_SECONDS
    seen_revision()

    wait_until(lambda: len(server_pids()) == 1 and not server_pids() & before)
    snapshots.stop_all()
    wait_until(lambda: not server_pids())


def server_pids() -> set[int]:
    """The sessions of this process but that of the test itself."""
    rows = run_sql(
        "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
        " AND backend_type = 'client backend'"
    )
    return {pid for (pid,) in rows}


@pytest.mark.usefixtures("fresh")
def test_snapshot__in_a_fork_while_a_thread_holds_the_lock__is_read_by_the_fork_itself() -> None:
    """The thread is not in the child, and would never let go of it there."""
    snapshots.read_snapshot()
    snapshots.forget()
    with held_by_another_thread(snapshots._caches["default"]._condition):
        connections.close_all()
        told = ask_fork(lambda: str(snapshots.read_snapshot().known_go_live().revision))

    assert told == "1"
    assert snapshots.read_snapshot().known_go_live().revision == 1


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
