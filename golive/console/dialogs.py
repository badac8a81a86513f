"""The dialogs of the operator console: one per change, generated from the table of changes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from django.http import QueryDict

from golive.domain.changes import CHANGES, OVERRIDE_PERMISSION, Change, Direction, can_apply
from golive.domain.checklist import CheckResult
from golive.domain.effects import is_in_effect
from golive.domain.errors import ChecklistFailedError, GoLiveError, InvalidRequestError
from golive.domain.reasons import MAX_NAME_LENGTH, MAX_NOTES_LENGTH, MAX_REASON_LENGTH
from golive.domain.rows import GoLiveRow, SystemRow

LIMITS = {"reason": MAX_REASON_LENGTH, "version": MAX_NAME_LENGTH, "notes": MAX_NOTES_LENGTH}


@dataclass(frozen=True)
class Dialog:
    """The template context of one change.

    `values` and `faults` are keyed by field. `failed` are the checks that refused the change, `problem` is any other
    error. `overridable` are the failing checks that the user may override, `overridden` the ids that were ticked.
    """

    change: Change
    is_permitted: bool
    is_in_effect: bool
    is_open: bool
    overridable: tuple[CheckResult, ...]
    overridden: frozenset[str]
    revision: int | None
    values: Mapping[str, str]
    faults: Mapping[str, str]
    failed: tuple[CheckResult, ...]
    problem: str

    @property
    def limits(self) -> Mapping[str, int]:
        return LIMITS

    @property
    def is_safe(self) -> bool:
        return self.change.direction is Direction.SAFE

    @property
    def is_live(self) -> bool:
        return self.change.direction is Direction.LIVE


def make_dialogs(
    subject: str,
    permissions: Collection[str],
    row: GoLiveRow | SystemRow | None,
    *,
    failing: Collection[CheckResult],
    opened: str | None,
    posted: QueryDict,
    error: GoLiveError | None,
) -> list[Dialog]:
    """One dialog per change of a subject; `opened` names the open one, `error` is why its change failed.

    `failing` are the required checks that fail when the page is rendered.
    """
    return [
        _make_dialog(change, permissions, row, failing, posted=posted, error=error, is_open=change.name == opened)
        for change in CHANGES.values()
        if change.subject == subject
    ]


def _make_dialog(
    change: Change,
    permissions: Collection[str],
    row: GoLiveRow | SystemRow | None,
    failing: Collection[CheckResult],
    *,
    posted: QueryDict,
    error: GoLiveError | None,
    is_open: bool,
) -> Dialog:
    values = dict.fromkeys(("reason", *change.takes), "")
    if isinstance(row, SystemRow):
        values.update({name: getattr(row, name) or "" for name in change.takes})
    if is_open and error is not None:
        values.update({name: str(posted.get(name, "")) for name in values})
    faults = {fault.field: fault.message for fault in error.errors} if isinstance(error, InvalidRequestError) else {}
    return Dialog(
        change=change,
        is_permitted=can_apply(change, permissions),
        is_in_effect=row is not None and is_in_effect(change, row),
        is_open=is_open,
        overridable=tuple(failing) if change.is_guarded and OVERRIDE_PERMISSION in permissions else (),
        overridden=frozenset(posted.getlist("override")) if is_open and error is not None else frozenset(),
        revision=row.revision if row is not None else None,
        values=values,
        faults=faults if is_open else {},
        failed=error.failed if is_open and isinstance(error, ChecklistFailedError) else (),
        problem=_describe_problem(error) if is_open and error is not None else "",
    )


def _describe_problem(error: GoLiveError) -> str:
    """The detail of an error, unless the lists of faults or failing checks already show it."""
    return "" if isinstance(error, InvalidRequestError | ChecklistFailedError) else error.detail


def read_form(change: Change, posted: QueryDict) -> tuple[str, dict[str, object]]:
    """The reason and the other fields of a submitted dialog, as `golive.controls` expects them.

    Browsers send line breaks as CR LF; a CR would be an invalid control character in a reason.
    """
    texts = {name: str(posted[name]).replace("\r\n", "\n") for name in ("reason", *change.takes) if name in posted}
    fields: dict[str, object] = {name: text for name, text in texts.items() if name != "reason"}
    if change.is_guarded and "override" in posted:
        fields["override"] = posted.getlist("override")
    revision = str(posted.get("expected_revision", ""))
    if change.direction is not Direction.SAFE and revision:
        is_number = revision.isascii() and revision.isdigit() and len(revision) < 20
        fields["expected_revision"] = int(revision) if is_number else revision
    return texts.get("reason", ""), fields
