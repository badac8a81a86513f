"""Remembering that a database hangs: in this process, and not in one that it forks."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from golive.postgresql import away
from tests.faults import wait_until

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
    is_held, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with away._lock:
            is_held.set()
            may_end.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    assert is_held.wait(5)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        before = away.is_away(ALIAS)
        away.report_away(ALIAS, {})
        os.write(writer, f"{before} {away.is_away(ALIAS)} {count_probes()}".encode())
        os._exit(0)
    os.close(writer)
    may_end.set()
    holder.join()

    with os.fdopen(reader) as told:
        assert told.read() == "False True 1"
    assert os.waitpid(child, 0)[1] == 0
    assert away.is_away(ALIAS)
