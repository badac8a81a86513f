"""Many at once on PostgreSQL, and what is said when the database, the connection or another writer fails."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from django.core.management import call_command
from django.db import connection

from golive.controls import event_writer
from golive.domain.errors import NotAppliedError, OutcomeUnknownError, UnavailableError
from golive.domain.rows import GO_LIVE_STATE, SYSTEM_METADATA
from golive.models import Event
from golive.state import singletons
from tests.support.changes import SEEDED, TOWARD_SAFE, apply, check_sound, events, go_live, snapshot
from tests.support.faults import Fate, database_url, proxied, rerouted, run_sql, watched_statements
from tests.support.patience import ends_within, wait_until
from tests.support.postgres import PostgresServer

pytestmark = [pytest.mark.postgresql, pytest.mark.usefixtures("database")]

ROOT = Path(__file__).resolve().parents[2]
# A stop is acknowledged or refused within 5 seconds (docs/explain/design.md, promise 1).
STOP_SECONDS = 5.0
PROCESSES, CHANGES_EACH = 16, 100
RACES = 60
# Where a racer holds on: after its locks, its event, its rows.
HOLDS = ("FROM system_metadata", "FROM go_live_state", "INSERT INTO", "UPDATE")


class Child:
    """A process in `tests.controls.child`, and the lines that it answers with."""

    def __init__(self, role: str, **options: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.controls.child", role, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": database_url()},
        )

    def read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the child ended with {self.process.wait()}"
        return json.loads(line)

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def has_answered(self) -> bool:
        """Whether there is a line to read."""
        assert self.process.stdout is not None
        poll = select.poll()
        poll.register(self.process.stdout, select.POLLIN)
        return bool(poll.poll(0))

    def is_stopped(self) -> bool:
        return bool(psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Let it go on, and end it if it does not end by itself once its input has ended."""
        self.resume()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def child(role: str, **options: Any) -> Iterator[Child]:
    made = Child(role, **options)
    try:
        yield made
    finally:
        made.end()


# -- many processes ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_controls__many_processes_at_once__lose_nothing() -> None:
    with child("load", processes=PROCESSES, changes=CHANGES_EACH) as load:
        outcomes = load.read()

    done = [outcome for outcome in outcomes if outcome["code"] == "DONE"]
    refused = [outcome for outcome in outcomes if outcome["code"] != "DONE"]
    assert len(outcomes) == PROCESSES * CHANGES_EACH
    assert {outcome["code"] for outcome in refused} <= {"CHECKLIST_FAILED", "REVISION_MISMATCH"}
    # What was to be shown was there: every change, effective ones, and refusals.
    assert {outcome["name"] for outcome in done if outcome["changed"]} == {
        *("engage", "disable", "reopen", "release", "enable", "complete", "edit")
    }
    assert {outcome["code"] for outcome in refused} == {"CHECKLIST_FAILED", "REVISION_MISMATCH"}

    recorded = events()
    check_sound()
    assert [event.sequence for event in recorded] == list(range(1, len(recorded) + 1))
    reasons = Counter(event.reason for event in recorded[SEEDED:])
    assert set(reasons) == {outcome["reason"] for outcome in done}
    # A reopen that engages the released kill switch is the only one with a second event.
    reopened = {outcome["reason"] for outcome in done if outcome["name"] == "reopen"}
    assert all(count == 1 or (count == 2 and reason in reopened) for reason, count in reasons.items())
    assert len({outcome["sequence"] for outcome in done}) == len(done)
    go_live_row, system_row = singletons.read_both()
    for subject, row in ((GO_LIVE_STATE, go_live_row), (SYSTEM_METADATA, system_row)):
        raised = [
            event.changed or event.action in TOWARD_SAFE for event in recorded[SEEDED:] if event.subject == subject
        ]
        assert row.revision == sum(raised) + 1
    assert go_live_row.event_head == recorded[-1].hash


# -- release against reopen --------------------------------------------------------------------------------------------


def race(rounds: int, mutation: str | None = None) -> Counter[tuple[bool, bool]]:
    """Let a release race a reopen so many times; how often it ended (released, complete)."""
    ends: Counter[tuple[bool, bool]] = Counter()
    with (
        child("race", name="release", seed=1, mutation=mutation) as releaser,
        child("race", name="reopen", seed=2, mutation=mutation) as reopener,
    ):
        racers = (releaser, reopener)
        for racer in racers:
            assert racer.read() == "ready"
        for number in range(rounds):
            apply("complete")
            apply("engage")
            # Each begins first in turn, by a little that the pauses inside make up for.
            order = racers if number % 2 else racers[::-1]
            for racer in order:
                racer.tell(f"round {number}")
            codes = [racer.read()["code"] for racer in racers]
            assert codes[0] in ("DONE", "CHECKLIST_FAILED")
            assert codes[1] == "DONE"
            ends[find_end()] += 1
    return ends


