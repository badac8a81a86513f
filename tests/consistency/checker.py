"""Whether a history keeps the promise: no answer tells a state that had certainly ended before its request was sent.

The record (the chain of events) says in which order changes were committed, and the row that each left. When each was
committed nobody outside can know; but a change is committed after its request was sent, and before any later change is
acknowledged. So the state after change n may have begun at the earliest when the last of the changes 1..n was sent, and
may be answered at the latest until the first of the changes n+1.. is acknowledged. An answer is right if it tells a
state that may have been true at some moment between the sending of its request and its arrival.

Pure: no clock, no files, no network.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

ALLOWED = "ALLOWED"


@dataclass(frozen=True)
class Change:
    """A committed change: the `code` of the decision from then on, and when it was asked for and acknowledged.

    `acked_at` is infinite where no acknowledgement was received: what it replaced may be answered until a later change
    is acknowledged. A change that changed nothing counts like any other. `permits_until` is the moment by which the
    permits that were given before it are over: of a stop that says so its acknowledgement, else infinite.
    """

    label: str
    code: str
    sent_at: float
    acked_at: float = math.inf
    permits_until: float | None = None

    @property
    def ends_permits_at(self) -> float:
        return self.acked_at if self.permits_until is None else self.permits_until


@dataclass(frozen=True)
class Read:
    """An answer. `code` is None where it only says that execution is not allowed, which is never wrong.

    `until` is the moment up to which a permit was held, which no stop may be acknowledged before; None for an answer,
    which is about any moment between `sent_at` and `answered_at`.
    """

    source: str
    code: str | None
    sent_at: float
    answered_at: float
    worker: int = 0
    until: float | None = None


@dataclass(frozen=True)
class Violation:
    """An answer that was never true while it was asked for, and the change that had ended what it tells.

    `ended_by` is None where nothing had led to that state yet.
    """

    read: Read
    ended_by: Change | None

    def __str__(self) -> str:
        told = f"{self.read.source} (pid {self.read.worker}) answered {self.read.code}"
        if self.ended_by is None:
            return f"{told} at {self.read.answered_at:.6f}: no change had led to that state"
        since = (self.read.until or self.read.sent_at) - self.ended_by.acked_at
        return (
            f"{told}: {'held' if self.read.until else 'sent'} {since * 1000:.1f} ms after the acknowledgement of "
            f"{self.ended_by.label} (sent {self.ended_by.sent_at:.6f}, acknowledged {self.ended_by.acked_at:.6f}; "
            f"read sent {self.read.sent_at:.6f}, answered {self.read.answered_at:.6f})"
        )


class History:
    """The changes in the order of the record, the first one being the state at the start."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self._changes = list(changes)
        # Of state n: the earliest moment at which it may have begun; and the latest until which it may be answered.
        self._begins = list(accumulate((change.sent_at for change in changes), max))
        acked = list(accumulate((change.acked_at for change in reversed(changes)), min))[::-1]
        self._ends = [*acked[1:], math.inf]
        # Of state n: when the permits that it gave must be over, by the first stop that says so.
        over = list(accumulate((change.ends_permits_at for change in reversed(changes)), min))[::-1]
        self._permits_end = [*over[1:], math.inf]
        self._by_code: dict[str, list[int]] = {}
        for number, change in enumerate(changes):
            self._by_code.setdefault(change.code, []).append(number)

    def find_violations(self, reads: Iterable[Read]) -> list[Violation]:
        found = (self.judge(read) for read in reads)
        return [violation for violation in found if violation is not None]

    def judge(self, read: Read) -> Violation | None:
        """None if the answer may have been true; it is enough to look at the last state of its code that had begun."""
        if read.code is None:
            return None
        began_by = read.answered_at
        ends, since = (self._ends, read.sent_at) if read.until is None else (self._permits_end, read.until)
        candidates = self._by_code.get(read.code, [])
        begun = bisect_right(candidates, bisect_right(self._begins, began_by) - 1)
        if begun == 0:
            return Violation(read, None)
        newest = candidates[begun - 1]
        # A permit too was an answer first, and true when it was given.
        if ends[newest] >= since and self._ends[newest] >= read.sent_at:
            return None
        return Violation(read, self._find_end(newest))

    def stopped_seconds(self, read: Read) -> float | None:
        """For how long execution had certainly been stopped when a request was sent; None if it may have been allowed.

        Only such a request could have been answered wrongly: a history without them proves nothing.
        """
        violation = self.judge(replace(read, code=ALLOWED, until=None))
        if violation is None or violation.ended_by is None:
            return None
        return read.sent_at - violation.ended_by.acked_at

    def find_disorder(self) -> list[str]:
        """Changes that the record has before another one that was acknowledged before they were even asked for."""
        found = []
        for number, change in enumerate(self._changes[1:], 1):
            if self._ends[number - 1] < change.sent_at:
                later = self._find_end(number - 1)
                found.append(f"{change.label} stands before {later.label}, which was acknowledged before it was sent")
        return found

    def _find_end(self, number: int) -> Change:
        return min(self._changes[number + 1 :], key=lambda change: change.acked_at)
