"""Helpers for tests of the controls: make changes, read the state, check invariants."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from golive.controls.apply import apply_change
from golive.domain.changes import CHANGES, Acknowledgement, Actor, Channel, Direction, Origin
from golive.domain.checklist import Checklist, CheckResult
from golive.models import Event
from golive.readiness import runner, shared_runs
from golive.state import history
from tests.support.factories import make_actor
from tests.support.faults import run_sql

NAMES = tuple(CHANGES)
TOWARD_SAFE = tuple(name for name, change in CHANGES.items() if change.direction is Direction.SAFE)
OTHERS = tuple(name for name in NAMES if name not in TOWARD_SAFE)
# The number of events after the migrations: one per table.
SEEDED = 2
NOWHERE = Origin()
# Arguments of `failing_writes`: table, verb and condition.
FAULTS: dict[str, tuple[str, str, str]] = {
    "event": ("golive_event", "INSERT", "NEW.action <> 'drift'"),
    "row of go_live_state": ("go_live_state", "UPDATE", "1 = 1"),
}


def apply(
    name: str,
    *,
    actor: Actor | None = None,
    reason: object = "why",
    channel: Channel = Channel.API,
    origin: Origin = NOWHERE,
    **fields: object,
) -> Acknowledgement:
    """Make a change, by default as an actor with all permissions."""
    return apply_change(
        CHANGES[name], actor=actor or make_actor(), reason=reason, channel=channel, fields=fields, origin=origin
    )


def apply_effectively(name: str, **options: Any) -> Acknowledgement:
    """Like `apply`, but an edit changes something too."""
    fields = {"version": "2.0.0"} if name == "edit" else {}
    return apply(name, **{**fields, **options})


def make_change(name: str, *, reason: str = "It is time.", actor: str = "bea", **fields: Any) -> Acknowledgement:
    """Make a change in a shell, as an actor with all permissions."""
    return apply(name, actor=make_actor(actor), reason=reason, channel=Channel.CLI, **fields)


def make_changes(*names: str) -> None:
    for name in names:
        make_change(name)


def go_live() -> None:
    """Go live from the safe defaults."""
    make_changes("complete", "release", "enable")


def prepare(name: str) -> None:
    """Set up a state in which this change is allowed and has an effect."""
    if name in TOWARD_SAFE:
        go_live()
    elif name in ("release", "enable"):
        apply("complete", actor=make_actor("ann"))


def events() -> list[Event]:
    return list(Event.objects.order_by("sequence"))


def newest() -> Event:
    return events()[-1]


def snapshot() -> tuple[Any, Any, int]:
    """Everything that a change could alter."""
    return (
        run_sql("SELECT * FROM go_live_state ORDER BY id"),
        run_sql("SELECT * FROM system_metadata ORDER BY id"),
        Event.objects.count(),
    )


def problem_keys(*, newest_events: int | None = None) -> set[str]:
    """The problems of the verification as `code:place`, without what distinguishes several at the same place."""
    return {problem.key.split("@")[0] for problem in history.verify(newest=newest_events).problems}


def check_sound() -> None:
    """Assert that chain, head and rows agree, and that every event was checked."""
    verification = history.verify()
    assert verification.problems == ()
    assert verification.checked == Event.objects.count()


def fake_checklist(monkeypatch: pytest.MonkeyPatch, *results: CheckResult) -> list[bool]:
    """Make the checklist return these results. The returned list records, per run, whether a transaction was open."""
    runs: list[bool] = []

    def run() -> Checklist:
        runs.append(connection.in_atomic_block)
        return Checklist.of(results)

    monkeypatch.setattr(runner, "run_checklist", run)
    monkeypatch.setattr(shared_runs, "read_checklist", run)
    return runs
