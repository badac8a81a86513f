"""How long an answer may be given again, and how long a writer waits until nobody can give the old one any more.

The clock is CLOCK_BOOTTIME, which goes on while the machine is suspended: a worker that was paused by its system finds
its lease over. A virtual machine that is paused by its host does not: there the clock stands still, and only a lease of
0 is safe (docs/deploy/database.md).
"""

from __future__ import annotations

import math
import time

from golive.domain.rows import MAX_LEASE_MS

# For clocks of different hosts, which tick at slightly different rates.
MARGIN_SECONDS = 0.01

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boottime() -> float:
    """Seconds on the clock by which every lease is counted."""
    return time.clock_gettime(_CLOCK)


def lease_seconds(lease_ms: int) -> float:
    """Readers and writers alike take a value that the table should not hold for the nearest one that it may."""
    return min(max(lease_ms, 0), MAX_LEASE_MS) / 1000


def remaining_ms(lease_ms: int, *, since: float) -> int:
    """What is left of a lease that began at `since` (`boottime`), in ms."""
    return max(0, math.ceil((lease_seconds(lease_ms) - (boottime() - since)) * 1000))


def wait_out(lease_ms: int) -> None:
    """Return when every snapshot that was read before this call, with this lease or a shorter one, is over."""
    ends_at = boottime() + lease_seconds(lease_ms) + MARGIN_SECONDS
    while (left := ends_at - boottime()) > 0:
        time.sleep(left)
