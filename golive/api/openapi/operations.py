"""All operations by path: reads, probes and hooks are written by hand, changes generated from their table."""

from __future__ import annotations

from typing import Any

from golive.api.hooks import ALERT_PATH
from golive.api.openapi import examples
from golive.api.openapi.answers import GATE_HEADERS, answer, denial, problem, with_headers
from golive.api.openapi.flags import make_flag_paths
from golive.api.openapi.schemas import reference, request_schema
from golive.api.reads import HISTORY_DEFAULT, MAX_HISTORY
from golive.domain.changes import CHANGES, EDIT, OVERRIDE_PERMISSION, Change, Direction
from golive.domain.rows import GO_LIVE_STATE
from golive.domain.scopes import READ, scope_for
from golive.gate import GATES

Operation = dict[str, Any]

READS, GATE, CHANGING, HOOKS, PROBES = "Read the truth", "Ask the gate", "Change it", "Hooks", "Probes and pages"
_SESSION: dict[str, list[str]] = {"session": [], "csrf": []}
_READ_ERRORS = (400, 401, 403, 429, 500)
_UNKNOWN = ("STATE_UNKNOWN",)


def make_paths() -> dict[str, dict[str, Operation]]:
    paths: dict[str, dict[str, Operation]] = {**_make_reads(), **_make_gates(), **_make_probes()}
    for change in CHANGES.values():
        paths.setdefault(change.path, {})[change.method.lower()] = _change(change)
    paths[ALERT_PATH] = {"post": _alert_hook()}
    paths |= make_flag_paths()
    return dict(sorted(paths.items()))


def _read(name: str, summary: str, ok: dict[str, Any], *, tagged: bool = False, **more: Any) -> dict[str, Operation]:
    responses = {"200": ok}
    if tagged:
        responses["304"] = with_headers({"description": "The reader's `If-None-Match` names this state"}, "ETag")
    errors = (*_READ_ERRORS, 422) if "parameters" in more else _READ_ERRORS
    responses |= {str(status): problem(status) for status in errors}
    responses["503"] = problem(503, _UNKNOWN)
    security: list[dict[str, list[str]]] = [{}, {"token": [READ]}, {"session": []}]
    return {
        "get": {
            "operationId": name,
            "tags": [READS],
            "summary": summary,
            "security": security,
            "responses": dict(sorted(responses.items())),
            **more,
        }
    }


def _tagged(name: str, summary: str, schema: str, example: Any) -> dict[str, Operation]:
    return _read(name, summary, answer(summary, reference(schema), example, "ETag"), tagged=True)


def _make_reads() -> dict[str, dict[str, Operation]]:
    whole = "All that a consumer needs, in one call"
    runbook = "Checklist, state and environment for people; never 5xx by itself"
    history = "Every request to change anything, newest first"
    markdown = {
        "description": "The runbook",
        "content": {
            "text/markdown": {"schema": {"type": "string"}, "examples": {"example": {"value": examples.MARKDOWN}}}
        },
    }
    return {
        "/api/status": _tagged("readStatus", whole, "Status", examples.STATUS),
        "/api/system/status": _tagged("readSystemStatus", "The backend", "SystemStatus", examples.SYSTEM_STATUS),
        "/api/governance/go-live/state": _tagged(
            "readGoLiveState", "Both switches", "GoLiveState", examples.GO_LIVE_STATE_SHOWN
        ),
        "/api/governance/go-live/checklist": _tagged(
            "readChecklist", "What must hold before going toward live", "Checklist", examples.CHECKLIST
        ),
        "/api/governance/go-live/history": _read(
            "readHistory",
            history,
            answer(history, reference("History"), examples.HISTORY),
            parameters=_paging(),
        ),
        "/api/governance/runbook/status": _read(
            "readRunbook", runbook, answer(runbook, reference("Runbook"), examples.RUNBOOK)
        ),
        "/api/governance/runbook/markdown": _read(
            "readRunbookMarkdown", "The runbook as Markdown", with_headers(markdown)
        ),
    }


def _paging() -> list[dict[str, Any]]:
    limit = {"type": "integer", "minimum": 1, "maximum": MAX_HISTORY, "default": HISTORY_DEFAULT}
    before = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
    return [
        {"name": "limit", "in": "query", "description": "How many events", "schema": limit},
        {"name": "before", "in": "query", "description": "The `next` of the page before", "schema": before},
    ]


def _open(name: str, summary: str, responses: dict[str, Any], tag: str = PROBES) -> dict[str, Operation]:
    operation = {"operationId": name, "tags": [tag], "summary": summary, "security": [], "responses": responses}
    return {"get": operation}


