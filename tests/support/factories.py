"""Factories for rows, actors and check results. Pure: no Django, no database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from golive.domain.changes import ALL_PERMISSIONS, Actor
from golive.domain.checklist import CheckResult, Severity
from golive.domain.rows import GoLiveRow, Rows, SystemRow

LONG_AGO = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
NOW = datetime(2026, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)

_GO_LIVE = GoLiveRow(
    go_live_enabled=False,
    kill_switch_engaged=True,
    changed_by="ann",
    reason="because",
    updated_at=LONG_AGO,
    revision=7,
    lease_ms=250,
    event_head="f" * 64,
)
_SYSTEM = SystemRow(
    version="1.0.0", backend_complete=False, notes="a note", updated_at=LONG_AGO, completed_at=None, revision=3
)


def make_go_live(**values: Any) -> GoLiveRow:
    """A row that has been changed before; by default go-live is disabled and the kill switch engaged."""
    return replace(_GO_LIVE, **values)


def make_system(**values: Any) -> SystemRow:
    """A row that has been changed before; incomplete by default, otherwise completed long ago."""
    if values.get("backend_complete"):
        values.setdefault("completed_at", LONG_AGO)
    return replace(_SYSTEM, **values)


def make_rows(*, enabled: bool = False, engaged: bool = True, complete: bool = False) -> Rows:
    return Rows(
        go_live=make_go_live(go_live_enabled=enabled, kill_switch_engaged=engaged),
        system=make_system(backend_complete=complete),
    )


def make_actor(name: str = "bea", *, without: str | None = None, user_id: int | None = None) -> Actor:
    """An actor with all permissions, or all but one."""
    return Actor(name=name, permissions=ALL_PERMISSIONS - {without}, user_id=user_id)


def make_result(id: str = "some_check", *, ok: bool = True, severity: Severity = Severity.BLOCKER) -> CheckResult:
    return CheckResult(id, ok, severity, f"What {id} checks", f"What {id} found")
