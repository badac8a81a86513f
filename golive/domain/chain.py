"""The hash chain of events: each holds the hash of the one before, so that history cannot be rewritten unnoticed.

An event is a mapping of the columns below to JSON values (times as RFC 3339 text), exactly as the history endpoint
serves it, so that every hash can be recomputed from the endpoint's output.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from golive.domain.rows import API_TOKEN, ROW_SUBJECTS
from golive.domain.sense import find_contradictions

# Version 2 adds the salt, so that an event's public hash confirms no guess at its contents.
HASH_VERSION = 2
SALT_BYTES = 16
KNOWN_VERSIONS = (1, HASH_VERSION)
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
    "salt",
    "hash_version",
    "previous_hash",
)
DRIFT = "drift"
RECONCILE = "reconcile"

# The codes of problems in the chain itself, which a reconcile can acknowledge.
CHAIN_PROBLEMS = ("hash", "link", "gap", "before", "sense")

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Problem:
    """One inconsistency: its code, its place, and a sentence.

    `reconcile` resolves a `row` or `head` problem, revocation that of a token, recreating it that of a trigger. A
    problem in the chain stays in the event log; a later reconcile that names its `key` acknowledges it.
    `evidence` identifies the particular alteration: a different alteration is a different problem.
    """

    code: str
    place: str
    detail: str
    evidence: str = ""

    @property
    def key(self) -> str:
        return f"{self.code}:{self.place}" + (f"@{self.evidence}" if self.evidence else "")


def hash_event(event: Event) -> str:
    """SHA-256, in hexadecimal, over the canonical JSON (sorted keys, no spaces, UTF-8) of every column but `hash`.

    The salt is omitted if there is none, as in version 1; whether a later event must have one is checked elsewhere
    (`golive.domain.sense`).
    """
    is_unsalted = event.get("salt") is None
    values = {name: event[name] for name in COLUMNS if not (name == "salt" and is_unsalted)}
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


class ChainVerifier:
    """Walks events from oldest to newest and collects problems; holds one event per subject, never the whole chain."""

    def __init__(self) -> None:
        self.count = 0
        self.newest: Event | None = None
        self.newest_by_subject: dict[str, Event] = {}
        # The newest event of each token, by the token's prefix.
        self._tokens: dict[str, Event] = {}
        self._problems: list[Problem] = []
        self._drift: dict[str, Event] = {}
        # By key: the sequence of the newest sound reconcile that names it.
        self._acknowledged: dict[str, int] = {}
        self._is_partial = False

    def assume(self, events: Iterable[Event]) -> None:
        """Trust older events, so that a check of the newest part knows each row's earlier state and drift."""
        self._is_partial = True
        for event in events:
            if event["action"] == DRIFT:
                self._drift[event["subject"]] = event
            if event["after"] is not None:
                self.newest_by_subject[event["subject"]] = event

    def feed(self, events: Iterable[Event]) -> None:
        """Take the next events in ascending order of `sequence`."""
        for event in events:
            is_sound = self._check_link(event)
            self._check_sense(event)
            self._check_continuity(event)
            if is_sound and event["action"] == RECONCILE:
                self._acknowledge(event)
            self.newest = event
            self.count += 1

    def _check_link(self, event: Event) -> bool:
        """Report problems with the event's hash and links; returns whether the event itself is unaltered."""
        place, computed = str(event["sequence"]), hash_event(event)
        if event["hash_version"] not in KNOWN_VERSIONS:
            why = "has a hash_version that this release does not know: it was altered, or a newer release wrote it"
            self._report("hash", place, f"Event {place} {why}.", computed)
        elif event["hash"] != computed:
            self._report("hash", place, f"Event {place} does not match its hash: it was altered.", computed)
        previous = self.newest
        if previous is None:
            if event["sequence"] == 1 and event["previous_hash"] is not None:
                self._report("link", place, "Event 1 names a predecessor.", computed)
            elif event["sequence"] != 1 and not self._is_partial:
                self._report("gap", place, f"The events before {place} are missing.", computed)
        else:
            # Of both events: with a different predecessor it is a different break.
            joint = hashlib.sha256(f"{previous['hash']} {computed}".encode()).hexdigest()
            if event["sequence"] != previous["sequence"] + 1:
                self._report("gap", place, f"Events between {previous['sequence']} and {place} are missing.", joint)
            if event["previous_hash"] != previous["hash"]:
                self._report("link", place, f"Event {place} does not follow from the event before it.", joint)
        return bool(event["hash"] == computed)

    def _check_sense(self, event: Event) -> None:
        contradictions = find_contradictions(event)
        if contradictions:
            place = str(event["sequence"])
            detail = f"Event {place} contradicts itself: {'; '.join(contradictions)}."
            self._report("sense", place, detail, hash_event(event))

    def _acknowledge(self, event: Event) -> None:
        problems = event["failed_checks"]
        for item in problems if isinstance(problems, list) else ():
            if isinstance(item, Mapping) and isinstance(item.get("id"), str):
                self._acknowledged[item["id"]] = event["sequence"]

    def _check_continuity(self, event: Event) -> None:
        subject, action = event["subject"], event["action"]
        if action == RECONCILE:
            self._drift.pop(subject, None)
        elif action == DRIFT:
            self._drift[subject] = event
        last = self.newest_by_subject.get(subject)
        if subject == API_TOKEN:
            values = event["before"] if event["after"] is None else event["after"]
            if isinstance(values, Mapping) and isinstance(values.get("prefix"), str):
                self._tokens[values["prefix"]] = event
        if event["after"] is None or subject not in ROW_SUBJECTS:
            return
        if last is not None and event["before"] != last["after"]:
            place = str(event["sequence"])
            detail = f"Event {place} does not start from the state that was recorded before it."
            self._report("before", place, detail, hash_event(event))
        self.newest_by_subject[subject] = event

    def _report(self, code: str, place: str, detail: str, evidence: str) -> None:
        self._problems.append(Problem(code, place, detail, evidence[:16]))

    def _is_acknowledged(self, problem: Problem) -> bool:
        """Whether a later event acknowledges it: an altered event must not be able to excuse itself."""
        return self._acknowledged.get(problem.key, 0) > int(problem.place)

    def finish(
        self,
        *,
        head: str | None,
        records: Mapping[str, Mapping[str, Any] | None],
        tokens: Iterable[Mapping[str, Any]] = (),
    ) -> list[Problem]:
        """Compare the end of the chain with `go_live_state.event_head` and the rows (`record_of`, None if missing).

        `tokens` are those not revoked, in the form that their events use; one without an event predates token events.
        Returns every problem that no reconcile has dealt with.
        """
        problems = [problem for problem in self._problems if not self._is_acknowledged(problem)]
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
                after = event["after"] if isinstance(event["after"], Mapping) else {}
                columns = ", ".join(sorted(name for name in record if after.get(name) != record[name])) or "columns"
                problems.append(Problem("row", subject, f"{subject} was changed behind the controls ({columns})."))
            elif subject in self._drift:
                problems.append(
                    Problem("row", subject, f"{subject} was changed behind the controls and not reconciled.")
                )
        return [*problems, *self._compare_tokens(tokens)]

    def _compare_tokens(self, tokens: Iterable[Mapping[str, Any]]) -> Iterator[Problem]:
        for token in tokens:
            event = self._tokens.get(token["prefix"])
            if event is None:
                continue
            remedy = "It was altered by SQL; revoke it."
            if event["after"] is None:
                detail = (
                    f"The token {token['name']} is revoked according to the event log, but not in its row. {remedy}"
                )
                yield Problem("token", token["prefix"], detail)
            elif event["after"] != token:
                detail = f"The token {token['name']} is not as event {event['sequence']} made it. {remedy}"
                yield Problem("token", token["prefix"], detail)
