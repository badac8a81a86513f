"""What a change does: computes the rows after it from the rows and the request, step by step. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import datetime

from golive.domain.changes import COMPLETE, DISABLE, EDIT, ENABLE, ENGAGE, LEASE, RELEASE, REOPEN, Change, Direction
from golive.domain.checklist import CheckResult, Severity
from golive.domain.errors import RecordedChange, RevisionMismatchError, StateUnknownError
from golive.domain.requests import ChangeRequest
from golive.domain.rows import GO_LIVE_STATE, GoLiveRow, Rows, SystemRow

BACKEND_COMPLETE = "backend_complete"
REOPENED_REASON = "The backend was reopened."

# The columns that say who changed a row, when and why; they are not part of its state.
_STAMPS = frozenset({"changed_by", "reason", "updated_at", "revision"})
_SWITCHES: dict[str, dict[str, bool]] = {
    ENGAGE.name: {"kill_switch_engaged": True},
    RELEASE.name: {"kill_switch_engaged": False},
    ENABLE.name: {"go_live_enabled": True},
    DISABLE.name: {"go_live_enabled": False},
}


@dataclass(frozen=True)
class Step:
    """One row before and after, and the event that records it. A step that changes nothing is recorded too.

    Toward safe, such a step still raises the row's revision and sets its reason, so that an operator who has not seen
    it cannot go toward live: `changed` is then False although `before` and `after` differ.
    """

    action: str
    subject: str
    before: GoLiveRow | SystemRow
    after: GoLiveRow | SystemRow
    reason: str

    @property
    def changed(self) -> bool:
        """Whether the row's state differs, apart from who touched it, when and why."""
        names = {field.name for field in fields(self.before)} - _STAMPS
        return any(getattr(self.before, name) != getattr(self.after, name) for name in names)


def check_revision(
    change: Change,
    rows: Rows,
    request: ChangeRequest,
    *,
    find_change: Callable[[GoLiveRow | SystemRow], RecordedChange | None],
) -> None:
    """Raise RevisionMismatchError if the row is not the one that the requester saw. Never refuses a stop.

    `find_change` finds out who gave the row its revision; it is called only for the error.
    """
    if change.direction is Direction.SAFE or request.expected_revision is None:
        return
    current = row_of(rows, change.subject)
    if current.revision != request.expected_revision:
        raise RevisionMismatchError(
            expected=request.expected_revision, current=current, last_change=find_change(current)
        )


def judge_backend(system: SystemRow | None) -> CheckResult:
    """The checklist item that depends on the rows alone; evaluated before the locks and again under them."""
    ok = system is not None and system.backend_complete is True
    detail = "The backend is marked complete." if ok else "Mark the backend complete first."
    return CheckResult(BACKEND_COMPLETE, ok, Severity.BLOCKER, "The backend is complete", detail)


def row_of(rows: Rows, subject: str) -> GoLiveRow | SystemRow:
    """The row of one table; raises StateUnknownError if it is missing."""
    row = rows.go_live if subject == GO_LIVE_STATE else rows.system
    if row is None:
        raise StateUnknownError(f"Row 1 of {subject} is missing. Run `manage.py migrate`.")
    return row


def plan_steps(change: Change, rows: Rows, request: ChangeRequest, *, actor: str, now: datetime) -> tuple[Step, ...]:
    """The steps of a change, the requested one first; raises StateUnknownError if a row that it needs is missing.

    Reopening has a second step if the kill switch is released: an incomplete backend must not keep executing,
    whichever of a release and a reopen comes first.
    """
    before = row_of(rows, change.subject)
    if isinstance(before, GoLiveRow) and change is LEASE:
        after: GoLiveRow | SystemRow = _change_lease(before, request.lease_ms, now=now)
    elif isinstance(before, GoLiveRow):
        after = _change_go_live(change, before, actor=actor, reason=request.reason, now=now)
    else:
        after = _change_system(change, before, request, now=now)
    steps = [Step(change.name, change.subject, before, after, request.reason)]
    if change is REOPEN and rows.go_live is not None and not rows.go_live.kill_switch_engaged:
        reason = request.reason or REOPENED_REASON
        engaged = _change_go_live(ENGAGE, rows.go_live, actor=actor, reason=reason, now=now)
        steps.append(Step(ENGAGE.name, GO_LIVE_STATE, rows.go_live, engaged, reason))
    return tuple(steps)


def _change_go_live(change: Change, row: GoLiveRow, *, actor: str, reason: str, now: datetime) -> GoLiveRow:
    switches = _SWITCHES[change.name]
    after = replace(
        row,
        go_live_enabled=switches.get("go_live_enabled", row.go_live_enabled),
        kill_switch_engaged=switches.get("kill_switch_engaged", row.kill_switch_engaged),
    )
    if after == row and change.direction is not Direction.SAFE:
        return row
    return replace(after, changed_by=actor, reason=reason or None, updated_at=now, revision=row.revision + 1)


def _change_lease(row: GoLiveRow, lease_ms: int | None, *, now: datetime) -> GoLiveRow:
    """Actor and reason go to the event only: the row's own are those of the last change of a switch."""
    if lease_ms is None or lease_ms == row.lease_ms:
        return row
    return replace(row, lease_ms=lease_ms, updated_at=now, revision=row.revision + 1)


def _change_system(change: Change, row: SystemRow, request: ChangeRequest, *, now: datetime) -> SystemRow:
    after = row
    if change in (COMPLETE, EDIT):
        if request.version is not None:
            after = replace(after, version=request.version)
        if request.notes is not None:
            after = replace(after, notes=request.notes or None)
    if change is COMPLETE and not row.backend_complete:
        after = replace(after, backend_complete=True, completed_at=now)
    if change is REOPEN and row.backend_complete:
        after = replace(after, backend_complete=False, completed_at=None)
    if after == row and change.direction is not Direction.SAFE:
        return row
    return replace(after, updated_at=now, revision=row.revision + 1)


def is_in_effect(change: Change, row: GoLiveRow | SystemRow) -> bool:
    """Whether the state is already what the change would make it. Always False for an edit."""
    if isinstance(row, GoLiveRow):
        return all(getattr(row, name) is value for name, value in _SWITCHES[change.name].items())
    return {COMPLETE.name: row.backend_complete, REOPEN.name: not row.backend_complete}.get(change.name, False)
