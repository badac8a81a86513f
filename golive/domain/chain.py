"""The chain of events: each holds the hash of the one before, so that no past can be rewritten unseen.

An event is a mapping of the columns below to JSON values (times as RFC 3339 text), exactly as the history endpoint
serves it: an outsider can recompute every hash from what is public.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from golive.domain.rows import DEPLOY

HASH_VERSION = 1
COLUMNS = (
    "sequence",
    "at",
    "actor",
    "user_id",
    "on_behalf_of",
    "channel",
    "subject",
    "action",
    "reason",
    "changed",
    "override",
    "before",
    "after",
    "failed_checks",
    "request_id",
    "remote_addr",
    "hash_version",
    "previous_hash",
)
DRIFT = "drift"
RECONCILE = "reconcile"

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Problem:
    """One thing that does not agree. `code` and `place` identify it for good, `detail` explains it.

    A problem of kind `row` or `head` ends with `reconcile`; one in the chain stays in the record, and a reconcile
    that names it acknowledges it.
    """

    code: str
    place: str
    detail: str

    @property
    def key(self) -> str:
        return f"{self.code}:{self.place}"


def hash_event(event: Event) -> str:
    """SHA-256, in hexadecimal, over the canonical JSON (sorted keys, no spaces, UTF-8) of every column but `hash`."""
    values = {name: event[name] for name in COLUMNS}
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


class ChainVerifier:
    """Walks events from older to newer and gathers problems; holds one event per subject, never the whole chain."""

    def __init__(self) -> None:
        self.count = 0
        self.newest: Event | None = None
        self.newest_by_subject: dict[str, Event] = {}
        self._problems: list[Problem] = []
        self._drift: dict[str, Event] = {}
        self._acknowledged: set[str] = set()

    def assume(self, events: Iterable[Event]) -> None:
        """Take older events on trust, so that a check of the newest part knows what each row was and what drifted."""
        for event in events:
            if event["action"] == DRIFT:
                self._drift[event["subject"]] = event
            if event["after"] is not None:
                self.newest_by_subject[event["subject"]] = event

    def feed(self, events: Iterable[Event]) -> None:
        """Take the next events in ascending order of `sequence`."""
        for event in events:
            self._check_link(event)
            self._check_continuity(event)
            self.newest = event
            self.count += 1

    def _check_link(self, event: Event) -> None:
        place = str(event["sequence"])
        if event["hash"] != hash_event(event):
            self._report("hash", place, f"Event {place} does not match its hash: it was altered.")
        previous = self.newest
        if previous is None:
            if event["sequence"] == 1 and event["previous_hash"] is not None:
                self._report("link", place, "Event 1 names a predecessor.")
            return
        if event["sequence"] != previous["sequence"] + 1:
            self._report("gap", place, f"Events between {previous['sequence']} and {place} are missing.")
        if event["previous_hash"] != previous["hash"]:
            self._report("link", place, f"Event {place} does not follow from the event before it.")

    def _check_continuity(self, event: Event) -> None:
        subject, action = event["subject"], event["action"]
        if action == RECONCILE:
            self._drift.pop(subject, None)
            self._acknowledged.update(item["id"] for item in event["failed_checks"] or ())
        elif action == DRIFT:
            self._drift[subject] = event
        known = self.newest_by_subject.get(subject)
        if event["after"] is None or subject == DEPLOY:
            return
        if known is not None and event["before"] != known["after"]:
            place = str(event["sequence"])
            self._report("before", place, f"Event {place} does not start from the state that was recorded before it.")
        self.newest_by_subject[subject] = event

    def _report(self, code: str, place: str, detail: str) -> None:
        self._problems.append(Problem(code, place, detail))

    def finish(self, *, head: str | None, records: Mapping[str, Mapping[str, Any] | None]) -> list[Problem]:
        """Compare the end of the chain with `go_live_state.event_head` and the rows (`record_of`, None if missing).

        Returns every problem that no reconcile has dealt with.
        """
        problems = [problem for problem in self._problems if problem.key not in self._acknowledged]
        newest_hash = self.newest["hash"] if self.newest is not None else None
        if newest_hash is None:
            problems.append(Problem("head", "none", "There are no events. Run `manage.py migrate`."))
        elif head != newest_hash:
            problems.append(Problem("head", newest_hash, "event_head is not the hash of the newest event."))
        for subject, record in records.items():
            event = self.newest_by_subject.get(subject)
            if record is None:
                problems.append(Problem("row", subject, f"Row 1 of {subject} is missing."))
            elif event is None:
                problems.append(Problem("row", subject, f"No event records the row of {subject}."))
            elif event["after"] != record:
                columns = ", ".join(sorted(k for k, v in record.items() if event["after"].get(k) != v)) or "columns"
                problems.append(Problem("row", subject, f"{subject} was changed behind the controls ({columns})."))
            elif subject in self._drift:
                problems.append(
                    Problem("row", subject, f"{subject} was changed behind the controls and not reconciled.")
                )
        return problems
