"""A limit on how long the current thread may wait for the database.

The server enforces `statement_timeout`, so that does not help when the server hangs; this limit is enforced on the
client side of the socket. It works with connections of the backend `golive.postgresql`; SQLite has no socket and
bounds its waits by its own `timeout` option.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_expires_at: ContextVar[float | None] = ContextVar("golive_database_deadline", default=None)

# One limit for all reads and one for all writes: responses come within 3 s and 5 s (promises 2 and 1 of
# docs/explain/design.md).
READ_SECONDS = 2.4
WRITE_SECONDS = 4.4


@contextmanager
def database_deadline(limit_seconds: float) -> Iterator[None]:
    """Bound the database waits inside the block, in total. Nested blocks can only shorten the limit."""
    expires_at = time.monotonic() + limit_seconds
    outer = _expires_at.get()
    token = _expires_at.set(expires_at if outer is None else min(outer, expires_at))
    try:
        yield
    finally:
        _expires_at.reset(token)


def remaining_seconds() -> float | None:
    """Seconds left in this thread, zero when the deadline has passed, None when there is none."""
    expires_at = _expires_at.get()
    return None if expires_at is None else max(0.0, expires_at - time.monotonic())


def extend_deadline(seconds: float) -> None:
    """Extend the deadline by a wait that was not for the database; does nothing without a deadline."""
    expires_at = _expires_at.get()
    if expires_at is not None:
        _expires_at.set(expires_at + seconds)
