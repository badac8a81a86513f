"""Error responses by status, with their codes, headers and examples."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from golive.api.openapi.examples import EXAMPLE_REQUEST_ID, extension_of
from golive.api.openapi.schemas import reference
from golive.domain.decision import Code, Decision
from golive.web.denials import DENIAL_CODES, describe_denial
from golive.web.problems import CONTENT_TYPE, TITLES, type_of

# Status -> the problem codes that use it.
CODES: dict[int, tuple[str, ...]] = {
    400: ("BAD_REQUEST",),
    401: ("UNAUTHENTICATED",),
    403: ("PERMISSION_DENIED", "TLS_REQUIRED"),
    404: ("NOT_FOUND",),
    405: ("METHOD_NOT_ALLOWED",),
    412: ("CHECKLIST_FAILED", "REVISION_MISMATCH"),
    413: ("REQUEST_TOO_LARGE",),
    415: ("UNSUPPORTED_MEDIA_TYPE",),
    422: ("INVALID_REQUEST",),
    429: ("TOO_MANY_FAILURES",),
    500: ("INTERNAL_ERROR",),
    503: ("STATE_UNKNOWN", "NOT_APPLIED", "OUTCOME_UNKNOWN"),
}
# Decision codes in denials. Each gate has a status of its own; this is that of `/gate`.
DENIALS: dict[str, int] = {"KILL_SWITCH_ENGAGED": 403, "GO_LIVE_DISABLED": 403}
DESCRIPTIONS: dict[str, str] = {
    "BAD_REQUEST": "The request or its body cannot be read.",
    "UNAUTHENTICATED": "No credentials, or a token that is unknown, expired or revoked.",
    "PERMISSION_DENIED": "The token lacks the scope, the user the permission, or the session the CSRF token.",
    "TLS_REQUIRED": "Credentials came over plain HTTP where TLS is required, for something other than a stop.",
    "NOT_FOUND": "There is no such path.",
    "METHOD_NOT_ALLOWED": "The path does not take this method; `Allow` names those that it takes.",
    "CHECKLIST_FAILED": "Required checks fail that `override` does not name; `failed` has them.",
    "REVISION_MISMATCH": "Somebody was first; `current` is the row now, and the rest says who, when, what and why.",
    "REQUEST_TOO_LARGE": "The body is larger than 16 KiB.",
    "UNSUPPORTED_MEDIA_TYPE": "The body is not application/json in UTF-8.",
    "INVALID_REQUEST": "Fields are refused; `errors` names every fault.",
    "TOO_MANY_FAILURES": "More than ten bad tokens in a minute from this address. A valid token is not held up.",
    "INTERNAL_ERROR": "An unexpected error. Include the request_id in your report.",
    "STATE_UNKNOWN": "The state cannot be known, so execution is not allowed.",
    "KILL_SWITCH_ENGAGED": "The kill switch is engaged.",
    "GO_LIVE_DISABLED": "Go-live is disabled.",
    "NOT_APPLIED": "The change was certainly not made. Repeat it.",
    "OUTCOME_UNKNOWN": "The connection was lost at COMMIT. Look at the state; repeating a stop is always right.",
}
DETAILS: dict[str, str] = {
    "CHECKLIST_FAILED": "The go-live checklist fails: backend_complete. Put this right and try again.",
    "REVISION_MISMATCH": (
        "Changed by token:pager since you looked: revision 7, not 6 "
        '(engage at 2026-11-22T16:58:00+00:00: "Payments are failing"). Look again first.'
    ),
    "INVALID_REQUEST": "reason: is required; say why in a sentence",
}
_REQUEST_ID = {"$ref": "#/components/headers/X-Request-ID"}
_HEADERS: dict[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "description": "The request's own id if it was sane, else a new one; it is in the event and in the log",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    },
    "Retry-After": {"description": "Seconds", "schema": {"type": "string", "pattern": "^[0-9]+$"}},
    "WWW-Authenticate": {"schema": {"type": "string"}},
    "Allow": {"schema": {"type": "string"}},
    "X-GoLive-Code": {"description": "The decision", "schema": {"enum": [str(code) for code in Code]}},
    "X-GoLive-Lease-Ms": {
        "description": "Milliseconds for which this answer may be used again, counted from before its request was sent",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "ETag": {"description": "Strong, over the payload", "schema": {"type": "string"}},
}


GATE_HEADERS = ("Retry-After", "X-GoLive-Code", "X-GoLive-Lease-Ms")


def with_headers(response: dict[str, Any], *names: str) -> dict[str, Any]:
    """A response with the common headers and the given ones."""
    named = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    return {**response, "headers": {"X-Request-ID": _REQUEST_ID, **named}}


def answer(description: str, schema: dict[str, Any], example: Any, *headers: str) -> dict[str, Any]:
    content = {"application/json": {"schema": schema, "examples": {"example": {"value": example}}}}
    return with_headers({"description": description, "content": content}, *headers)


def problem(status: int, codes: tuple[str, ...] = ()) -> dict[str, Any]:
    """The error response of a status, limited to the given codes (none: all)."""
    codes = codes or CODES[status]
    schema = {
        "allOf": [
            reference("Problem"),
            {"properties": {"code": {"enum": list(codes)}, "status": {"const": status}}},
        ]
    }
    examples = {code: {"value": _example(status, code)} for code in codes}
    description = " ".join(f"`{code}`: {DESCRIPTIONS[code]}" for code in codes)
    content = {CONTENT_TYPE: {"schema": schema, "examples": examples}}
    return with_headers({"description": description, "content": content}, *_HEADERS.get(status, ()))


def denial(status: HTTPStatus, instance: str) -> dict[str, Any]:
    """The denial of a gate, with this status."""
    described = {
        code: describe_denial(Decision(Code(code)), status=status, instance=instance, request_id=EXAMPLE_REQUEST_ID)
        for code in DENIAL_CODES
    }
    schema = {
        "allOf": [
            reference("Problem"),
            {"properties": {"code": {"enum": list(DENIAL_CODES)}, "status": {"const": int(status)}}},
            {"required": ["error", "execution_allowed"]},
        ]
    }
    content = {CONTENT_TYPE: {"schema": schema, "examples": {code: {"value": described[code]} for code in described}}}
    return with_headers({"description": "Do not execute", "content": content}, *GATE_HEADERS)


def _example(status: int, code: str) -> dict[str, Any]:
    return {
        "type": type_of(code),
        "title": TITLES[code],
        "status": status,
        "detail": DETAILS.get(code, DESCRIPTIONS[code]),
        "instance": "/api/governance/go-live/enable",
        "code": code,
        "request_id": EXAMPLE_REQUEST_ID,
        **extension_of(code),
    }
