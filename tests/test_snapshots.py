"""The leased snapshot: which answer may serve which request, for how long, and what happens when none comes.

Most run a `Store` on a source and a clock of the tests' own. What the source would see is a number that the test raises
as a commit does; a reading carries it as its revision.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from django.db import connections
from hypothesis import given, settings
from hypothesis import strategies as st

from golive import leases, snapshots
from golive.domain.decision import Code
from golive.domain.errors import StateUnknownError
from golive.snapshots import PATIENCE_SECONDS, Snapshot, Store
from golive.state import Reading
from tests.factories import make_go_live, make_system
from tests.faults import run_sql, wait_until

pytestmark = pytest.mark.leased

LEASE_MS = 250
LEASE_SECONDS = LEASE_MS / 1000
SETTLED_SECONDS = 0.1


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Source:
    """The database, as far as a store knows it: each SELECT is held until the test lets it look, and then answer."""

    def __init__(self, *, is_held: bool = False) -> None:
        self.committed = 1
        self.lease_ms = LEASE_MS
        self.is_held = is_held
        self.error: Exception | None = None
        self.sent: list[Select] = []

    def __call__(self) -> Reading:
        select = Select(self)
        self.sent.append(select)
        if self.is_held:
            assert select.is_released.wait(30)
        else:
            select.look()
        if self.error is not None:
            raise self.error
        assert select.reading is not None
        return select.reading


class Select:
    """One SELECT: it sees what is committed when it looks, and answers when it is released."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.reading: Reading | None = None
        self.is_released = threading.Event()

    def look(self) -> None:
        row = make_go_live(revision=self._source.committed, lease_ms=self._source.lease_ms)
        self.reading = Reading(row, make_system())

    def answer(self) -> None:
        if self.reading is None:
            self.look()
        self.is_released.set()


class Bench:
    """A store, its source, and askers on threads of their own."""

    def __init__(self, stack: ExitStack, source: Source) -> None:
        self.source = source
        self.store = Store(source, name="bench")
        stack.callback(self._end)
        self._pool = stack.enter_context(ThreadPoolExecutor(70))

    def _end(self) -> None:
        self.source.is_held = False
        for select in self.source.sent:
            select.answer()
        self.store.stop()

    def ask(self) -> Future[Snapshot]:
        """A request arrives, and goes on as far as it can."""
        answer = self._pool.submit(self.store.read)
        time.sleep(SETTLED_SECONDS / 2)
        return answer

    def await_sent(self, count: int) -> Select:
        wait_until(lambda: len(self.source.sent) >= count, 5)
        assert len(self.source.sent) == count
        return self.source.sent[-1]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(leases, "boottime", made)
    return made


def revision(answer: Future[Snapshot] | Snapshot) -> int:
    snapshot = answer.result(5) if isinstance(answer, Future) else answer
    return snapshot.known_go_live().revision


def settled(answer: Future[Any]) -> bool:
    time.sleep(SETTLED_SECONDS)
    return answer.done()


# -- the lease ---------------------------------------------------------------------------------------------------------


def test_lease__while_it_lasts__is_answered_without_another_select(stack: ExitStack, clock: Clock) -> None:
    bench = Bench(stack, Source())
    bench.ask().result(5)
    bench.source.committed = 2

    clock.now += LEASE_SECONDS / 2 - 0.001

    assert revision(bench.store.read()) == 1
    assert len(bench.source.sent) == 1


def test_lease__that_is_over__never_answers_again(stack: ExitStack, clock: Clock) -> None:
    bench = Bench(stack, Source())
    bench.ask().result(5)
    bench.source.committed = 2

    clock.now += LEASE_SECONDS

    assert revision(bench.store.read()) == 2


def test_lease__slow_select__is_counted_from_before_it_was_sent(stack: ExitStack, clock: Clock) -> None:
    """A commit may come right after the SELECT has looked; what it saw must not live longer for being late."""
    bench = Bench(stack, Source(is_held=True))
    sent_at = clock.now
    asked = bench.ask()
    select = bench.await_sent(1)
    select.look()
    clock.now += LEASE_SECONDS - 0.1
    select.answer()

    assert asked.result(5).expires_at == sent_at + LEASE_SECONDS
    bench.source.committed = 2
    clock.now = sent_at + LEASE_SECONDS
    bench.source.is_held = False
    assert revision(bench.store.read()) == 2


