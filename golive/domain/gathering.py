"""Repeated stops of one credential, gathered: many requests that change nothing become one event with a count.

Nothing waits here and no clock is read: a `Queue` says who writes, for whom, and from which moment on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from golive.domain.reasons import REASON_LIMIT

# Between the beginnings of two events. The first repetition is written at once, later ones wait for company; where many
# wait, they wait for less, so that they do not take all threads.
GATHER_SECONDS = 1.0
CROWD_SECONDS = 0.5
MAX_PATIENT = 2

_SEPARATOR = "; "


@dataclass(frozen=True)
class Repetition:
    """What a request to stop says that is recorded: why, and for whom."""

    reason: str
    on_behalf_of: str | None = None


@dataclass(eq=False)
class Batch:
    """Requests that one event will record. It is written after all of them came, so that it is true for each."""

    members: list[Repetition] = field(default_factory=list)


class Queue:
    """The repetitions of one kind of stop by one credential. Times are seconds of one clock. Not thread-safe."""

    def __init__(self) -> None:
        self._begun_at = -math.inf
        self._open: Batch | None = None

    def join(self, repetition: Repetition) -> tuple[Batch, bool]:
        """The batch that the request is part of, and whether it is the first, which has to write it."""
        is_first = self._open is None
        if self._open is None:
            self._open = Batch()
        self._open.members.append(repetition)
        return self._open, is_first

    def due_at(self, batch: Batch) -> float:
        """When the batch is to be written; sooner once many wait."""
        is_crowded = len(batch.members) > MAX_PATIENT
        return self._begun_at + (CROWD_SECONDS if is_crowded else GATHER_SECONDS)

    def begin(self, now: float) -> None:
        """Close the open batch: it is being written, and whoever comes from now on is part of the next one."""
        self._begun_at, self._open = now, None

    def abandon(self, batch: Batch) -> None:
        """Let nobody join a batch any more that nobody will write; one that was begun is closed already."""
        if self._open is batch:
            self._open = None


def merge(members: Sequence[Repetition]) -> Repetition:
    """One request for all: their different reasons as far as there is room, and how many there were.

    For whom they were is in the reason where they do not agree on it.
    """
    if len(members) == 1:
        return members[0]
    names = dict.fromkeys(member.on_behalf_of for member in members)
    reasons = [text for text in dict.fromkeys(_describe(each, with_name=len(names) > 1) for each in members) if text]
    room = REASON_LIMIT - len(_count(len(members), len(reasons))) - 1
    taken: list[str] = []
    for reason in reasons:
        # The first one has to be there at least in part.
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