def _make_gates() -> dict[str, dict[str, Operation]]:
    allowed = answer("Execution is allowed", reference("Allowed"), _ALLOWED, *GATE_HEADERS)
    return {
        f"/{name}": _open(
            f"ask{name.title().replace('-', '')}",
            f"May this request go on? Denies with {int(status)}",
            {"200": allowed, str(int(status)): denial(status, f"/{name}/")},
            GATE,
        )
        for name, status in GATES.items()
    }


def _make_probes() -> dict[str, dict[str, Operation]]:
    alive = "The process is alive; the database is not queried"
    paths = {
        f"/{path}": _open(
            f"read{path.capitalize()}", alive, {"200": answer(alive, reference("Liveness"), {"status": "ok"})}
        )
        for path in ("health", "healthz", "livez")
    }
    ready, not_ready = "This process can serve", "It cannot: a check fails"
    failing = {**examples.READINESS, "ok": False}
    errors = {"400": problem(400), "500": problem(500)}
    responses = {
        "200": answer(ready, reference("Readiness"), examples.READINESS),
        **errors,
        "503": answer(not_ready, reference("Readiness"), failing, "Retry-After"),
    }
    page = {
        "text/html": {"schema": {"type": "string"}},
        "application/json": {"schema": reference("Service"), "examples": {"example": {"value": _SERVICE}}},
    }
    html = {"text/html": {"schema": {"type": "string"}}}
    document = {"application/json": {"schema": {"type": "object"}}}
    return {
        **paths,
        "/readyz": _open("readReadiness", "Whether this process can serve", responses),
        "/": _open("showStatus", "The public status page", _page("The page, or a sign of life as JSON", page, errors)),
        "/api/docs": _open("showDocs", "This document for people", _page("The page", html, errors)),
        "/api/openapi.json": _open("readOpenapi", "This document", _page("OpenAPI 3.1", document, errors)),
    }


_ALLOWED = {"execution_allowed": True, "code": "ALLOWED"}
_SERVICE = {"ok": True, "service": "valhalla"}


def _page(description: str, content: dict[str, Any], errors: dict[str, Any]) -> dict[str, Any]:
    return {"200": with_headers({"description": description, "content": content}), **errors}


def _change(change: Change) -> Operation:
    name = "GoLiveChanged" if change.subject == GO_LIVE_STATE else "SystemChanged"
    is_safe = change.direction is Direction.SAFE
    responses = {
        "200": answer("Acknowledged: it is committed", reference(name), examples.answer_of(change)),
        **{str(status): problem(status) for status in (400, 401, 403, 429, 500, 503)},
    }
    if not is_safe:
        codes = ("CHECKLIST_FAILED", "REVISION_MISMATCH") if change.is_guarded else ("REVISION_MISMATCH",)
        responses |= {"412": problem(412, codes), **{str(status): problem(status) for status in (413, 415, 422)}}
    example = {"example": {"value": examples.request_of(change)}}
    body = {"application/json": {"schema": request_schema(change), "examples": example}}
    return {
        "operationId": change.name,
        "tags": [CHANGING],
        "summary": change.label,
        "description": _describe(change),
        "security": _security(change.permission),
        "requestBody": {"required": not is_safe, "content": body},
        "responses": dict(sorted(responses.items())),
    }


def _describe(change: Change) -> str:
    guard = ""
    if change.is_guarded:
        guard = f" Guarded by the checklist; `override` passes it (scope `{scope_for(OVERRIDE_PERMISSION)}`)."
    if change is EDIT:
        guard = " Needs no reason."
    if change.direction is Direction.SAFE:
        guard = " Toward safe: never refused for its content, acknowledged within 5 s or 503."
    return f"{change.consequence}{guard} Scope `{scope_for(change.permission)}`, or permission `{change.permission}`."


def _security(permission: str) -> list[dict[str, list[str]]]:
    scope = scope_for(permission)
    return [{"token": [scope] if scope else []}, _SESSION]


def _alert_hook() -> Operation:
    engage = CHANGES["engage"]
    schema = {"description": "An Alertmanager webhook message, version 4; of one over 1 MiB the beginning is read"}
    responses = {
        "200": answer("What was done", reference("AlertsTaken"), examples.alerts_answer()),
        **{str(status): problem(status) for status in (400, 401, 403, 429, 500, 503)},
    }
    return {
        "operationId": "takeAlerts",
        "tags": [HOOKS],
        "summary": "Take an Alertmanager message",
        "description": "Anything that fires engages the kill switch, with its summary as the reason; what is resolved "
        "changes nothing. A message that cannot be read counts as firing. Scope `engage`.",
        "security": _security(engage.permission),
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "examples": {"example": {"value": examples.ALERTS}}}},
        },
        "responses": responses,
    }
