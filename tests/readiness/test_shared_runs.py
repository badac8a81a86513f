"""Readers share the runs of the checks: one at a time, and no answer from a run that began before its question."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from golive.domain.checklist import Checklist, CheckResult, Severity
from golive.readiness import registry, runner, shared_runs
from golive.readiness.shared_runs import TOO_LATE, TOO_MANY, SharedRun
from golive.state import leases
from tests.support.faults import run_sql
from tests.support.forks import ask_fork, held_by_another_thread
from tests.support.patience import wait_until

pytestmark = pytest.mark.usefixtures("database")

SECONDS = 20


class Runs:
    """A source worked by hand: each run waits for `end()`, and its only result has its number as the detail."""

    def __init__(self) -> None:
        self.begun = self.open = self.most_open = 0
        self._may_end = threading.Semaphore(0)

    def __call__(self) -> Checklist:
        self.begun += 1
        number = self.begun
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        assert self._may_end.acquire(timeout=SECONDS)
        self.open -= 1
        return Checklist.of([CheckResult("made", True, Severity.BLOCKER, "Made", str(number))])

    def end(self, runs: int = 1) -> None:
        self._may_end.release(runs)


@pytest.fixture
def runs() -> Iterator[Runs]:
    made = Runs()
    yield made
    made.end(100)


@pytest.fixture
def shared(runs: Runs) -> SharedRun:
    return SharedRun(runs)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as made:
        yield made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """The clock of the leases stands still; the fixture lets time pass."""
    now = leases.boottime()

    def pass_seconds(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(leases, "boottime", lambda: now)
    return pass_seconds


def number_of(found: Checklist) -> str:
    return found.results[0].detail


def await_waiters(shared: SharedRun, count: int) -> None:
    wait_until(lambda: len(shared._condition._waiters) == count, SECONDS)  # type: ignore[attr-defined]


def test_read__many_at_once__are_answered_by_one_run(shared: SharedRun, runs: Runs, pool: ThreadPoolExecutor) -> None:
    asked = [pool.submit(shared.read)]
    wait_until(lambda: runs.begun == 1, SECONDS)
    asked += [pool.submit(shared.read) for _ in range(40)]
    await_waiters(shared, 41)

    runs.end(2)

    answers = [number_of(each.result(SECONDS)) for each in asked]
    # Whoever came while the first was under way is answered by the next: the first may have looked before.
    assert answers[0] in ("1", "2")
    assert answers[1:] == ["2"] * 40
    assert (runs.begun, runs.most_open) == (2, 1)


def test_read__a_run_under_way__is_not_joined(shared: SharedRun, runs: Runs, pool: ThreadPoolExecutor) -> None:
    first = pool.submit(shared.read)
    wait_until(lambda: runs.begun == 1, SECONDS)
    second = pool.submit(shared.read)
    await_waiters(shared, 2)

    runs.end()
    assert number_of(first.result(SECONDS)) == "1"
    assert not second.done()
    runs.end()

    assert number_of(second.result(SECONDS)) == "2"


@pytest.mark.leased
def test_read__within_the_lease__is_the_same_result(
    shared: SharedRun, runs: Runs, clock: Callable[[float], None]
) -> None:
    runs.end()
    shared.read()

    clock(0.4)

    assert number_of(shared.read(may_wait=False)) == "1"
    assert runs.begun == 1


@pytest.mark.leased
def test_read__in_the_second_half_of_the_lease__is_answered_and_renewed_ahead(
    shared: SharedRun, runs: Runs, clock: Callable[[float], None]
) -> None:
    runs.end()
    shared.read()

    clock(0.6)
    assert number_of(shared.read()) == "1"
    wait_until(lambda: runs.begun == 2, SECONDS)
    runs.end()
    wait_until(lambda: number_of(shared.read()) == "2", SECONDS)

    assert runs.begun == 2


@pytest.mark.leased
def test_read__the_lease_is_over__is_a_new_run(shared: SharedRun, runs: Runs, clock: Callable[[float], None]) -> None:
    runs.end(2)
    shared.read()

    clock(1.1)

    assert number_of(shared.read()) == "2"


@pytest.mark.leased
@pytest.mark.parametrize(
    "change",
    ["UPDATE go_live_state SET revision = revision + 1", "DELETE FROM system_metadata"],
    ids=["another revision", "a row is gone"],
)
def test_read__the_rows_have_changed__is_a_new_run(shared: SharedRun, runs: Runs, change: str) -> None:
    """Whoever reads the checklist after a change, or when the database has gone away, is not told how it was before."""
    runs.end(2)
    run_sql("UPDATE go_live_state SET lease_ms = 0")
    shared.read()

    run_sql(change)

    assert number_of(shared.read()) == "2"


@pytest.mark.leased
def test_read__the_rows_have_changed_and_it_may_not_wait__is_the_result_within_its_lease(
    shared: SharedRun, runs: Runs
) -> None:
    runs.end(2)
    run_sql("UPDATE go_live_state SET lease_ms = 0")
    shared.read()

    run_sql("UPDATE go_live_state SET revision = revision + 1")
    changed = number_of(shared.read(may_wait=False))
    run_sql("DELETE FROM go_live_state")

    assert changed == "1"
    assert {result.detail for result in shared.read(may_wait=False).results} == {TOO_MANY}


@pytest.mark.leased
def test_read__the_lease_is_over_and_it_may_not_wait__is_the_last_result_for_a_while(
    shared: SharedRun, runs: Runs, clock: Callable[[float], None]
) -> None:
    """A busy service is not taken for one that is broken, and its result is renewed for the next who asks."""
    runs.end()
    shared.read()

    clock(shared_runs.MAX_STALE_SECONDS - 0.1)
    assert number_of(shared.read(may_wait=False)) == "1"
    wait_until(lambda: runs.begun == 2, SECONDS)

    clock(0.2)
    assert {result.detail for result in shared.read(may_wait=False).results} == {TOO_MANY}


@pytest.mark.leased
def test_read__a_check_could_not_run_and_it_may_not_wait__is_soon_not_the_result_any_more(
    clock: Callable[[float], None],
) -> None:
    shared = SharedRun(lambda: runner.fail_all(runner.NO_DATABASE))
    shared.read()

    clock(0.11)

    assert {result.detail for result in shared.read(may_wait=False).results} == {TOO_MANY}


@pytest.mark.leased
def test_read__rows_not_known__is_not_used_again(shared: SharedRun, runs: Runs) -> None:
    run_sql("DELETE FROM system_metadata")
    runs.end(2)

    assert [number_of(shared.read()) for _ in range(2)] == ["1", "2"]


@pytest.mark.leased
def test_read__a_check_that_could_not_run__is_soon_asked_again(clock: Callable[[float], None]) -> None:
    """As when the database was away: whoever asks after it is back must not be told that it is not."""
    outcomes = [runner.fail_all(runner.NO_DATABASE), Checklist.of([])]
    shared = SharedRun(lambda: outcomes.pop(0))
    shared.read()

    clock(0.11)

    assert shared.read() == Checklist.of([])


def test_read__may_not_wait__says_that_nothing_was_checked_and_starts_nothing(shared: SharedRun, runs: Runs) -> None:
    found = shared.read(may_wait=False)

    assert found.ok is False
    assert {result.detail for result in found.results} == {TOO_MANY}
    assert {result.id for result in found.results} == registry._registry.keys()
    assert runs.begun == 0


def test_read__the_run_does_not_end__says_so(shared: SharedRun, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_runs, "WAIT_SECONDS", 0.05)

    found = shared.read()

    assert found.ok is False
    assert {result.detail for result in found.results} == {TOO_LATE}


def test_read__the_run_raises__has_failed_and_the_next_works() -> None:
    runs = 0

    def run() -> Checklist:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise RuntimeError("made to fail")
        return runner.run_all()

    shared = SharedRun(run)

    assert {result.detail for result in shared.read().results} == {shared_runs.FAILED}
    assert shared.read().results[0].ok is True


def test_read__no_thread_can_be_had__says_that_nothing_was_checked(
    shared: SharedRun, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        refused = shared.read()
    runs.end()

    assert {result.detail for result in refused.results} == {TOO_MANY}
    assert number_of(shared.read()) == "1"


def test_read__everybody_is_answered__leaves_no_thread_behind(shared: SharedRun, runs: Runs) -> None:
    runs.end()
    shared.read()

    wait_until(lambda: not [each for each in threading.enumerate() if each.name == "golive-shared-run"], SECONDS)


def test_read__in_a_fork_that_was_made_during_a_run__runs() -> None:
    with held_by_another_thread(shared_runs._shared._condition):
        answer = ask_fork(lambda: str(shared_runs.read_all(may_wait=False).ok))

    assert answer == "False"


def test_read_checklist_and_named__are_parts_of_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_runs, "_shared", SharedRun(runner.run_all))

    checklist = shared_runs.read_checklist()
    named = shared_runs.read_named("singleton_rows", "database")

    assert checklist == runner.run_checklist()
    assert [(result.id, result.ok) for result in named.results] == [("singleton_rows", True), ("database", True)]


@pytest.mark.leased
def test_run_checklist__while_readers_have_a_result_and_a_run__is_a_run_of_its_own(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor
) -> None:
    """A guarded change is served neither from the lease nor by a run that it shares, nor does it wait for readers."""
    shared = SharedRun(runs)
    monkeypatch.setattr(shared_runs, "_shared", shared)
    reading: Future[Checklist] = pool.submit(shared.read)
    wait_until(lambda: runs.begun == 1, SECONDS)

    found = runner.run_checklist()

    assert [result.id for result in found.failed] == ["backend_complete"]
    assert not reading.done()
