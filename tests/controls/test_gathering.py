"""Repeated stops of one credential become one event; nobody's stop waits, and every acknowledgement is true."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

import pytest
from django.db import connections

from golive.controls import gathering
from golive.controls.apply import apply_change
from golive.controls.gathering import Gatherer, apply_stop
from golive.domain.changes import CHANGES, ENGAGE, RELEASE, Acknowledgement, Actor, Channel, Origin
from golive.domain.errors import (
    NotAppliedError,
    OutcomeUnknownError,
    PermissionRequiredError,
    RevisionMismatchError,
)
from golive.domain.gathering import CROWD_SECONDS, GATHER_SECONDS, MAX_PATIENT, Repetition
from golive.models import Event
from golive.state import singletons, snapshots
from tests.support.changes import apply, check_sound, events, go_live, newest
from tests.support.factories import make_actor

PAGER = make_actor("token:pager")
# Longer than anything here takes; nothing is measured.
PATIENCE_SECONDS = 30


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """A gatherer on a clock of the test's, and threads that send it requests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        self.gatherer = Gatherer(self.clock)
        self.threads = ThreadPoolExecutor(16)
        monkeypatch.setitem(gathering._gatherers, "default", self.gatherer)

    def send(self, name: str = "engage", actor: Actor = PAGER, **options: Any) -> Future[Acknowledgement]:
        return self.threads.submit(self._send, name, actor, options)

    def _send(self, name: str, actor: Actor, options: dict[str, Any]) -> Acknowledgement:
        try:
            return stop(name, actor, **options)
        finally:
            connections.close_all()

    def await_members(self, count: int) -> None:
        """Wait until so many requests wait for an event."""
        is_there = threading.Event()
        for _ in range(PATIENCE_SECONDS * 100):
            with self.gatherer._changed:
                if sum(len(batch.members) for batch in self.gatherer._outcomes) == count:
                    return
            is_there.wait(0.01)
        raise AssertionError(f"{count} requests were to wait")

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds


def stop(
    name: str = "engage", actor: Actor = PAGER, *, reason: object = "a leak", id: str = "r", **fields: object
) -> Acknowledgement:
    return apply_stop(CHANGES[name], actor=actor, reason=reason, fields=fields, origin=Origin(request_id=id))


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, database: None) -> Any:
    made = Desk(monkeypatch)
    yield made
    made.pass_time(1_000)
    made.threads.shutdown()


def results(futures: list[Future[Acknowledgement]]) -> list[Acknowledgement]:
    return [future.result(PATIENCE_SECONDS) for future in futures]


# -- one event ---------------------------------------------------------------------------------------------------------


def test_stop__repeated_by_one_credential__is_one_event_with_a_count(desk: Desk) -> None:
    first = stop(reason="first", id="r-1")
    before = singletons.read_go_live()
    waiting = []
    for number in range(5):
        waiting.append(desk.send(reason=f"again {number % 2}", id=f"r-{number + 2}"))
        desk.await_members(number + 1)

    desk.pass_time(GATHER_SECONDS)
    done = results(waiting)

    event, after = newest(), singletons.read_go_live()
    assert {each.sequence for each in done} == {event.sequence} == {first.sequence + 1}
    assert (event.reason, event.changed) == ("again 0; again 1 [5 requests]", False)
    assert (event.actor, event.request_id) == ("token:pager", "r-2")
    assert (after.revision, after.reason) == (before.revision + 1, event.reason)
    assert not any(each.changed for each in done)
    check_sound()


def test_stop__the_first_repetition__waits_for_nobody(desk: Desk) -> None:
    assert stop().sequence == newest().sequence


def test_stop__after_a_pause__waits_for_nobody_again(desk: Desk) -> None:
    stop()
    desk.pass_time(GATHER_SECONDS)

    assert desk.send().result(PATIENCE_SECONDS).sequence == newest().sequence


