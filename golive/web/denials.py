"""The body of a denial: the same from the gate and from the enforcement of views."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from golive.domain.decision import Code, Decision
from golive.web.problems import TITLES, type_of

DENIAL_CODES = tuple(str(code) for code in Code if code is not Code.ALLOWED)


def describe_denial(decision: Decision, *, status: HTTPStatus, instance: str, request_id: str | None) -> dict[str, Any]:
    """The members of the problem (RFC 9457). `error` repeats the code for clients older than `code`."""
    code = str(decision.code)
    return {
        "type": type_of(code),
        "title": TITLES[code],
        "status": int(status),
        "detail": decision.message,
        "instance": instance,
        "code": code,
        "error": code,
        "execution_allowed": False,
        "request_id": request_id,
    }
