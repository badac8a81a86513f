"""The rows, the decision and the checks as JSON values, shared by the API, the command line and the pages."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from golive.domain.checklist import Checklist, CheckResult, Severity
from golive.domain.decision import Decision, decide
from golive.domain.flags import Evaluation
from golive.domain.holders import Holder
from golive.domain.rows import GoLiveRow, SystemRow, format_time

Json = dict[str, Any]


def system_status(row: SystemRow, *, with_details: bool) -> Json:
    """Without details `notes` is null: text that people write is not public."""
    return {
        "version": row.version,
        "backend_complete": row.backend_complete,
        "notes": row.notes if with_details else None,
        "updated_at": format_time(row.updated_at),
        "completed_at": format_time(row.completed_at),
        "revision": row.revision,
    }


def go_live_state(row: GoLiveRow, *, with_details: bool) -> Json:
    """Without details `changed_by` and `reason` are null: who did what, and why, is not public."""
    decision = decide(row)
    return {
        "go_live_enabled": row.go_live_enabled,
        "kill_switch_engaged": row.kill_switch_engaged,
        "changed_by": row.changed_by if with_details else None,
        "reason": row.reason if with_details else None,
        "updated_at": format_time(row.updated_at),
        "revision": row.revision,
        "event_head": row.event_head,
        "lease_ms": row.lease_ms,
        "execution_allowed": decision.allowed,
        "code": str(decision.code),
    }


def holder(session: Holder) -> Json:
    """A blocking session; what is unknown, or redacted for the reader, is null."""
    return {
        "pid": session.pid,
        "since": format_time(session.since),
        "role": session.role,
        "application": session.application,
        "state": session.state,
        "query": session.query,
        "prepared": session.prepared,
        "remedy": session.remedy,
    }


def permits_outstanding(count: int | None) -> str:
    """A sentence on what a stop's acknowledgement means for work that had begun before it."""
    if count is None:
        return "It is not known whether permits are still held; work under them may continue."
    if count == 0:
        return "No permit is held."
    are, them = ("permit is", "it") if count == 1 else ("permits are", "them")
    return f"{count} {are} still held: what was begun under {them} goes on."


def execution(decision: Decision) -> Json:
    return {"allowed": decision.allowed, "code": str(decision.code), "message": decision.message}


def full_status(
    go_live: GoLiveRow, system: SystemRow, *, with_details: bool, release: str | None, environment: str
) -> Json:
    return {
        "system": system_status(system, with_details=with_details),
        "go_live": go_live_state(go_live, with_details=with_details),
        "execution": execution(decide(go_live)),
        "release": release,
        "environment": environment,
    }


def flag(evaluation: Evaluation) -> Json:
    """A flag in OFREP's format. Clients reject a reason that OpenFeature does not define, or a missing variant.

    The reason is never STATIC: a client may cache a static value forever.
    """
    metadata = {
        "code": evaluation.code and str(evaluation.code),
        "revision": evaluation.revision,
        "lease_ms": evaluation.lease_ms,
    }
    return {
        "key": evaluation.key,
        "value": evaluation.value,
        "reason": "TARGETING_MATCH" if evaluation.is_known else "UNKNOWN",
        "variant": "on" if evaluation.value else "off",
        "metadata": {name: value for name, value in metadata.items() if value is not None},
    }


def flags(evaluations: Iterable[Evaluation]) -> Json:
    return {"flags": [flag(evaluation) for evaluation in evaluations]}


def checklist(checks: Checklist) -> Json:
    return {
        "ok": checks.ok,
        "required": {result.id: {"ok": result.ok, "detail": result.detail} for result in checks.required},
        "warnings": {result.id: {"ok": result.ok, "detail": result.detail} for result in checks.warnings},
    }


def failed_check(result: CheckResult) -> Json:
    return {"id": result.id, "message": result.message, "detail": result.detail}


def runbook(checks: Checklist, *, generated_at: datetime) -> Json:
    """Blockers, warnings, and in `info` everything that is in order, with the severity INFO."""

    def item(result: CheckResult) -> Json:
        severity = Severity.INFO if result.ok else result.severity
        return {
            "id": result.id,
            "ok": result.ok,
            "severity": str(severity),
            "message": result.message,
            "detail": result.detail,
        }

    items = [item(result) for result in checks.results]
    blockers = [entry for entry in items if entry["severity"] == Severity.BLOCKER]
    return {
        "generated_at": format_time(generated_at),
        "blockers": blockers,
        "warnings": [entry for entry in items if entry["severity"] == Severity.WARN],
        "info": [entry for entry in items if entry["severity"] == Severity.INFO],
        "ok_to_enable_go_live": checks.ok and not blockers,
    }


def runbook_markdown(values: Json) -> str:
    """The runbook as Markdown, from the result of `runbook`."""
    verdict = "OK to enable go-live" if values["ok_to_enable_go_live"] else "NOT OK to enable go-live"
    lines = ["# Go-live runbook", "", f"**{verdict}** · {values['generated_at']}", ""]
    for key, title in (("blockers", "Blockers"), ("warnings", "Warnings"), ("info", "In order")):
        lines += [f"## {title}", ""]
        lines += [
            f"- [{'x' if entry['ok'] else ' '}] **{entry['message']}** (`{entry['id']}`): {entry['detail']}"
            for entry in values[key]
        ] or ["None."]
        lines.append("")
    return "\n".join(lines)
