"""The circuit breaker of a database that hangs: open in this process, and not in one that it forks."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from golive.postgresql import circuit_breaker
from tests.support.forks import ask_fork, held_by_another_thread
from tests.support.patience import wait_until

ALIAS = "hanging"


@pytest.fixture
def responding(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The database hangs until this is set."""
    event = threading.Event()
    monkeypatch.setattr(circuit_breaker, "_responds", lambda parameters: event.wait(0.01))
    yield event
    event.set()
    wait_until(lambda: not circuit_breaker.is_open(ALIAS), seconds=5)


def count_probes() -> int:
    return sum(thread.name == "golive-probe" for thread in threading.enumerate())


def test_circuit__of_a_database_that_hangs__is_open_until_one_thread_gets_a_response(
    responding: threading.Event,
) -> None:
    for _ in range(8):
        circuit_breaker.open_circuit(ALIAS, {})

    assert (circuit_breaker.is_open(ALIAS), count_probes()) == (True, 1)
    responding.set()
    wait_until(lambda: not circuit_breaker.is_open(ALIAS) and count_probes() == 0, seconds=5)


def test_circuit__open__is_closed_in_a_fork(responding: threading.Event) -> None:
    """The thread that asks is not in the child, and a thread that held the lock would never let go of it there."""
    circuit_breaker.open_circuit(ALIAS, {})

    def find_out() -> str:
        before = circuit_breaker.is_open(ALIAS)
        circuit_breaker.open_circuit(ALIAS, {})
        return f"{before} {circuit_breaker.is_open(ALIAS)} {count_probes()}"

    with held_by_another_thread(circuit_breaker._lock):
        assert ask_fork(find_out) == "False True 1"
    assert circuit_breaker.is_open(ALIAS)
