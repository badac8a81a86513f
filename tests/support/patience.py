"""How much longer than promised a test waits before it fails.

A promise such as "within 3 s" holds on an idle machine. A busy one may be late although nothing is wrong, so tests that
look at a clock allow ten times as much: enough to catch a wait that never ends, or waits that add up. That the right
limit is used is tested by other means: the deadline, the lock timeout, the order of events.
"""

from __future__ import annotations

import http.client
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

SLACK = 10
# How many times as long the checks of the service get where a test is not about their limits.
CHECKS_SLACK = 20


def find_patient_limits() -> Iterator[tuple[dict[str, Any], str, Any]]:
    """Each limit of the checks and of what they wait for, as a mapping, the key in it and the value for tests."""
    from golive import middleware
    from golive.controls import rehearsal, transactions
    from golive.readiness import runner, shared_runs

    defaults = runner.run_checks.__kwdefaults__
    assert defaults, "the limits are no defaults any more"
    for name, seconds in defaults.items():
        yield defaults, name, CHECKS_SLACK * seconds
    for module, name in (
        (runner, "RUN_SECONDS"),
        (shared_runs, "WAIT_SECONDS"),
        (middleware, "READ_SECONDS"),
        (rehearsal, "WAIT_SECONDS"),
        (transactions, "REHEARSAL_SECONDS"),
    ):
        yield vars(module), name, CHECKS_SLACK * getattr(module, name)
    # The lock's own timeout stays: waiting for a lock is not a matter of the machine.
    for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
        yield transactions.REHEARSAL_SETTINGS, name, "20000"


@contextmanager
def ends_within(promised_seconds: float) -> Iterator[None]:
    """Raises AssertionError if the block took ten times as long as promised."""
    began = time.monotonic()
    yield
    seconds = time.monotonic() - began
    assert seconds < SLACK * promised_seconds, f"{seconds:.1f} s, promised were {promised_seconds:g} s"


def wait_until(condition: Callable[[], bool], seconds: float = 10.0, *, problem: str = "it did not come about") -> None:
    """Wait until the condition is true. Raises AssertionError with the problem after SLACK times `seconds`."""
    ends_at = time.monotonic() + SLACK * seconds
    while not condition():
        assert time.monotonic() < ends_at, f"{problem} within {SLACK * seconds:g} s"
        time.sleep(0.01)


def await_start(process: subprocess.Popen[bytes], is_up: Callable[[], bool], *, read_log: Callable[[], str]) -> None:
    """Wait until a program that was just started serves; `is_up` may raise what `request` raises, too.

    Raises AssertionError with its log if it ends, or is not up within two minutes.
    """
    ends_at = time.monotonic() + 120
    while True:
        assert process.poll() is None, f"it ended: {read_log()}"
        assert time.monotonic() < ends_at, f"it does not answer: {read_log()}"
        with suppress(OSError, http.client.HTTPException):
            if is_up():
                return
        time.sleep(0.05)
