"""How much longer than promised a test waits before it fails.

A promise like "within 3 s" holds on a machine that has time for us. A busy one may be late without anything being
wrong, so a test that looks at a clock allows ten times as much: enough to catch a wait that does not end, or waits that
add up. That the right limit was asked for is shown by other means: the deadline, the lock timeout, the order of events.
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
