"""The table of changes: each with its path, permission and guard. One rule holds everything: toward safe is always one
step; toward live is always guarded."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from golive.domain.errors import PermissionRequiredError
from golive.domain.rows import GO_LIVE_STATE, SYSTEM_METADATA, GoLiveRow, SystemRow


class Direction(StrEnum):
    """The direction of a change. NEUTRAL changes neither allow nor stop anything."""

    SAFE = "safe"
    LIVE = "live"
    NEUTRAL = "neutral"


class Channel(StrEnum):
    """The interface through which a change was requested."""

    ADMIN = "admin"
    API = "api"
    CLI = "cli"
    MIGRATION = "migration"


@dataclass(frozen=True)
class Change:
    """One row of the table. `is_guarded`: the checklist must pass or be overridden; `takes`: extra fields.

    `already` is the message when it is already in effect. `method` and `path` are empty for a change that cannot be
    made over HTTP.
    """

    name: str
    label: str
    consequence: str
    already: str
    subject: str
    method: str
    path: str
    permission: str
    direction: Direction
    is_reason_required: bool = False
    is_guarded: bool = False
    takes: tuple[str, ...] = ()


OVERRIDE_PERMISSION = "golive.override_checklist"
_GO_LIVE = "/api/governance/go-live"

ENGAGE = Change(
    name="engage",
    label="Engage the kill switch",
    consequence="Execution stops everywhere at once.",
    already="Already engaged.",
    subject=GO_LIVE_STATE,
    method="POST",
    path=f"{_GO_LIVE}/kill-switch/engage",
    permission="golive.engage_kill_switch",
    direction=Direction.SAFE,
)
DISABLE = Change(
    name="disable",
    label="Disable go-live",
    consequence="Execution stops everywhere at once.",
    already="Already disabled.",
    subject=GO_LIVE_STATE,
    method="POST",
    path=f"{_GO_LIVE}/disable",
    permission="golive.disable_go_live",
    direction=Direction.SAFE,
)
REOPEN = Change(
    name="reopen",
    label="Reopen the backend",
    consequence="The backend counts as incomplete, and a released kill switch is engaged: execution stops.",
    already="Already open.",
    subject=SYSTEM_METADATA,
    method="POST",
    path="/api/system/status/reopen",
    permission="golive.complete_backend",
    direction=Direction.SAFE,
)
RELEASE = Change(
    name="release",
    label="Release the kill switch",
    consequence="Execution is allowed as soon as go-live is enabled too.",
    already="Already released.",
    subject=GO_LIVE_STATE,
    method="POST",
    path=f"{_GO_LIVE}/kill-switch/release",
    permission="golive.release_kill_switch",
    direction=Direction.LIVE,
    is_reason_required=True,
    is_guarded=True,
)
ENABLE = Change(
    name="enable",
    label="Enable go-live",
    consequence="Execution is allowed as soon as the kill switch is released too.",
    already="Already enabled.",
    subject=GO_LIVE_STATE,
    method="POST",
    path=f"{_GO_LIVE}/enable",
    permission="golive.enable_go_live",
    direction=Direction.LIVE,
    is_reason_required=True,
    is_guarded=True,
)
COMPLETE = Change(
    name="complete",
    label="Mark the backend complete",
    consequence="The checklist item backend_complete holds from now on.",
    already="Already complete.",
    subject=SYSTEM_METADATA,
    method="POST",
    path="/api/system/status/complete",
    permission="golive.complete_backend",
    direction=Direction.LIVE,
    is_reason_required=True,
    takes=("version", "notes"),
)
EDIT = Change(
    name="edit",
    label="Edit version and notes",
    consequence="Nothing starts or stops.",
    already="Already as you asked.",
    subject=SYSTEM_METADATA,
    method="PATCH",
    path="/api/system/status",
    permission="golive.complete_backend",
    direction=Direction.NEUTRAL,
    takes=("version", "notes"),
)
# Not available over HTTP, so not in CHANGES: a longer lease delays every stop, so setting it takes a shell.
LEASE = Change(
    name="lease",
    label="Set the lease",
    consequence="A stop is acknowledged, and seen everywhere, after that time.",
    already="Already set.",
    subject=GO_LIVE_STATE,
    method="",
    path="",
    permission=RELEASE.permission,
    direction=Direction.NEUTRAL,
    takes=("lease_ms",),
)

CHANGES: dict[str, Change] = {
    change.name: change for change in (ENGAGE, DISABLE, REOPEN, RELEASE, ENABLE, COMPLETE, EDIT)
}
# The stop that each change toward live undoes.
STOP_OF: dict[str, Change] = {RELEASE.name: ENGAGE, ENABLE.name: DISABLE, COMPLETE.name: REOPEN}
ALL_PERMISSIONS = frozenset({change.permission for change in CHANGES.values()} | {OVERRIDE_PERMISSION})


@dataclass(frozen=True)
class Actor:
    """Who acts: always an authenticated identity, never a name from the request. `user_id`: None for programs."""

    name: str
    permissions: frozenset[str]
    user_id: int | None = None


@dataclass(frozen=True)
class Origin:
    """Where a request came from, as far as known."""

    request_id: str | None = None
    remote_addr: str | None = None


UNKNOWN_ORIGIN = Origin()


def can_apply(change: Change, permissions: Collection[str], *, override: bool = False) -> bool:
    """Whether these permissions allow the change (with `override`: past a failing checklist)."""
    return _missing_permission(change, permissions, override=override) is None


def check_can_apply(change: Change, permissions: Collection[str], *, override: bool = False) -> None:
    """As `can_apply`; raises PermissionRequiredError naming what is missing."""
    missing = _missing_permission(change, permissions, override=override)
    if missing is not None:
        raise PermissionRequiredError(missing)


def _missing_permission(change: Change, permissions: Collection[str], *, override: bool) -> str | None:
    if change.permission not in permissions:
        return change.permission
    if override and change.is_guarded and OVERRIDE_PERMISSION not in permissions:
        return OVERRIDE_PERMISSION
    return None


@dataclass(frozen=True)
class Acknowledgement:
    """A committed change. `changed` False: it was already in effect, and the request was recorded.

    The rows are as the change left them; `system` is None if the change does not concern it. `permits_outstanding`, for
    a change toward safe: how many permits granted before it are still held; None if unknown.
    """

    change: Change
    changed: bool
    go_live: GoLiveRow | None
    system: SystemRow | None
    sequence: int
    notes_on_request: tuple[str, ...] = ()
    permits_outstanding: int | None = None
