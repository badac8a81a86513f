"""Leases: how long a snapshot may be served, and how long a writer waits until no reader can serve the old state.

The clock is CLOCK_BOOTTIME, which keeps running while the machine is suspended: a worker that its system paused finds
its lease expired. In a virtual machine paused by its host the clock stops too; there only a lease of 0 is safe
(docs/deploy/database.md).
"""

from __future__ import annotations

import math
import time

from golive.domain.rows import MAX_LEASE_MS

# Clocks of different hosts run at slightly different rates.
MARGIN_SECONDS = 0.01

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boottime() -> float:
    """Seconds on the clock that all leases use."""
    return time.clock_gettime(_CLOCK)


def lease_seconds(lease_ms: int) -> float:
    """A lease in seconds. Readers and writers both clamp a value outside the allowed range."""
    return min(max(lease_ms, 0), MAX_LEASE_MS) / 1000


def remaining_ms(lease_ms: int, *, since: float) -> int:
    """What remains of a lease that began at `since` (`boottime`), in ms."""
    return max(0, math.ceil((lease_seconds(lease_ms) - (boottime() - since)) * 1000))


def wait_out(lease_ms: int) -> None:
    """Return once every snapshot read before this call, with this lease or a shorter one, has expired."""
    ends_at = boottime() + lease_seconds(lease_ms) + MARGIN_SECONDS
    while (remaining := ends_at - boottime()) > 0:
        time.sleep(remaining)