def test_stop__many_wait__are_written_sooner(desk: Desk) -> None:
    stop()
    waiting = [desk.send() for _ in range(MAX_PATIENT + 1)]
    desk.await_members(MAX_PATIENT + 1)

    desk.pass_time(CROWD_SECONDS)

    assert {each.sequence for each in results(waiting)} == {newest().sequence}
    assert newest().reason == f"a leak [{MAX_PATIENT + 1} requests]"


def test_stop__few_wait__are_not_written_sooner(desk: Desk) -> None:
    stop()
    waiting = [desk.send() for _ in range(MAX_PATIENT)]
    desk.await_members(MAX_PATIENT)

    desk.pass_time(CROWD_SECONDS)
    done, _ = wait(waiting, timeout=3 * gathering.LOOK_SECONDS)

    assert not done


@pytest.mark.parametrize(
    ("name", "actor"),
    [
        ("engage", make_actor("token:other")),
        ("engage", replace(PAGER, user_id=7)),
        ("disable", PAGER),
        ("reopen", PAGER),
    ],
    ids=["another name", "a person of that name", "another stop", "a third one"],
)
def test_stop__by_another_credential_or_of_another_kind__is_not_gathered(desk: Desk, name: str, actor: Actor) -> None:
    stop()
    waiting = desk.send()
    desk.await_members(1)

    other = desk.send(name, actor, reason="mine").result(PATIENCE_SECONDS)

    assert other.sequence == newest().sequence
    assert (newest().action, newest().actor, newest().reason) == (name, actor.name, "mine")
    desk.pass_time(GATHER_SECONDS)
    assert waiting.result(PATIENCE_SECONDS).sequence == other.sequence + 1


def test_stop__gathered__each_is_told_of_its_own_faults(desk: Desk) -> None:
    stop()
    good, bad = desk.send(reason="fine"), desk.send(reason=7)
    desk.await_members(2)

    desk.pass_time(GATHER_SECONDS)

    assert good.result(PATIENCE_SECONDS).notes_on_request == ()
    assert bad.result(PATIENCE_SECONDS).notes_on_request == ("reason was not a text and was written out as one",)


def test_stop__without_the_permission__joins_nobody(desk: Desk) -> None:
    stop()

    waiting = desk.send(actor=make_actor("token:pager", without=ENGAGE.permission))
    with pytest.raises(PermissionRequiredError):
        waiting.result(PATIENCE_SECONDS)