def force_orders(mutation: str | None = None) -> dict[tuple[str, str], tuple[bool, bool]]:
    """Both orders, each with the first held inside its transaction until the second waits for it, or is through.

    How each ended (released, complete), by who began and where they were held.
    """
    ends: dict[tuple[str, str], tuple[bool, bool]] = {}
    names = ("release", "reopen")
    with ExitStack() as stack:
        racers = {
            name: stack.enter_context(child("race", name=name, seed=1, mutation=mutation, can_hold=True))
            for name in names
        }
        for racer in racers.values():
            assert racer.read() == "ready"
        for first, second in (names, names[::-1]):
            for hold in HOLDS:
                apply("complete")
                apply("engage")
                racers[first].tell(f"{first} until {hold}")
                assert racers[first].read() == "held"
                racers[second].tell(second)
                await_blocked_or_through(racers[second])
                racers[first].tell("go on")
                for name in names:
                    assert racers[name].read()["code"] in ("DONE", "CHECKLIST_FAILED")
                ends[first, hold] = find_end()
    return ends


def await_blocked_or_through(racer: Child) -> None:
    wait_until(lambda: is_blocked() or racer.has_answered())


def find_end() -> tuple[bool, bool]:
    go_live_row, system_row = singletons.read_both()
    return not go_live_row.kill_switch_engaged, system_row.backend_complete


def is_blocked() -> bool:
    """Whether somebody waits for a lock."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return run_sql(waiting) != []


@pytest.mark.slow
def test_controls__a_release_races_a_reopen__never_ends_released_with_an_incomplete_backend() -> None:
    ends = race(RACES)

    assert ends == {(False, False): RACES}
    check_sound()


@pytest.mark.slow
def test_controls__a_release_and_a_reopen_in_either_order__never_end_released_with_an_incomplete_backend() -> None:
    ends = force_orders()

    assert set(ends.values()) == {(False, False)}
    assert len(ends) == 2 * len(HOLDS)
    names = Counter(event.action for event in events())
    # The releases that came first were made, and undone by the reopen; those that came second were refused.
    assert names["release"] == len(HOLDS)
    check_sound()


@pytest.mark.slow
@pytest.mark.parametrize("mutation", ["one row locked", "reopen does not engage"])
def test_race__the_code_is_broken__ends_released_with_an_incomplete_backend(mutation: str) -> None:
    # A test of the test above: it must be able to fail.
    assert (True, False) in force_orders(mutation).values()


# -- writers in the way ------------------------------------------------------------------------------------------------


def stop_in_time() -> None:
    """Engage, as an operator would: acknowledged, or refused with NOT_APPLIED and right to repeat, within 5 seconds."""
    with ends_within(STOP_SECONDS):
        try:
            apply("engage")
        except NotAppliedError:
            return
    assert singletons.read_go_live().kill_switch_engaged is True


FREEZES = {
    "after it locked the row": "FROM go_live_state",
    "after it wrote the event": "INSERT INTO",
    "after it wrote the row": "UPDATE",
}


@pytest.mark.parametrize("after", FREEZES)
def test_apply_change__another_writer_is_frozen_with_the_lock__a_stop_is_answered_in_time(after: str) -> None:
    go_live()
    with child("freeze", name="disable", after=FREEZES[after]) as frozen:
        wait_until(frozen.is_stopped, seconds=20)

        stop_in_time()
        stop_in_time()

        assert singletons.read_go_live().kill_switch_engaged is True
        frozen.resume()
        assert frozen.read()["code"] == "NOT_APPLIED"

    assert "frozen" not in {event.reason for event in events()}
    assert singletons.read_go_live().go_live_enabled is True
    check_sound()


def test_apply_change__a_release_is_frozen_between_the_locks__a_stop_does_not_even_wait() -> None:
    go_live()
    # The server cuts the frozen one off only after a minute, so a stop that waited for it would not be applied.
    with child("freeze", name="release", after="FROM system_metadata", is_patient=True) as frozen:
        wait_until(frozen.is_stopped, seconds=20)

        acknowledged = apply("engage")

        assert acknowledged.changed is True


@pytest.mark.parametrize("name", ["engage", "reopen"])
def test_apply_change__somebody_keeps_the_row_locked_by_sql__is_not_applied_in_time(name: str) -> None:
    go_live()
    before = snapshot()
    with psycopg.connect(database_url()) as other:
        other.execute("SELECT 1 FROM go_live_state FOR UPDATE")

        with ends_within(STOP_SECONDS), pytest.raises(NotAppliedError) as caught:
            apply(name)

        assert caught.value.code == "NOT_APPLIED"

    assert snapshot() == before
    assert apply(name).changed is True


# -- a server that is frozen, down, or cuts the connection -------------------------------------------------------------


@pytest.fixture
def private_server(database: None) -> Iterator[PostgresServer]:
    """A migrated server of its own, to which the tests' connections go."""
    with PostgresServer() as server:
        server.create_database("valhalla")
        with rerouted(HOST="127.0.0.1", PORT=server.port, USER="valhalla", PASSWORD=server.password, NAME="valhalla"):
            call_command("migrate", verbosity=0, interactive=False)
            yield server
            server.thaw()


