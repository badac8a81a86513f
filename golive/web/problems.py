"""Error responses as `application/problem+json` (RFC 9457), and the only mapping from errors to HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from golive.domain.errors import (
    ChecklistFailedError,
    GoLiveError,
    InvalidRequestError,
    NotAppliedError,
    OutcomeUnknownError,
    PermissionRequiredError,
    RevisionMismatchError,
    StateUnknownError,
)
from golive.domain.rows import GoLiveRow, format_time
from golive.web import representations
from golive.web.request_id import get_request_id

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "1"

_STATUS: tuple[tuple[type[GoLiveError], HTTPStatus], ...] = (
    (PermissionRequiredError, HTTPStatus.FORBIDDEN),
    (InvalidRequestError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (ChecklistFailedError, HTTPStatus.PRECONDITION_FAILED),
    (RevisionMismatchError, HTTPStatus.PRECONDITION_FAILED),
    (StateUnknownError, HTTPStatus.SERVICE_UNAVAILABLE),
    (NotAppliedError, HTTPStatus.SERVICE_UNAVAILABLE),
    (OutcomeUnknownError, HTTPStatus.SERVICE_UNAVAILABLE),
)
TITLES = {
    "NOT_FOUND": "There is nothing here",
    "METHOD_NOT_ALLOWED": "This method is not allowed here",
    "BAD_REQUEST": "The request cannot be read",
    "UNAUTHENTICATED": "Credentials are needed",
    "PERMISSION_DENIED": "Permission is missing",
    "INVALID_REQUEST": "The request's content is refused",
    "TLS_REQUIRED": "This needs HTTPS",
    "REQUEST_TOO_LARGE": "The request is too large",
    "UNSUPPORTED_MEDIA_TYPE": "This type of body is not supported",
    "TOO_MANY_FAILURES": "Too many bad credentials came from this address",
    "CHECKLIST_FAILED": "The go-live checklist fails",
    "REVISION_MISMATCH": "The state was changed meanwhile",
    "STATE_UNKNOWN": "The go-live state cannot be known",
    "KILL_SWITCH_ENGAGED": "Execution is stopped",
    "GO_LIVE_DISABLED": "Execution has not been enabled",
    "NOT_APPLIED": "The change was not made",
    "OUTCOME_UNKNOWN": "It is not known whether the change was made",
    "INTERNAL_ERROR": "Something went wrong here",
}


class HttpError(GoLiveError):
    """An error in the HTTP request itself, not a refusal by a rule."""

    def __init__(self, status: HTTPStatus, code: str, detail: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.headers = headers or {}


def not_found(detail: str = "No such path. /api/docs lists the paths.") -> HttpError:
    return HttpError(HTTPStatus.NOT_FOUND, "NOT_FOUND", detail)


def bad_request(detail: str = "The request cannot be read.") -> HttpError:
    return HttpError(HTTPStatus.BAD_REQUEST, "BAD_REQUEST", detail)


def method_not_allowed(method: str | None, allowed: Iterable[str]) -> HttpError:
    allow = ", ".join(allowed)
    detail = f"{method} is not allowed here; allowed: {allow}."
    return HttpError(HTTPStatus.METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", detail, headers={"Allow": allow})


_CHALLENGE = 'Bearer realm="valhalla"'


def unauthenticated() -> HttpError:
    detail = "Sign in, or send a token that may do this."
    return HttpError(HTTPStatus.UNAUTHORIZED, "UNAUTHENTICATED", detail, headers={"WWW-Authenticate": _CHALLENGE})


def bad_token() -> HttpError:
    """One response for all cases: it must not reveal which part was wrong, or that the token was once valid."""
    detail = "The token is unknown, expired or revoked."
    headers = {"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'}
    return HttpError(HTTPStatus.UNAUTHORIZED, "UNAUTHENTICATED", detail, headers=headers)


def too_many_failures(seconds: int) -> HttpError:
    detail = f"Too many bad tokens came from this address. A valid one works all the same; else wait {seconds} s."
    return HttpError(HTTPStatus.TOO_MANY_REQUESTS, "TOO_MANY_FAILURES", detail, headers={"Retry-After": str(seconds)})


def unsupported_type() -> HttpError:
    detail = "Send the body as application/json, in UTF-8."
    return HttpError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", detail)


def forbidden(detail: str) -> HttpError:
    return HttpError(HTTPStatus.FORBIDDEN, "PERMISSION_DENIED", detail)


def lacks_tls(request: HttpRequest) -> bool:
    """Whether a request came over plain HTTP although this installation requires TLS."""
    return bool(settings.SECURE_SSL_REDIRECT) and not request.is_secure()


def tls_required() -> HttpError:
    detail = (
        "Use https://. A proxy that terminates TLS must send the header X-Forwarded-Proto: https. "
        "Over plain HTTP only stops and reads without credentials are answered."
    )
    return HttpError(HTTPStatus.FORBIDDEN, "TLS_REQUIRED", detail)


def too_large(limit: int | None = None) -> HttpError:
    detail = "The body is too large." if limit is None else f"The body is larger than {limit // 1024:,} KiB."
    return HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "REQUEST_TOO_LARGE", detail)


def internal_error() -> HttpError:
    detail = "An unexpected error. After a change, look at the state, or repeat it. Name the request_id in a report."
    return HttpError(HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", detail)


def status_of(error: GoLiveError) -> HTTPStatus:
    """The HTTP status of an error; an unmapped one is an internal error."""
    if isinstance(error, HttpError):
        return error.status
    return next((status for kind, status in _STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)


def type_of(code: str) -> str:
    """The URI of a problem type."""
    return f"urn:valhalla:problem:{code.lower().replace('_', '-')}"


def has_details(error: GoLiveError) -> bool:
    """Whether the response to this error differs for readers who may see names and reasons."""
    return isinstance(error, RevisionMismatchError) or error.public_detail != error.detail


def problem(request: HttpRequest, error: GoLiveError, *, with_details: bool = False, **members: Any) -> HttpResponse:
    """The response to `error`. Never includes the error's cause, which may hold secrets.

    `with_details`: for a reader who may see names and reasons (`credentials.can_see_details`). `members` are extra
    members that another protocol needs.
    """
    status = status_of(error)
    values: dict[str, Any] = {
        "type": type_of(error.code),
        "title": TITLES.get(error.code, status.phrase),
        "status": int(status),
        "detail": error.detail if with_details else error.public_detail,
        "instance": request.path,
        "code": error.code,
        "request_id": get_request_id(),
        **_extension(error, with_details=with_details),
        **members,
    }
    response = HttpResponse(json.dumps(values), status=status, content_type=CONTENT_TYPE)
    response["Cache-Control"] = "no-store"
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response["Retry-After"] = RETRY_AFTER_SECONDS
    if isinstance(error, HttpError):
        for name, value in error.headers.items():
            response[name] = value
    return response


def _extension(error: GoLiveError, *, with_details: bool) -> dict[str, Any]:
    if isinstance(error, InvalidRequestError):
        return {"errors": [{"field": fault.field, "message": fault.message} for fault in error.errors]}
    if isinstance(error, ChecklistFailedError):
        return {"failed": [representations.failed_check(result) for result in error.failed]}
    if isinstance(error, RevisionMismatchError):
        current = error.current
        representation = (
            representations.go_live_state(current, with_details=with_details)
            if isinstance(current, GoLiveRow)
            else representations.system_status(current, with_details=with_details)
        )
        return {
            "current": representation,
            "changed_by": error.changed_by if with_details else None,
            "changed_at": format_time(error.changed_at),
            "change": error.change,
            "reason": error.reason if with_details else None,
        }
    if isinstance(error, StateUnknownError):
        return {"execution_allowed": False}
    if isinstance(error, NotAppliedError) and error.holders:
        return {"holders": [representations.holder(each) for each in error.holders]}
    return {}
