"""The two singleton rows as values, and how an event records them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

GO_LIVE_STATE = "go_live_state"
SYSTEM_METADATA = "system_metadata"
DEPLOY = "deploy"
API_TOKEN = "api_token"  # noqa: S105 - the subject of an event, no secret
MAX_LEASE_MS = 5000
ROW_SUBJECTS = (GO_LIVE_STATE, SYSTEM_METADATA)
SUBJECTS = (*ROW_SUBJECTS, DEPLOY, API_TOKEN)


@dataclass(frozen=True)
class GoLiveRow:
    """The row of `go_live_state`. `event_head` is the hash of the newest event, `lease_ms` is in milliseconds."""

    go_live_enabled: bool
    kill_switch_engaged: bool
    changed_by: str | None
    reason: str | None
    updated_at: datetime | None
    revision: int
    lease_ms: int
    event_head: str | None


@dataclass(frozen=True)
class SystemRow:
    """The row of `system_metadata`."""

    version: str
    backend_complete: bool
    notes: str | None
    updated_at: datetime | None
    completed_at: datetime | None
    revision: int


@dataclass(frozen=True)
class Rows:
    """Both rows from one read; a row that is missing or unreadable is None."""

    go_live: GoLiveRow | None
    system: SystemRow | None


def format_time(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC with microseconds, ending in `Z`: the only form of a time in JSON and in the hash.

    Raises ValueError for a naive time, which would mean different moments on different machines.
    """
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError("a time without a time zone cannot be written down")
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def record_of(row: GoLiveRow | SystemRow) -> dict[str, Any]:
    """The value of an event's `before` or `after`: every column but `id` and `event_head` (which the event sets)."""
    values = asdict(row)
    values.pop("event_head", None)
    return {key: format_time(value) if isinstance(value, datetime) else value for key, value in values.items()}