# -- a stop that changes something waits for nobody --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["engage", "disable", "reopen"])
def test_stop__that_changes_something__is_made_at_once_whatever_came_before(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    stop(name)
    go_live()
    before = Event.objects.count()

    def gather(*arguments: Any, **options: Any) -> Acknowledgement:
        raise AssertionError("it waits for nobody")

    monkeypatch.setattr(desk.gatherer, "apply", gather)

    done = desk.send(name).result(PATIENCE_SECONDS)

    assert done.changed is True
    assert Event.objects.count() > before


def test_reopen__backend_incomplete_but_released_by_override__is_made_at_once(desk: Desk) -> None:
    """Incomplete already, it still engages the kill switch."""
    stop("reopen")
    apply("release", override=["backend_complete"])

    assert desk.send("reopen").result(PATIENCE_SECONDS).changed is True
    assert singletons.read_go_live().kill_switch_engaged is True


def test_stop__released_while_one_waits__is_made_without_more_waiting(desk: Desk) -> None:
    apply("complete")
    stop()
    waiting = desk.send()
    desk.await_members(1)

    apply("release")
    # The clock stands still: nothing but the release can have ended the wait.
    done = waiting.result(PATIENCE_SECONDS)

    assert done.changed is True
    assert singletons.read_go_live().kill_switch_engaged is True


@pytest.mark.parametrize("missing", ["go_live", "system"])
def test_stop__state_not_known__is_tried_at_once(desk: Desk, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    stop("reopen")
    known = snapshots.read_snapshot()
    unknown = replace(known, go_live=None) if missing == "go_live" else replace(known, system=None)
    monkeypatch.setattr(snapshots, "read_snapshot", lambda *, using: unknown)

    assert desk.send("reopen").result(PATIENCE_SECONDS).sequence == newest().sequence


# -- every acknowledgement is true -------------------------------------------------------------------------------------


def test_release__that_saw_the_state_before_a_gathered_stop__is_refused(desk: Desk) -> None:
    apply("complete")
    stop()
    seen = singletons.read_go_live().revision
    waiting = [desk.send(reason="there is a second leak"), desk.send(reason="there is a second leak")]
    desk.await_members(2)
    desk.pass_time(GATHER_SECONDS)
    results(waiting)

    with pytest.raises(RevisionMismatchError) as caught:
        apply("release", expected_revision=seen)

    assert caught.value.reason == "there is a second leak [2 requests]"


def test_stop__that_comes_while_a_batch_is_being_written__is_part_of_the_next_one(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its event must be written after it came."""
    is_writing, may_write = threading.Event(), threading.Event()
    write = apply_change

    def write_slowly(*arguments: Any, **options: Any) -> Acknowledgement:
        is_writing.set()
        assert may_write.wait(PATIENCE_SECONDS)
        return write(*arguments, **options)

    monkeypatch.setattr(gathering, "apply_change", write_slowly)
    first = desk.send(reason="first")
    assert is_writing.wait(PATIENCE_SECONDS)
    second = desk.send(reason="second")
    desk.await_members(2)
    may_write.set()
    sequence = first.result(PATIENCE_SECONDS).sequence
    desk.pass_time(GATHER_SECONDS)

    assert second.result(PATIENCE_SECONDS).sequence == sequence + 1
    assert [event.reason for event in events()[-2:]] == ["first", "second"]


# -- failures ----------------------------------------------------------------------------------------------------------


def _gather(gatherer: Gatherer, write: Callable[[Repetition], Acknowledgement]) -> Acknowledgement:
    return gatherer.apply("key", Repetition("why"), write=write, is_settled=lambda: True)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (NotAppliedError("The row is held."), NotAppliedError),
        (OutcomeUnknownError("Lost."), OutcomeUnknownError),
        (RuntimeError("a fault"), OutcomeUnknownError),
        (SystemExit(1), OutcomeUnknownError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value.__name__,
)
def test_gatherer__writing_fails__everybody_is_told_and_the_next_one_is_not_held_up(
    error: BaseException, told: type[Exception]
) -> None:
    clock = Clock()
    gatherer = Gatherer(clock)
    done = replace(ACKNOWLEDGED, sequence=9)
    _gather(gatherer, lambda said: done)

    def fail(said: Repetition) -> Acknowledgement:
        raise error

    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(_gather, gatherer, fail) for _ in range(2)]
        while sum(len(batch.members) for batch in list(gatherer._outcomes)) < 2:
            pass
        clock.now += GATHER_SECONDS
        failures = [future.exception(PATIENCE_SECONDS) for future in both]

    assert {type(failure) for failure in failures} == {type(error), told}
    clock.now += GATHER_SECONDS
    assert _gather(gatherer, lambda said: done) is done
    assert not gatherer._outcomes


def test_gatherer__fails_before_it_writes__the_next_request_writes_itself() -> None:
    clock = Clock()
    gatherer = Gatherer(clock)
    _gather(gatherer, lambda said: ACKNOWLEDGED)

    def fail() -> bool:
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError):
        gatherer.apply("key", Repetition("why"), write=lambda said: ACKNOWLEDGED, is_settled=fail)

    clock.now += GATHER_SECONDS
    assert _gather(gatherer, lambda said: ACKNOWLEDGED) is ACKNOWLEDGED


ACKNOWLEDGED = Acknowledgement(RELEASE, False, None, None, 1)


# -- who is not gathered -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", [Channel.ADMIN, Channel.CLI])
def test_stop__from_the_admin_or_a_shell__is_never_gathered(desk: Desk, channel: Channel) -> None:
    stop()
    before = Event.objects.count()

    for _ in range(3):
        apply("engage", actor=PAGER, channel=channel)

    assert Event.objects.count() == before + 3
