"""How much longer than promised a test waits before it fails.

A promise such as "within 3 s" holds on an idle machine. A busy one may be late although nothing is wrong, so tests that
look at a clock allow ten times as much: enough to catch a wait that never ends, or waits that add up. That the right
limit is used is tested by other means: the deadline, the lock timeout, the order of events.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

SLACK = 10


@contextmanager
def ends_within(promised_seconds: float) -> Iterator[None]:
    """Raises AssertionError if the block took ten times as long as promised."""
    began = time.monotonic()
    yield
    seconds = time.monotonic() - began
    assert seconds < SLACK * promised_seconds, f"{seconds:.1f} s, promised were {promised_seconds:g} s"
