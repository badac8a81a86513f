"""Whether an event is plausible: whether its action is consistent with the row before and after it.

A hash proves that an event was not altered; only this check tells whether the table of changes in
`golive.domain.changes` allows it. `golive/verify_record.py` duplicates these rules; a test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from golive.domain.changes import COMPLETE, DISABLE, EDIT, ENABLE, ENGAGE, LEASE, RELEASE, REOPEN
from golive.domain.rows import API_TOKEN, GO_LIVE_STATE, SYSTEM_METADATA

Event = Mapping[str, Any]
Row = Mapping[str, Any]

SALTED_VERSION = 2
_SALT = re.compile(r"[0-9a-f]{32}", re.ASCII)
# The columns that are a row's state. The rest (who, why, when, revision) may differ with any change.
_VALUES: dict[str, tuple[str, ...]] = {
    GO_LIVE_STATE: ("go_live_enabled", "kill_switch_engaged", "lease_ms"),
    SYSTEM_METADATA: ("version", "backend_complete", "notes", "completed_at"),
}
# The columns that each change may alter, and the values that must be set afterwards.
_MAY_ALTER: dict[tuple[str, str], tuple[str, ...]] = {
    (GO_LIVE_STATE, ENGAGE.name): ("kill_switch_engaged",),
    (GO_LIVE_STATE, RELEASE.name): ("kill_switch_engaged",),
    (GO_LIVE_STATE, ENABLE.name): ("go_live_enabled",),
    (GO_LIVE_STATE, DISABLE.name): ("go_live_enabled",),
    (GO_LIVE_STATE, LEASE.name): ("lease_ms",),
    (SYSTEM_METADATA, COMPLETE.name): ("version", "notes", "backend_complete", "completed_at"),
    (SYSTEM_METADATA, REOPEN.name): ("backend_complete", "completed_at"),
    (SYSTEM_METADATA, EDIT.name): ("version", "notes"),
}
_LEAVES: dict[str, dict[str, bool]] = {
    ENGAGE.name: {"kill_switch_engaged": True},
    RELEASE.name: {"kill_switch_engaged": False},
    ENABLE.name: {"go_live_enabled": True},
    DISABLE.name: {"go_live_enabled": False},
    COMPLETE.name: {"backend_complete": True},
    REOPEN.name: {"backend_complete": False},
}
# Repeating one of these changes nothing but the revision, which rises so that a release that has not seen it fails.
_TOWARD_SAFE = (ENGAGE.name, DISABLE.name, REOPEN.name)
_GUARDED = (RELEASE.name, ENABLE.name)
_FIRST = {"seed": True, "adopt": False}
_SEEDED = {
    GO_LIVE_STATE: {"go_live_enabled": False, "kill_switch_engaged": True},
    SYSTEM_METADATA: {"backend_complete": False},
}


def find_contradictions(event: Event) -> tuple[str, ...]:
    """The contradictions within one event, each as a clause; never fails, whatever the columns hold.

    Unknown actions and subjects (of a newer release) may do anything but alter a row's state.
    """
    return (*_check_salt(event), *_check_override(event), *_check_effect(event))


def _check_salt(event: Event) -> Iterator[str]:
    salt = event.get("salt")
    if event["hash_version"] == SALTED_VERSION and not (isinstance(salt, str) and _SALT.fullmatch(salt)):
        yield "it has no salt"


def _check_override(event: Event) -> Iterator[str]:
    if event["override"] is False:
        return
    if event["override"] is not True or event["action"] not in _GUARDED:
        yield f"{event['action']} cannot override the checklist"
    elif not isinstance(event["failed_checks"], list) or not event["failed_checks"]:
        yield "it overrides the checklist and names nothing that failed"


def _check_effect(event: Event) -> Iterator[str]:
    if event["changed"] is not True and event["changed"] is not False:
        yield "it does not say whether something changed"
    elif event["subject"] == API_TOKEN:
        yield from _check_token(event["action"], event["before"], event["after"])
    elif event["subject"] in _VALUES:
        yield from _check_row(event)


def _check_row(event: Event) -> Iterator[str]:
    subject, action = event["subject"], event["action"]
    before, after, changed = event["before"], event["after"], event["changed"]
    if action in _FIRST:
        yield from _check_first(event)
    elif action in ("drift", "reconcile"):
        # Both record a change made behind the controls, so anything may have changed.
        if changed is not (before != after):
            yield "its `changed` does not agree with before and after"
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        may_alter = _MAY_ALTER.get((subject, action))
        if may_alter is None:
            altered = _find_altered(before, after, _VALUES[subject])
            if altered:
                yield f"{action} cannot alter {', '.join(altered)}"
        else:
            yield from _check_change(event, before, after, may_alter)
    elif (subject, action) in _MAY_ALTER:
        yield "it does not say what the row was before and after"


def _check_token(action: str, before: Any, after: Any) -> Iterator[str]:
    expected = {"create": (False, True), "revoke": (True, False)}.get(action)
    if expected is not None and expected != (isinstance(before, Mapping), isinstance(after, Mapping)):
        yield f"{action} of a token does not agree with before and after"


def _check_first(event: Event) -> Iterator[str]:
    after, action = event["after"], event["action"]
    if event["before"] is not None or not isinstance(after, Mapping) or event["changed"] is not _FIRST[action]:
        yield f"it is not what {action} writes"
    elif action == "seed":
        wrong = [name for name, value in _SEEDED[event["subject"]].items() if after.get(name, value) is not value]
        if wrong:
            yield f"seed cannot set {', '.join(wrong)}"


def _check_change(event: Event, before: Row, after: Row, may_alter: tuple[str, ...]) -> Iterator[str]:
    subject, action, changed = event["subject"], event["action"], event["changed"]
    altered = _find_altered(before, after, _VALUES[subject])
    forbidden = [name for name in altered if name not in may_alter]
    if forbidden:
        yield f"{action} cannot alter {', '.join(forbidden)}"
    for name, value in _LEAVES.get(action, {}).items():
        if after.get(name) is not value:
            yield f"{action} cannot leave {name} as {after.get(name)!r:.20}"
    if changed and not altered:
        yield "it says that something changed, and nothing did"
    if not changed and altered:
        yield f"it says that nothing changed, and {', '.join(altered)} did"
    yield from _check_revision(action, changed, before, after)
    if action in (COMPLETE.name, REOPEN.name):
        yield from _check_completed_at(before, after)


def _check_revision(action: str, changed: bool, before: Row, after: Row) -> Iterator[str]:
    old, new = before.get("revision"), after.get("revision")
    if type(old) is not int or type(new) is not int:
        yield "it does not say the revision before and after"
    elif new < old:
        yield f"its revision goes down, from {old} to {new}"
    elif changed and new == old:
        yield "it changes the row and keeps the revision"
    elif not changed and action not in _TOWARD_SAFE and before != after:
        yield "it says that nothing changed, and the row did"


def _check_completed_at(before: Row, after: Row) -> Iterator[str]:
    moment = after.get("completed_at")
    if before.get("backend_complete") == after.get("backend_complete"):
        if moment != before.get("completed_at"):
            yield "it alters completed_at and not backend_complete"
    elif (moment is not None) is not (after.get("backend_complete") is True):
        yield "its completed_at does not agree with backend_complete"


def _find_altered(before: Row, after: Row, names: tuple[str, ...]) -> list[str]:
    missing = object()
    return [name for name in names if before.get(name, missing) != after.get(name, missing)]