def test_lease__second_half__is_renewed_by_one_and_nobody_waits(stack: ExitStack, clock: Clock) -> None:
    bench = Bench(stack, Source())
    bench.ask().result(5)
    bench.source.is_held = True
    bench.source.committed = 2
    clock.now += LEASE_SECONDS / 2

    answers = [revision(bench.store.read()) for _ in range(50)]

    assert answers == [1] * 50
    bench.await_sent(2).answer()
    wait_until(lambda: revision(bench.store.read()) == 2, 5)
    assert len(bench.source.sent) == 2


@pytest.mark.parametrize("lease_ms", [0, -5])
def test_lease__of_nothing__reads_the_row_each_time(stack: ExitStack, clock: Clock, lease_ms: int) -> None:
    bench = Bench(stack, Source())
    bench.source.lease_ms = lease_ms

    for number in range(1, 6):
        bench.source.committed = number
        assert revision(bench.store.read()) == number


def test_lease__more_than_may_be__counts_as_the_most(stack: ExitStack, clock: Clock) -> None:
    """For readers as for the writer, who waits no longer."""
    bench = Bench(stack, Source())
    bench.source.lease_ms = 10**9

    assert bench.ask().result(5).expires_at == clock.now + 5


def test_forget__own_change__is_read_anew(stack: ExitStack, clock: Clock) -> None:
    bench = Bench(stack, Source())
    bench.ask().result(5)
    bench.source.committed = 2

    bench.store.forget()

    assert revision(bench.store.read()) == 2


def test_clock__goes_on_while_the_machine_sleeps() -> None:
    assert abs(leases.boottime() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 1


# -- who may join whom -------------------------------------------------------------------------------------------------


def test_joining__select_sent_before_the_request_and_lease_over__waits_for_the_next(
    stack: ExitStack, clock: Clock
) -> None:
    """The stale refresh: it looked before the commit, and the request came after the acknowledgement."""
    bench = Bench(stack, Source(is_held=True))
    early = bench.ask()
    first = bench.await_sent(1)
    first.look()
    bench.source.committed = 2
    clock.now += LEASE_SECONDS + leases.MARGIN_SECONDS
    late = bench.ask()

    first.answer()

    # What nobody relied on an acknowledgement for may still be answered from it.
    assert revision(early) == 1
    second = bench.await_sent(2)
    assert not settled(late)
    second.answer()
    assert revision(late) == 2


def test_joining__select_sent_before_the_request_within_its_lease__serves_it(stack: ExitStack, clock: Clock) -> None:
    """No stop that it did not see can have been acknowledged yet."""
    bench = Bench(stack, Source(is_held=True))
    bench.ask()
    select = bench.await_sent(1)
    clock.now += LEASE_SECONDS - 0.001
    late = bench.ask()

    select.answer()

    assert revision(late) == 1


def test_joining__lease_0__never_joins_a_select_under_way(stack: ExitStack, clock: Clock) -> None:
    bench = Bench(stack, Source(is_held=True))
    bench.source.lease_ms = 0
    early = bench.ask()
    first = bench.await_sent(1)
    first.look()
    bench.source.committed = 2
    late = bench.ask()
    first.answer()

    bench.await_sent(2).answer()

    assert (revision(early), revision(late)) == (1, 2)


def test_joining__64_requests__make_one_select(stack: ExitStack, clock: Clock) -> None:
    bench = Bench(stack, Source(is_held=True))
    answers = [bench._pool.submit(bench.store.read) for _ in range(64)]
    time.sleep(SETTLED_SECONDS)
    bench.await_sent(1).answer()
    if len(bench.source.sent) > 1:
        bench.source.sent[1].answer()

    assert {revision(answer) for answer in answers} == {1}
    assert len(bench.source.sent) <= 2


def test_joining__lease_over_and_64_requests__make_two_selects_at_most(stack: ExitStack, clock: Clock) -> None:
    """The one under way, and one for all that came after it was sent."""
    bench = Bench(stack, Source(is_held=True))
    bench.ask()
    first = bench.await_sent(1)
    first.look()
    clock.now += LEASE_SECONDS
    bench.source.committed = 2
    answers = [bench._pool.submit(bench.store.read) for _ in range(64)]
    time.sleep(SETTLED_SECONDS)

    first.answer()
    bench.await_sent(2).answer()

    assert {revision(answer) for answer in answers} == {2}
    assert len(bench.source.sent) == 2


@settings(max_examples=150, deadline=None)
@given(
    lease_ms=st.sampled_from([0, 1, 100, 250, 5000]),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["ask", "refresh", "answer", "commit"]),
            st.sampled_from([0.0, 0.001, 0.05, 0.125, 0.25, 0.3]),
        ),
        max_size=25,
    ),
)
def test_any_order_of_events__never_answers_from_before_an_acknowledged_change(
    lease_ms: int, steps: list[tuple[str, float]]
) -> None:
    """The rules without threads: the store's own decisions, at moments that the test chooses.

    An answer must hold whatever was acknowledged (committed, and the lease and the margin waited out) before it was
    asked for.
    """
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leases, "boottime", clock)
        Run(clock, lease_ms, steps).run()