@pytest.mark.slow
def test_apply_change__the_server_is_frozen__is_not_applied_in_time_and_works_afterwards(
    private_server: PostgresServer,
) -> None:
    go_live()
    before = snapshot()
    private_server.freeze()

    for _ in range(2):
        with ends_within(STOP_SECONDS), pytest.raises(NotAppliedError):
            apply("engage")

    private_server.thaw()
    wait_until(lambda: snapshot_or_none() == before)
    assert apply("engage").changed is True
    check_sound()


def snapshot_or_none() -> Any:
    try:
        return snapshot()
    except Exception:  # noqa: BLE001 - not yet
        connection.close()
        return None


@pytest.mark.parametrize("name", TOWARD_SAFE)
def test_apply_change__the_server_is_down__is_not_applied_at_once(name: str) -> None:
    with rerouted(HOST="127.0.0.1", PORT=1), ends_within(2.0), pytest.raises(NotAppliedError):
        apply(name)


def elsewhere(work: Callable[[], Any]) -> None:
    """Do something on another connection, and wait for it."""

    def do() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=do)
    thread.start()
    thread.join()


def terminate_backend() -> None:
    """End this thread's connection as an administrator or a failover does."""
    assert connection.connection is not None
    pid = connection.connection.info.backend_pid

    def terminate() -> None:
        run_sql(f"SELECT pg_terminate_backend({pid})")
        wait_until(lambda: run_sql(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}") == [(0,)])

    elsewhere(terminate)


STATEMENTS = {
    "the lock": "FOR UPDATE",
    "the first event is read": 'FROM "golive_event"',
    "the event is written": "INSERT INTO",
    "the row is written": 'UPDATE "go_live_state"',
}


@pytest.mark.parametrize("before_what", STATEMENTS)
def test_apply_change__the_connection_is_killed__is_not_applied_and_nothing_written(before_what: str) -> None:
    go_live()
    before = snapshot()
    kills: list[str] = []

    def kill(sql: str) -> None:
        if STATEMENTS[before_what] in sql and not kills:
            kills.append(sql)
            terminate_backend()

    with watched_statements(before=kill), pytest.raises(NotAppliedError):
        apply("engage")

    assert kills
    assert snapshot() == before
    assert apply("engage").changed is True
    check_sound()


def test_apply_change__the_connection_was_killed_while_idle__the_second_try_works() -> None:
    go_live()
    terminate_backend()

    with pytest.raises(NotAppliedError):
        apply("engage")

    assert apply("engage").changed is True


def test_apply_change__the_connection_is_killed_just_before_commit__is_not_acknowledged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go_live()
    before = snapshot()
    close = event_writer.EventWriter.close

    def close_and_kill(writer: event_writer.EventWriter) -> None:
        close(writer)
        terminate_backend()

    monkeypatch.setattr(event_writer.EventWriter, "close", close_and_kill)
    with pytest.raises(UnavailableError) as caught:
        apply("engage")

    # Nobody can tell from a connection that is gone whether the server had begun to commit.
    assert caught.value.code in ("NOT_APPLIED", "OUTCOME_UNKNOWN")
    monkeypatch.undo()
    assert snapshot() == before
    assert apply("engage").changed is True


@pytest.mark.parametrize(
    ("name", "fate"),
    [*(("engage", fate) for fate in Fate), ("reopen", Fate.ANSWER_LOST), ("reopen", Fate.REQUEST_LOST)],
)
def test_apply_change__the_connection_is_lost_at_commit__the_outcome_is_unknown(name: str, fate: Fate) -> None:
    go_live()
    before = snapshot()

    with proxied() as proxy:
        run_sql("SELECT 1")
        proxy.strike(b"COMMIT", fate)
        with ends_within(STOP_SECONDS), pytest.raises(OutcomeUnknownError) as caught:
            apply(name)
        if fate is not Fate.REQUEST_LOST:
            proxy.await_answer()

    assert caught.value.code == "OUTCOME_UNKNOWN"
    if fate is Fate.REQUEST_LOST:
        wait_until(lambda: run_sql("SELECT count(*) FROM pg_locks WHERE relation = 'go_live_state'::regclass") != [])
        assert snapshot() == before
    else:
        assert snapshot() != before
    # Whatever became of it: all of it or nothing, and repeating is right.
    check_sound()
    apply(name)
    assert singletons.read_go_live().kill_switch_engaged is True
    check_sound()


def test_apply_change__the_connection_is_lost_before_commit__is_not_applied() -> None:
    go_live()
    before = snapshot()

    with proxied() as proxy:
        run_sql("SELECT 1")
        proxy.strike(b"INSERT INTO", Fate.ANSWER_LOST)
        with pytest.raises(NotAppliedError):
            apply("engage")

    wait_until(lambda: snapshot() == before)
    check_sound()


def test_apply_change__after_an_outage__leaves_no_transaction_open() -> None:
    go_live()
    count = Event.objects.count()

    with proxied() as proxy:
        run_sql("SELECT 1")
        proxy.strike(b"UPDATE", Fate.ANSWER_LATE)
        with pytest.raises(NotAppliedError):
            apply("engage")

    wait_until(
        lambda: run_sql("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'", []) == [(0,)]
    )
    assert Event.objects.count() == count
