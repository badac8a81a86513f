"""Examples for the document: fixed rows, serialized by the same functions as real ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from golive.domain.changes import CHANGES, Change, Direction
from golive.domain.checklist import Checklist, CheckResult, Severity
from golive.domain.decision import decide
from golive.domain.effects import BACKEND_COMPLETE
from golive.domain.flags import evaluate_flags
from golive.domain.holders import Holder
from golive.domain.rows import GO_LIVE_STATE, GoLiveRow, SystemRow
from golive.web import representations

EXAMPLE_REQUEST_ID = "5d1c8f0e9b7a4c33a1e2d4f6b8c0a9e7"
_AT = datetime(2026, 11, 22, 16, 58, 0, 123456, tzinfo=UTC)
_HASH = "3f6c1d2b9a8e7f60" * 4
_GO_LIVE = GoLiveRow(
    go_live_enabled=True,
    kill_switch_engaged=True,
    changed_by="token:pager",
    reason="Payments are failing",
    updated_at=_AT,
    revision=7,
    lease_ms=250,
    event_head=_HASH,
)
_SYSTEM = SystemRow(version="2.4.0", backend_complete=True, notes=None, updated_at=_AT, completed_at=_AT, revision=3)
_HOLDER = Holder(
    4711,
    _AT,
    role="valhalla_web",
    application="psql",
    state="idle in transaction",
    query="SELECT * FROM go_live_state FOR UPDATE",
)
_BACKEND = CheckResult(BACKEND_COMPLETE, False, Severity.BLOCKER, "The backend is complete", "Mark it complete first.")
_RELEASE = CheckResult("release_known", True, Severity.WARN, "The served release is known", "It is known.")
_GRAPH = CheckResult(
    "migration_graph",
    True,
    Severity.BLOCKER,
    "The graph of migrations is sound",
    "The audit of the migrations finds no error.",
)
_FOUND = Checklist.of((_BACKEND, _GRAPH, _RELEASE))

SYSTEM_STATUS = representations.system_status(_SYSTEM, with_details=True)
GO_LIVE_STATE_SHOWN = representations.go_live_state(_GO_LIVE, with_details=True)
STATUS = representations.full_status(_GO_LIVE, _SYSTEM, with_details=True, release="e5c1b2f", environment="production")
CHECKLIST = representations.checklist(_FOUND)
RUNBOOK = representations.runbook(_FOUND, generated_at=_AT)
MARKDOWN = representations.runbook_markdown(RUNBOOK)
READINESS = {
    "ok": True,
    "checks": {
        "database": {"ok": True, "detail": "The database answers."},
        "stop_possible": {"ok": True, "detail": "A stop was rehearsed and rolled back."},
    },
    "release": "e5c1b2f",
    "environment": "production",
}
EVENT = {
    "sequence": 12,
    "at": "2026-11-22T16:58:00.123456Z",
    "actor": "token:pager",
    "user_id": None,
    "on_behalf_of": "Alertmanager, receiver valhalla",
    "channel": "api",
    "subject": GO_LIVE_STATE,
    "action": "engage",
    "reason": "Payments are failing",
    "changed": True,
    "override": False,
    "before": {"kill_switch_engaged": False},
    "after": {"kill_switch_engaged": True},
    "failed_checks": None,
    "request_id": EXAMPLE_REQUEST_ID,
    "remote_addr": "192.0.2.7",
    "salt": "3f1c9a40b7d25e86f0a4c8d91e6b2375",
    "hash_version": 2,
    "previous_hash": _HASH[::-1],
    "hash": _HASH,
}
ALL_FLAGS = representations.flags(evaluate_flags(_GO_LIVE, _SYSTEM))
HISTORY = {"events": [EVENT], "next": "12"}
ALERTS = {
    "version": "4",
    "receiver": "valhalla",
    "status": "firing",
    "alerts": [{"status": "firing", "annotations": {"summary": "Payments are failing"}}],
}
_REQUESTS: dict[str, dict[str, Any]] = {
    "engage": {"reason": "Payments are failing"},
    "release": {"reason": "Fixed in 2.4.0", "expected_revision": 7},
    "enable": {"reason": "Signed off", "changed_by": "maria", "override": ["backend_complete"]},
    "complete": {"reason": "All tests green", "version": "2.4.0"},
    "edit": {"notes": "Contracts are drained by hand"},
}
_SWITCHES = {
    "engage": {"kill_switch_engaged": True},
    "disable": {"go_live_enabled": False},
    "release": {"kill_switch_engaged": False},
    "enable": {"go_live_enabled": True},
}


def request_of(change: Change) -> dict[str, Any]:
    return _REQUESTS.get(change.name, {"reason": "One report is wrong"})


def answer_of(change: Change) -> dict[str, Any]:
    """An example of the response to a change."""
    done: dict[str, Any] = {"changed": True, "event": 12}
    if change.direction is Direction.SAFE:
        done["permits_outstanding"] = 0
    reason = request_of(change).get("reason") if change.subject == GO_LIVE_STATE else _GO_LIVE.reason
    row = replace(_GO_LIVE, reason=reason, **_SWITCHES.get(change.name, {}))  # type: ignore[arg-type]  # each value fits its column
    if change.subject == GO_LIVE_STATE:
        values = {**done, **representations.go_live_state(row, with_details=True)}
    else:
        completed = change.direction is not Direction.SAFE
        system = replace(_SYSTEM, backend_complete=completed, completed_at=_AT if completed else None)
        values = {**done, **representations.system_status(system, with_details=True)}
    return {**values, "execution": representations.execution(decide(row))}


def alerts_answer() -> dict[str, Any]:
    return {"action": "engage", "firing": 1, "resolved": 0, **answer_of(CHANGES["engage"])}


def extension_of(code: str) -> dict[str, Any]:
    """The extension members of a problem."""
    extensions: dict[str, dict[str, Any]] = {
        "INVALID_REQUEST": {"errors": [{"field": "reason", "message": "is required; say why in a sentence"}]},
        "CHECKLIST_FAILED": {"failed": [representations.failed_check(_BACKEND)]},
        "REVISION_MISMATCH": {
            "current": GO_LIVE_STATE_SHOWN,
            "changed_by": "token:pager",
            "changed_at": "2026-11-22T16:58:00.123456Z",
            "change": "engage",
            "reason": "Payments are failing",
        },
        "NOT_APPLIED": {"holders": [representations.holder(_HOLDER)]},
        "STATE_UNKNOWN": {"execution_allowed": False},
    }
    return extensions.get(code, {})
