"""Verify an exported event log offline: one file, which needs Python 3.9 or newer and nothing else.

    manage.py golive history --export record.jsonl          # where the service is
    python verify_record.py record.jsonl --head-file heads.txt     # on any other machine

Recomputes every hash and link, looks for gaps and for events that contradict themselves, and looks up each head that
was saved earlier (`event_head` of a log line or of /api/governance/go-live/state). A saved head that is not in the log
proves that after it was saved the log was rewritten or restored to an earlier time.

Exit code 0: sound; 1: not; 2: the input cannot be used. The rules are those of `golive.domain.chain` and
`golive.domain.sense`, duplicated on purpose: this file trusts no code of the service that it checks.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

SOUND, NOT_SOUND, UNUSABLE = 0, 1, 2
MAX_LINE = 4_000_000
_HEAD = re.compile(r"[0-9a-f]{64}")
_NAMED_HEAD = re.compile(r"event_head\W{1,8}([0-9a-f]{64})(?![0-9a-f])")
_SALT = re.compile(r"[0-9a-f]{32}")
_COLUMNS = (
    *("sequence", "at", "actor", "user_id", "on_behalf_of", "channel", "subject", "action", "reason", "changed"),
    *("override", "before", "after", "failed_checks", "request_id", "remote_addr", "hash_version", "previous_hash"),
)
_SALTED_COLUMNS = (*_COLUMNS, "salt")
_VALUES = {
    "go_live_state": ("go_live_enabled", "kill_switch_engaged", "lease_ms"),
    "system_metadata": ("version", "backend_complete", "notes", "completed_at"),
}
# For each change: the values that it may alter, and those that the row must have afterwards.
_CHANGES: dict[tuple[str, str], tuple[tuple[str, ...], dict[str, bool]]] = {
    ("go_live_state", "engage"): (("kill_switch_engaged",), {"kill_switch_engaged": True}),
    ("go_live_state", "release"): (("kill_switch_engaged",), {"kill_switch_engaged": False}),
    ("go_live_state", "enable"): (("go_live_enabled",), {"go_live_enabled": True}),
    ("go_live_state", "disable"): (("go_live_enabled",), {"go_live_enabled": False}),
    ("go_live_state", "lease"): (("lease_ms",), {}),
    ("system_metadata", "complete"): (
        ("version", "notes", "backend_complete", "completed_at"),
        {"backend_complete": True},
    ),
    ("system_metadata", "reopen"): (("backend_complete", "completed_at"), {"backend_complete": False}),
    ("system_metadata", "edit"): (("version", "notes"), {}),
}
_SEEDED = {
    "go_live_state": {"go_live_enabled": False, "kill_switch_engaged": True},
    "system_metadata": {"backend_complete": False},
}
_MISSING = object()

Event = dict[str, Any]
Fault = tuple[str, str]  # the key by which a reconcile refers to it, and a sentence


class UnusableInputError(Exception):
    """The input is not an event log, or cannot be read."""


def hash_event(event: Event) -> str:
    """SHA-256 over the canonical JSON of every column but `hash`; the salt is omitted if there is none."""
    is_unsalted = event.get("salt") is None
    values = {name: event[name] for name in (_COLUMNS if is_unsalted else _SALTED_COLUMNS)}
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


class Verifier:
    """Takes events in order of `sequence`; holds one event per table, never the whole log."""

    def __init__(self, heads: Iterable[str] = ()) -> None:
        self.count = 0
        self.missing_heads = set(heads)
        self._previous: Event | None = None
        self._newest: dict[str, Event] = {}
        self._drifted: set[str] = set()
        self._faults: list[tuple[int, str, str]] = []
        self._acknowledged: dict[str, int] = {}

    def feed(self, event: Event) -> None:
        """Check the next event. Raises UnusableInputError if it is not an event at all."""
        sequence = event.get("sequence")
        if type(sequence) is not int or not isinstance(event.get("hash"), str):
            raise UnusableInputError("it is not an event: sequence or hash is missing")
        try:
            computed = hash_event(event)
        except (KeyError, ValueError, TypeError, RecursionError) as error:
            raise UnusableInputError(f"it is no event: {_show(error)}") from error
        is_sound = self._check_links(event, computed)
        contradictions = list(find_contradictions(event))
        if contradictions:
            self._report(event, "sense", f"contradicts itself: {'; '.join(contradictions)}", computed)
        self._check_continuity(event, computed)
        if is_sound and event["action"] == "reconcile":
            self._acknowledge(event)
        # Compare with the computed hash: the stored one could be anything.
        self.missing_heads.discard(computed)
        self._previous = event
        self.count += 1

    def finish(self) -> list[Fault]:
        """The faults that no later reconcile has acknowledged."""
        faults = [(key, text) for place, key, text in self._faults if self._acknowledged.get(key, 0) <= place]
        if not self.count:
            faults.append(("head:none", "There are no events."))
        drift = "was changed behind the controls and not reconciled."
        return faults + [(f"row:{subject}", f"{subject} {drift}") for subject in sorted(self._drifted)]

    @property
    def head(self) -> str | None:
        return None if self._previous is None else str(self._previous["hash"])

    def _check_links(self, event: Event, computed: str) -> bool:
        sequence, previous = event["sequence"], self._previous
        if event["hash_version"] not in (1, 2):
            self._report(event, "hash", "has a hash_version that is not known", computed)
        elif event["hash"] != computed:
            self._report(event, "hash", "does not match its hash: it was altered", computed)
        if previous is None:
            if sequence == 1 and event["previous_hash"] is not None:
                self._report(event, "link", "names a predecessor", computed)
            elif sequence != 1:
                self._report(event, "gap", "is not the first: those before it are missing", computed)
        else:
            joint = hashlib.sha256(f"{previous['hash']} {computed}".encode("utf-8", "replace")).hexdigest()
            if sequence != previous["sequence"] + 1:
                self._report(event, "gap", f"does not come next after {previous['sequence']}", joint)
            if event["previous_hash"] != previous["hash"]:
                self._report(event, "link", "does not follow from the event before it", joint)
        return bool(event["hash"] == computed)

    def _acknowledge(self, event: Event) -> None:
        faults = event["failed_checks"]
        for item in faults if isinstance(faults, list) else ():
            if isinstance(item, dict) and isinstance(item.get("id"), str):
                self._acknowledged[item["id"]] = event["sequence"]

    def _check_continuity(self, event: Event, computed: str) -> None:
        subject = event["subject"]
        if not isinstance(subject, str) or subject not in _VALUES:
            return
        if event["action"] == "reconcile":
            self._drifted.discard(subject)
        elif event["action"] == "drift":
            self._drifted.add(subject)
        if event["after"] is None:
            return
        last = self._newest.get(subject)
        if last is not None and event["before"] != last["after"]:
            self._report(event, "before", "does not start from the state that was recorded before it", computed)
        self._newest[subject] = event

    def _report(self, event: Event, code: str, what: str, evidence: str) -> None:
        sequence = event["sequence"]
        key = f"{code}:{sequence}@{evidence[:16]}"
        self._faults.append((sequence, key, f"Event {sequence} {what}."))


def find_contradictions(event: Event) -> Iterator[str]:
    """The contradictions within one event, each as a clause."""
    salt, override, changed = event.get("salt"), event["override"], event["changed"]
    subject, action, before, after = event["subject"], event["action"], event["before"], event["after"]
    if event["hash_version"] == 2 and not (isinstance(salt, str) and _SALT.fullmatch(salt)):
        yield "it has no salt"
    if override is not False:
        if override is not True or action not in ("release", "enable"):
            yield "it cannot override the checklist"
        elif not isinstance(event["failed_checks"], list) or not event["failed_checks"]:
            yield "it overrides the checklist and names nothing that failed"
    if changed is not True and changed is not False:
        yield "it does not say whether something changed"
    elif subject == "api_token":
        expected = {"create": (False, True), "revoke": (True, False)}.get(str(action))
        if expected is not None and expected != (isinstance(before, dict), isinstance(after, dict)):
            yield "it does not agree with before and after"
    elif isinstance(subject, str) and subject in _VALUES:
        yield from _check_row(subject, str(action), before, after, changed)


def _check_row(subject: str, action: str, before: Any, after: Any, changed: bool) -> Iterator[str]:
    if action in ("seed", "adopt"):
        if before is not None or not isinstance(after, dict) or changed is not (action == "seed"):
            yield f"it is not what {action} writes"
        elif action == "seed" and any(after.get(name, value) is not value for name, value in _SEEDED[subject].items()):
            yield "seed sets the safe values only"
    elif action in ("drift", "reconcile"):
        if changed is not (before != after):
            yield "its `changed` does not agree with before and after"
    elif isinstance(before, dict) and isinstance(after, dict):
        yield from _check_change(subject, action, before, after, changed)
    elif (subject, action) in _CHANGES:
        yield "it does not say what the row was before and after"


def _check_change(subject: str, action: str, before: Event, after: Event, changed: bool) -> Iterator[str]:
    altered = [name for name in _VALUES[subject] if before.get(name, _MISSING) != after.get(name, _MISSING)]
    may_alter, leaves = _CHANGES.get((subject, action), ((), None))
    forbidden = [name for name in altered if name not in may_alter]
    if forbidden:
        yield f"{action} cannot alter {', '.join(forbidden)}"
    if leaves is None:
        return
    if any(after.get(name) is not value for name, value in leaves.items()):
        yield f"{action} cannot leave that behind"
    if changed is not bool(altered):
        yield f"it says {'changed' if changed else 'not changed'}, but before and after disagree"
    yield from _check_stamps(action, before, after, changed)


def _check_stamps(action: str, before: Event, after: Event, changed: bool) -> Iterator[str]:
    old, new = before.get("revision"), after.get("revision")
    if type(old) is not int or type(new) is not int:
        yield "it does not say the revision before and after"
    elif new < old or (changed and new == old):
        yield f"its revision goes from {old} to {new}"
    elif not changed and action not in ("engage", "disable", "reopen") and before != after:
        yield "it says that nothing changed, and the row did"
    if action in ("complete", "reopen"):
        moment = after.get("completed_at")
        if before.get("backend_complete") == after.get("backend_complete"):
            if moment != before.get("completed_at"):
                yield "it alters completed_at and not backend_complete"
        elif (moment is not None) is not (after.get("backend_complete") is True):
            yield "its completed_at does not agree with backend_complete"


def read_events(lines: Iterable[str]) -> Iterator[tuple[int, Event]]:
    """The events, each with its line number. Raises UnusableInputError."""
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE:
            raise UnusableInputError(f"line {number} is too long")
        if not line.strip():
            continue
        try:
            event = json.loads(line, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise UnusableInputError(f"line {number} is no JSON") from error
        if not isinstance(event, dict):
            raise UnusableInputError(f"line {number} is no event")
        yield number, event


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def read_heads(lines: Iterable[str]) -> Iterator[str]:
    """The heads in log lines, in responses of the state endpoint, or alone on a line."""
    for line in lines:
        if _HEAD.fullmatch(line.strip()):
            yield line.strip()
        for match in _NAMED_HEAD.finditer(line):
            yield match.group(1)


def verify(lines: Iterable[str], heads: Iterable[str], out: TextIO) -> int:
    """Verify an event log and write the findings; returns the exit code. Raises UnusableInputError."""
    verifier, saved = Verifier(heads), set(heads)
    for number, event in read_events(lines):
        try:
            verifier.feed(event)
        except UnusableInputError as error:
            raise UnusableInputError(f"line {number}: {error}") from error
    faults = verifier.finish()
    faults += [("head", f"The kept head {head} is not in the record.") for head in sorted(verifier.missing_heads)]
    out.writelines(f"{_show(text)}\n" for _, text in faults)
    out.write(f"{verifier.count} events, {len(saved)} kept heads, {len(faults)} problems. ")
    out.write(f"The head is {_show(verifier.head or 'none')}.\n")
    return NOT_SOUND if faults else SOUND


def _show(text: object) -> str:
    """As ASCII on one line, so that no text of the log can pass for output of this program."""
    return str(text).encode("unicode_escape").decode("ascii")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Verify an exported record. Exit code 0 sound, 1 not, 2 unusable input."
    )
    parser.add_argument("record", help="JSON lines, as `golive history --export` writes them; - for standard input")
    parser.add_argument("--head", action="append", default=[], help="an event_head that was kept; may be repeated")
    parser.add_argument("--head-file", action="append", default=[], help="a file with kept heads, such as a log")
    options = parser.parse_args(arguments)
    try:
        heads = set(options.head)
        if not all(_HEAD.fullmatch(head) for head in heads):
            raise UnusableInputError("--head takes 64 hexadecimal digits")
        for name in options.head_file:
            with Path(name).open(encoding="utf-8", errors="replace") as file:
                heads_in_file = set(read_heads(file))
            if not heads_in_file:
                raise UnusableInputError(f"{name} holds no head")
            heads |= heads_in_file
        if options.record == "-":
            return verify(sys.stdin, heads, sys.stdout)
        with Path(options.record).open(encoding="utf-8") as file:
            return verify(file, heads, sys.stdout)
    except (UnusableInputError, OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"verify_record: {_show(error)}\n")
        return UNUSABLE


if __name__ == "__main__":
    sys.exit(main())