class Run:
    """A store whose refreshes are begun, look and end when a list of steps says, all in this thread."""

    def __init__(self, clock: Clock, lease_ms: int, steps: list[tuple[str, float]]) -> None:
        self._clock = clock
        self._lease_seconds = lease_ms / 1000
        self._steps = iter(steps)
        self._lease_ms, self._committed = lease_ms, 1
        self._commits: list[tuple[float, int]] = []
        self._waiting: list[tuple[int, int]] = []
        self._store = Store(self._read)

    def run(self) -> None:
        for what, seconds in self._steps:
            self._clock.now += seconds
            if what == "refresh":
                self._store._refresh()
                self._serve()
            else:
                self._take(what)

    def _read(self) -> Reading:
        """The SELECT: it looks at once, and its answer is on its way while others commit and ask."""
        reading = Reading(make_go_live(revision=self._committed, lease_ms=self._lease_ms), None)
        for what, seconds in self._steps:
            self._clock.now += seconds
            if what == "answer":
                break
            self._take(what)
        return reading

    def _take(self, what: str) -> None:
        if what == "commit":
            self._committed += 1
            self._commits.append((self._clock.now, self._committed))
        elif what == "ask":
            self._waiting.append((self._store._begun + 1, self._find_acknowledged()))
            self._serve()

    def _find_acknowledged(self) -> int:
        """The newest change that is acknowledged by now: what an answer to somebody who asks now must show."""
        wait_seconds = self._lease_seconds + leases.MARGIN_SECONDS
        return max((number for at, number in self._commits if at + wait_seconds <= self._clock.now), default=0)

    def _serve(self) -> None:
        for asked in list(self._waiting):
            ticket, least = asked
            answer = self._store._find_answer(ticket)
            if answer is not None:
                self._waiting.remove(asked)
                assert answer.known_go_live().revision >= least


# -- silence and failure -----------------------------------------------------------------------------------------------


def test_silence__no_answer__is_unknown_in_time_and_from_then_on_at_once(stack: ExitStack) -> None:
    bench = Bench(stack, Source(is_held=True))
    began = time.monotonic()

    first = bench.store.read()
    waited = time.monotonic() - began
    again = bench.store.read()

    assert (first.decision.code, again.decision.code) == (Code.STATE_UNKNOWN, Code.STATE_UNKNOWN)
    assert PATIENCE_SECONDS <= waited < PATIENCE_SECONDS + 0.5
    assert time.monotonic() - began - waited < 0.1
    with pytest.raises(StateUnknownError):
        first.known_system()


def test_silence__crowd__waits_once_on_one_thread_and_is_normal_again_by_itself(stack: ExitStack) -> None:
    bench = Bench(stack, Source(is_held=True))
    before = threading.active_count()
    began = time.monotonic()
    answers = [bench._pool.submit(bench.store.read) for _ in range(64)]

    codes = {answer.result(5).decision.code for answer in answers}

    assert codes == {Code.STATE_UNKNOWN}
    assert time.monotonic() - began < PATIENCE_SECONDS + 1
    assert threading.active_count() <= before + 64 + 1
    assert len(bench.source.sent) == 1
    bench.source.is_held = False
    bench.source.sent[0].answer()
    wait_until(lambda: bench.store.read().go_live is not None, 1)


