"""Remembering that a database hangs: in this process, and not in one that it forks."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from golive.postgresql import away
from tests.support.faults import wait_until
from tests.support.forks import ask_fork, held_by_another_thread

ALIAS = "hanging"


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The database hangs until this is set."""
    event = threading.Event()
    monkeypatch.setattr(away, "_answers", lambda parameters: event.wait(0.01))
    yield event
    event.set()
    wait_until(lambda: not away.is_away(ALIAS), seconds=5)


def count_probes() -> int:
    return sum(thread.name == "golive-probe" for thread in threading.enumerate())


def test_database__that_hangs__is_asked_by_one_thread_until_it_answers(answered: threading.Event) -> None:
    for _ in range(8):
        away.report_away(ALIAS, {})

    assert (away.is_away(ALIAS), count_probes()) == (True, 1)
    answered.set()
    wait_until(lambda: not away.is_away(ALIAS) and count_probes() == 0, seconds=5)


def test_database__that_hangs__is_found_out_anew_by_a_fork(answered: threading.Event) -> None:
    """The thread that asks is not in the child, and a thread that held the lock would never let go of it there."""
    away.report_away(ALIAS, {})

    def find_out() -> str:
        before = away.is_away(ALIAS)
        away.report_away(ALIAS, {})
        return f"{before} {away.is_away(ALIAS)} {count_probes()}"

    with held_by_another_thread(away._lock):
        assert ask_fork(find_out) == "False True 1"
    assert away.is_away(ALIAS)
