"""The document's schemas (JSON Schema 2020-12). Responses allow no additional properties: every field is documented."""

from __future__ import annotations

from typing import Any

from golive.domain.changes import Change, Channel, Direction
from golive.domain.checklist import Severity
from golive.domain.decision import Code
from golive.domain.flags import SAFE_VALUES
from golive.domain.reasons import MAX_NAME_LENGTH, MAX_NOTES_LENGTH, MAX_REASON_LENGTH
from golive.domain.requests import MAX_OVERRIDES
from golive.domain.rows import SUBJECTS

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
BOOLEAN: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER_FROM_1: Schema = {"type": "integer", "minimum": 1}
TIME: Schema = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$",
    "description": "RFC 3339, in UTC",
}
HASH: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "SHA-256 in hexadecimal"}


def reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def described(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


def nullable(schema: Schema) -> Schema:
    if "$ref" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    return {**schema, "type": [schema["type"], "null"]}


def list_of(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def record(properties: Schema, *, optional: tuple[str, ...] = (), **more: Any) -> Schema:
    """An object with exactly these properties, required unless listed as optional."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False, **more}


_CODE = {"type": "string", "enum": [str(code) for code in Code], "description": "The decision, most severe first"}
_SYSTEM: Schema = {
    "version": TEXT,
    "backend_complete": BOOLEAN,
    "notes": nullable(TEXT),
    "updated_at": nullable(TIME),
    "completed_at": nullable(TIME),
    "revision": described(NUMBER_FROM_1, "Counts the changes of this row, and the stops that changed nothing"),
}
_GO_LIVE: Schema = {
    "go_live_enabled": BOOLEAN,
    "kill_switch_engaged": BOOLEAN,
    "changed_by": described(nullable(TEXT), "Null for readers who may not see details"),
    "reason": described(nullable(TEXT), "Null for readers who may not see details"),
    "updated_at": nullable(TIME),
    "revision": described(NUMBER_FROM_1, "Counts the changes of this row, and the stops that changed nothing"),
    "event_head": described(nullable(HASH), "The hash of the newest event"),
    "lease_ms": {"type": "integer", "minimum": 0, "maximum": 5000},
    "execution_allowed": BOOLEAN,
    "code": _CODE,
}
_CHANGED: Schema = {
    "changed": described(
        BOOLEAN, "False: it was in effect already. The request is recorded, and a stop raises the revision"
    ),
    "event": described(NUMBER_FROM_1, "The sequence of the event that records the request"),
}
_PERMITS: Schema = {
    "permits_outstanding": described(
        nullable(COUNT),
        "Toward safe: permits given before that are still held; 0: nothing runs under one; null: unknown",
    )
}
_NOTES: Schema = {"notes_on_request": described(list_of(TEXT), "What was cleaned or ignored, if anything was")}
_EXECUTION: Schema = {"execution": reference("Execution")}
_FOUND = record({"ok": BOOLEAN, "detail": TEXT})
_ITEM = record(
    {
        "id": TEXT,
        "ok": BOOLEAN,
        "severity": {"type": "string", "enum": [str(severity) for severity in Severity]},
        "message": TEXT,
        "detail": TEXT,
    }
)
_EVENT: Schema = {
    "sequence": NUMBER_FROM_1,
    "at": TIME,
    "actor": described(TEXT, "A username, token:NAME, or user@host"),
    "user_id": nullable({"type": "integer"}),
    "on_behalf_of": described(nullable(TEXT), "The request's `changed_by`"),
    "channel": {"type": "string", "enum": [str(channel) for channel in Channel]},
    "subject": {"type": "string", "enum": list(SUBJECTS)},
    "action": TEXT,
    "reason": TEXT,
    "changed": BOOLEAN,
    "override": BOOLEAN,
    "before": nullable({"type": "object"}),
    "after": nullable({"type": "object"}),
    "failed_checks": nullable(list_of({"type": "object"})),
    "request_id": nullable(TEXT),
    "remote_addr": nullable(TEXT),
    "salt": described(TEXT, "Random, so that the hash confirms no guess; not in version 1"),
    "hash_version": NUMBER_FROM_1,
    "previous_hash": nullable(HASH),
    "hash": HASH,
}
_HOLDER = record(
    {
        "pid": described(nullable({"type": "integer"}), "Null: a prepared transaction"),
        "since": described(nullable(TIME), "The start of its transaction"),
        **{name: nullable(TEXT) for name in ("role", "application", "state", "query", "prepared")},
        "remedy": described(TEXT, "The SQL that ends it"),
    }
)
_FAILED = record({"id": TEXT, "message": TEXT, "detail": TEXT})
_PROBLEM: Schema = {
    "type": {"type": "string", "pattern": "^urn:valhalla:problem:[a-z-]+$"},
    "title": TEXT,
    "status": {"type": "integer", "minimum": 400, "maximum": 599},
    "detail": described(TEXT, "For people: what is wrong, and what to do"),
    "instance": described(TEXT, "The path of the request"),
    "code": described(TEXT, "Stable; what programs match on"),
    "request_id": nullable(TEXT),
    "errors": described(list_of(record({"field": TEXT, "message": TEXT})), "INVALID_REQUEST: every fault"),
    "failed": described(list_of(_FAILED), "CHECKLIST_FAILED: the items that fail"),
    "current": {
        "anyOf": [reference("GoLiveState"), reference("SystemStatus")],
        "description": "REVISION_MISMATCH: the row as it is now",
    },
    "changed_by": described(nullable(TEXT), "REVISION_MISMATCH: who changed it"),
    "changed_at": described(nullable(TIME), "REVISION_MISMATCH: when"),
    "change": described(nullable(TEXT), "REVISION_MISMATCH: what was done, for example engage"),
    "reason": described(nullable(TEXT), "REVISION_MISMATCH: why"),
    "holders": described(
        list_of(_HOLDER), "NOT_APPLIED: the sessions in the way; only pid and since for who may not see names"
    ),
    "execution_allowed": {"const": False, "description": "In every denial; unknown is closed"},
    "error": described(TEXT, "Denials of the gate: the code again, for older clients"),
    "key": described(TEXT, "OFREP: the flag that was asked for"),
    "errorCode": {
        "type": "string",
        "enum": ["PARSE_ERROR", "INVALID_CONTEXT", "FLAG_NOT_FOUND", "GENERAL"],
        "description": "OFREP: the code that OpenFeature has for it",
    },
    "errorDetails": described(TEXT, "OFREP: the same as `detail`"),
}
_EXTENSIONS = (
    *(
        "errors",
        "failed",
        "current",
        "changed_by",
        "changed_at",
        "change",
        "reason",
        "holders",
        "execution_allowed",
        "error",
    ),
    *("key", "errorCode", "errorDetails"),
)

SCHEMAS: dict[str, Schema] = {
    "SystemStatus": record(_SYSTEM),
    "GoLiveState": record(_GO_LIVE),
    "Execution": record({"allowed": BOOLEAN, "code": _CODE, "message": TEXT}),
    "Status": record(
        {
            "system": reference("SystemStatus"),
            "go_live": reference("GoLiveState"),
            "execution": reference("Execution"),
            "release": described(nullable(TEXT), "The served commit"),
            "environment": described(TEXT, "The name of this installation"),
        }
    ),
    "Checklist": record(
        {
            "ok": BOOLEAN,
            "required": {"type": "object", "additionalProperties": _FOUND},
            "warnings": {"type": "object", "additionalProperties": _FOUND},
        }
    ),
    "Event": record(_EVENT, optional=("salt",)),
    "History": record({"events": list_of(reference("Event")), "next": nullable(TEXT)}),
    "Runbook": record(
        {
            "generated_at": TIME,
            "blockers": list_of(_ITEM),
            "warnings": list_of(_ITEM),
            "info": list_of(_ITEM),
            "ok_to_enable_go_live": BOOLEAN,
        }
    ),
    "Readiness": record(
        {
            "ok": BOOLEAN,
            "checks": {"type": "object", "additionalProperties": _FOUND},
            "release": nullable(TEXT),
            "environment": TEXT,
        }
    ),
    "Allowed": record({"execution_allowed": {"const": True}, "code": {"const": "ALLOWED"}}),
    "Liveness": record({"status": {"const": "ok"}}),
    "Service": record({"ok": {"const": True}, "service": {"const": "valhalla"}}),
    "GoLiveChanged": record(
        {**_CHANGED, **_PERMITS, **_GO_LIVE, **_EXECUTION, **_NOTES}, optional=(*_PERMITS, *_NOTES)
    ),
    "SystemChanged": record({**_CHANGED, **_PERMITS, **_SYSTEM, **_EXECUTION, **_NOTES}, optional=(*_PERMITS, *_NOTES)),
    "AlertsTaken": record(
        {
            "action": {"type": "string", "enum": ["engage", "none"]},
            "firing": COUNT,
            "resolved": COUNT,
            "changed": BOOLEAN,
            "event": nullable(NUMBER_FROM_1),
            **_PERMITS,
            **_GO_LIVE,
            **_EXECUTION,
            **_NOTES,
        },
        optional=(*_PERMITS, *_GO_LIVE, *_EXECUTION, *_NOTES),
    ),
    "Flag": record(
        {
            "key": {"type": "string", "enum": list(SAFE_VALUES)},
            "value": BOOLEAN,
            "reason": {"type": "string", "enum": ["TARGETING_MATCH", "UNKNOWN"]},
            "variant": {"type": "string", "enum": ["on", "off"]},
            "metadata": record(
                {
                    "code": _CODE,
                    "revision": described(NUMBER_FROM_1, "That of the row"),
                    "lease_ms": described(COUNT, "How old the state in an answer may be, in milliseconds"),
                },
                optional=("code", "revision", "lease_ms"),
            ),
        }
    ),
    "Flags": record({"flags": list_of(reference("Flag"))}),
    "Problem": record(_PROBLEM, optional=_EXTENSIONS),
}


def request_schema(change: Change) -> Schema:
    """The request schema of a change. Toward safe any body is accepted, so it describes only the fields in use."""
    reason = (
        f"Why; 1 to {MAX_REASON_LENGTH:,} characters"
        if change.is_reason_required
        else f"Why; at most {MAX_REASON_LENGTH:,}"
    )
    if change.direction is Direction.SAFE:
        return {
            "description": "Nothing in it refuses a stop: what cannot be used is cleaned or ignored, and said.",
            "properties": {
                "reason": {"description": f"A text. {reason} characters; may be left out"},
                "changed_by": {"description": f"A text. For whom; at most {MAX_NAME_LENGTH} characters"},
            },
        }
    properties: Schema = {
        "reason": described(_text(MAX_REASON_LENGTH, required=change.is_reason_required), reason),
        "changed_by": described(_text(MAX_NAME_LENGTH), "For whom; kept as `on_behalf_of`"),
        "expected_revision": described(
            nullable(NUMBER_FROM_1), "The revision that you saw; 412 if it has changed since"
        ),
        "override": {
            "anyOf": [
                {"type": "array", "items": {"type": "string"}, "maxItems": MAX_OVERRIDES},
                {"type": "null"},
                {"const": False},
            ],
            "description": "The ids of checklist items that may fail; needs the scope override. What fails and is not"
            " named refuses the change, and an id that the checklist does not have is refused",
        },
        "version": described(_text(MAX_NAME_LENGTH), "Left out: stays"),
        "notes": described(_text(MAX_NOTES_LENGTH), "Left out: stay; empty: cleared"),
    }
    extra = tuple(name for name in ("version", "notes") if name not in change.takes)
    remaining = {name: schema for name, schema in properties.items() if name not in extra}
    required = ["reason"] if change.is_reason_required else []
    return {"type": "object", "properties": remaining, "required": required, "additionalProperties": False}


def _text(limit: int, *, required: bool = False) -> Schema:
    if required:
        return {"type": "string", "minLength": 1, "maxLength": limit, "pattern": r"\S"}
    return {"type": ["string", "null"], "maxLength": limit}