def test_silence__ended__is_found_out_although_nobody_asks(stack: ExitStack) -> None:
    bench = Bench(stack, Source(is_held=True))
    bench.source.lease_ms = 5000
    bench.source.error = OSError("made to fail")
    bench.store.read()
    time.sleep(0.1)
    bench.source.sent[0].answer()
    bench.await_sent(2)
    bench.source.error = None
    bench.source.is_held = False

    bench.source.sent[1].answer()

    wait_until(lambda: bench.store._ended == 2, 5)
    began = time.monotonic()
    assert revision(bench.store.read()) == 1
    assert time.monotonic() - began < 0.05


def test_failure__of_the_source__is_unknown_at_once_and_each_time_asked_anew(stack: ExitStack) -> None:
    bench = Bench(stack, Source())
    bench.source.error = RuntimeError("made to fail")

    codes = [bench.ask().result(0.5).decision.code for _ in range(3)]

    assert codes == [Code.STATE_UNKNOWN] * 3
    bench.source.error = None
    assert revision(bench.store.read()) == 1


def test_failure__within_a_lease__does_not_shorten_or_lengthen_it(stack: ExitStack, clock: Clock) -> None:
    bench = Bench(stack, Source())
    bench.ask().result(5)
    bench.source.error = RuntimeError("made to fail")
    clock.now += LEASE_SECONDS - 0.001
    assert revision(bench.store.read()) == 1
    wait_until(lambda: bench.store._ended == 2, 5)

    assert revision(bench.store.read()) == 1
    clock.now += 0.001
    assert bench.store.read().decision.code == Code.STATE_UNKNOWN


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_failure__of_the_thread_itself__is_answered_by_another(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(stack, Source())
    kept = bench.store._refresh

    def die() -> None:
        raise MemoryError

    monkeypatch.setattr(bench.store, "_refresh", die)
    assert bench.store.read().decision.code == Code.STATE_UNKNOWN
    monkeypatch.setattr(bench.store, "_refresh", kept)

    assert revision(bench.store.read()) == 1


def test_failure__no_thread_to_be_had__is_unknown_at_once(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(stack, Source())

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert bench.store.read().decision.code == Code.STATE_UNKNOWN

    assert revision(bench.store.read()) == 1


# -- one for each process and database ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("database")
def test_snapshot__of_the_database__has_both_rows_of_one_moment() -> None:
    snapshot = snapshots.read_snapshot()

    assert snapshot.known_go_live().revision == snapshot.known_system().revision == 1
    assert snapshot is snapshots.read_snapshot()


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("damage", ["DELETE FROM system_metadata", "DELETE FROM go_live_state"])
def test_snapshot__one_row_missing__knows_the_other(damage: str) -> None:
    run_sql(damage)

    snapshot = snapshots.read_snapshot()

    assert (snapshot.go_live is None) == ("go_live_state" in damage)
    assert (snapshot.system is None) == ("system_metadata" in damage)
    assert snapshot.problem is None or "go_live_state is missing" in snapshot.problem


@pytest.mark.usefixtures("database")
def test_stop_all__leaves_no_thread_and_no_connection() -> None:
    snapshots.read_snapshot()
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "golive-snapshot-default"]

    snapshots.stop_all()

    assert not thread.is_alive()
    assert snapshots.read_snapshot().go_live is not None


@pytest.mark.usefixtures("database")
def test_fork__while_a_thread_holds_the_lock__child_reads_by_itself() -> None:
    """The thread is not in the child, and would never let go of it there."""
    snapshots.read_snapshot()
    snapshots.forget()
    is_held, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with snapshots._stores["default"]._condition:
            is_held.set()
            may_end.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    assert is_held.wait(5)
    connections.close_all()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        os.write(writer, str(snapshots.read_snapshot().known_go_live().revision).encode())
        os._exit(0)
    os.close(writer)
    may_end.set()
    holder.join()

    with os.fdopen(reader) as told:
        assert told.read() == "1"
    assert os.waitpid(child, 0)[1] == 0
    assert snapshots.read_snapshot().known_go_live().revision == 1
