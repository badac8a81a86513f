"""Batches repeated stops of one credential: many requests that change nothing become one event with a count.

Nothing blocks here and no clock is read: a `Queue` says which request writes, on behalf of which others, and when.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from golive.domain.reasons import MAX_REASON_LENGTH

# The interval between two batches. The first repetition is written at once, later ones wait to be batched; when many
# wait, the interval is shorter, so that they do not use up the threads.
GATHER_SECONDS = 1.0
CROWD_SECONDS = 0.5
MAX_PATIENT = 2

_SEPARATOR = "; "


@dataclass(frozen=True)
class Repetition:
    """What is recorded of a request to stop: its reason, and on whose behalf."""

    reason: str
    on_behalf_of: str | None = None


@dataclass(eq=False)
class Batch:
    """Requests that one event will record. It is written after all of them arrived, so it is true for each."""

    members: list[Repetition] = field(default_factory=list)


class Queue:
    """The repetitions of one kind of stop by one credential. Times are seconds on one clock. Not thread-safe."""

    def __init__(self) -> None:
        self._begun_at = -math.inf
        self._open: Batch | None = None

    def join(self, repetition: Repetition) -> tuple[Batch, bool]:
        """The batch that the request joins, and whether it is the first, which has to write the batch."""
        is_first = self._open is None
        if self._open is None:
            self._open = Batch()
        self._open.members.append(repetition)
        return self._open, is_first

    def due_at(self, batch: Batch) -> float:
        """When to write the batch; sooner if many wait."""
        is_crowded = len(batch.members) > MAX_PATIENT
        return self._begun_at + (CROWD_SECONDS if is_crowded else GATHER_SECONDS)

    def begin(self, now: float) -> None:
        """Close the open batch: it is being written, and requests from now on join the next one."""
        self._begun_at, self._open = now, None

    def abandon(self, batch: Batch) -> None:
        """Close a batch that will not be written; one that was begun is closed already."""
        if self._open is batch:
            self._open = None


def merge(members: Sequence[Repetition]) -> Repetition:
    """One request in place of all: their distinct reasons as far as they fit, and the number of requests.

    If the requests name different people in `on_behalf_of`, the names go into the reason.
    """
    if len(members) == 1:
        return members[0]
    names = dict.fromkeys(member.on_behalf_of for member in members)
    reasons = [text for text in dict.fromkeys(_describe(each, with_name=len(names) > 1) for each in members) if text]
    room = MAX_REASON_LENGTH - len(_count(len(members), len(reasons))) - 1
    taken: list[str] = []
    for reason in reasons:
        # The first reason is always included, truncated if need be.
        text = reason if taken or len(reason) <= room else f"{reason[: room - 1].rstrip()}…"
        needed = len(text) + (len(_SEPARATOR) if taken else 0)
        if needed <= room:
            taken.append(text)
            room -= needed
    counts = _count(len(members), len(reasons) - len(taken))
    return Repetition(f"{_SEPARATOR.join(taken)} {counts}".strip(), next(iter(names)) if len(names) == 1 else None)


def _describe(member: Repetition, *, with_name: bool) -> str:
    if not with_name or member.on_behalf_of is None:
        return member.reason
    return f"{member.reason} (for {member.on_behalf_of})".strip()


def _count(requests: int, left_out: int) -> str:
    return f"[{requests} requests" + (f", {left_out} more reasons]" if left_out else "]")
