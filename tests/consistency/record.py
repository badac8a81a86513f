"""The record of the database beside what the operators saw: the history for the checker, and where the two disagree."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import psycopg

from golive.domain.decision import decide
from golive.domain.rows import GO_LIVE_STATE, GoLiveRow
from tests.consistency.checker import Change

MARK = re.compile(r"\bop-[0-9a-f]+-[0-9]+\b")
_COLUMNS = ("sequence", "subject", "action", "reason", "before", "after")


class Outcome(StrEnum):
    """What an operator was told."""

    ACKNOWLEDGED = "acknowledged"
    # Refused by a rule or NOT_APPLIED: certainly not done.
    NOT_DONE = "not done"
    # No answer, OUTCOME_UNKNOWN, or a way of working that is never acknowledged (SQL).
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Operation:
    """A request to change, as the operator saw it. `mark` stands in its reason, and by it the record is found."""

    mark: str
    name: str
    channel: str
    sent_at: float
    answered_at: float
    outcome: Outcome
    detail: str = ""
    # Acknowledged with no permit outstanding.
    has_ended_permits: bool = False

    @property
    def label(self) -> str:
        return f"{self.name} by {self.channel} ({self.mark})"

    @property
    def acked_at(self) -> float:
        return self.answered_at if self.outcome is Outcome.ACKNOWLEDGED else math.inf

    @property
    def permits_until(self) -> float:
        """By when all permits that were given before are over; infinite for what does not wait for them."""
        return self.acked_at if self.has_ended_permits else math.inf


@dataclass(frozen=True)
class Entry:
    """An event, as far as the checker needs it: the operation that its reason names, and the decision from then on."""

    sequence: int
    mark: str | None
    action: str
    code: str | None


def fetch_entries(url: str, *, after: int) -> list[Entry]:
    """The events after that sequence, in order. Raises psycopg.Error."""
    with psycopg.connect(url, connect_timeout=30) as connection:
        query = f"SELECT {', '.join(_COLUMNS)} FROM golive_event WHERE sequence > %s ORDER BY sequence"
        rows = connection.execute(query.encode(), [after]).fetchall()
    return [read_entry(dict(zip(_COLUMNS, row, strict=True))) for row in rows]


def read_entry(event: Mapping[str, Any]) -> Entry:
    row = event["after"] if event["subject"] == GO_LIVE_STATE else None
    # Of a row that was altered by SQL the reason that SQL wrote tells who did it.
    is_drift = event["action"] == "drift"
    text = (row or {}).get("reason") if is_drift else event["reason"]
    found = MARK.search(text or "")
    if is_drift and row is not None and (event["before"] or {}).get("reason") == row["reason"]:
        found = None
    return Entry(event["sequence"], found[0] if found else None, event["action"], _code_of(row))


def _code_of(row: Mapping[str, Any] | None) -> str | None:
    if row is None:
        return None
    who_and_when: dict[str, Any] = dict.fromkeys(("changed_by", "reason", "updated_at", "event_head"))
    return str(decide(GoLiveRow(**{**row, **who_and_when})).code)


def join(entries: Sequence[Entry], operations: Iterable[Operation]) -> list[Change]:
    """The changes for the checker, from the seed on. An event that nobody asked for may have come at any moment."""
    by_mark = {operation.mark: operation for operation in operations}
    changes: list[Change] = []
    code = ""
    for entry in entries:
        code = entry.code or code
        operation = by_mark.get(entry.mark or "")
        if operation is None:
            changes.append(Change(f"{entry.action} (event {entry.sequence})", code, -math.inf, permits_until=math.inf))
        else:
            changes.append(
                Change(operation.label, code, operation.sent_at, operation.acked_at, operation.permits_until)
            )
    return changes


def find_disagreements(entries: Iterable[Entry], operations: Iterable[Operation]) -> list[str]:
    """Acknowledged and not recorded, or certainly not done and recorded all the same."""
    recorded = {entry.mark for entry in entries}
    found = []
    for operation in operations:
        if operation.outcome is Outcome.ACKNOWLEDGED and operation.mark not in recorded:
            found.append(f"{operation.label} was acknowledged and is not in the record")
        if operation.outcome is Outcome.NOT_DONE and operation.mark in recorded:
            found.append(f"{operation.label} was answered {operation.detail!r} and is in the record")
    return found
