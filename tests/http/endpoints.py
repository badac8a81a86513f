"""The paths of the API, and what is true of every answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

LIVENESS = ("/health", "/healthz", "/livez")
READINESS = "/readyz"
STATUS = "/api/status"
SYSTEM = "/api/system/status"
STATE = "/api/governance/go-live/state"
CHECKLIST = "/api/governance/go-live/checklist"
HISTORY = "/api/governance/go-live/history"
RUNBOOK = "/api/governance/runbook/status"
MARKDOWN = "/api/governance/runbook/markdown"

TAGGED = (STATUS, SYSTEM, STATE, CHECKLIST)
READS = (*TAGGED, HISTORY, RUNBOOK, MARKDOWN, READINESS)
ALL = (*LIVENESS, *READS)
WRITING_METHODS = ("POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "BREW")

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def describe(value: Any) -> Any:
    """The shape of a JSON value: keys and types; a time is "time", so that its form is held too."""
    if isinstance(value, dict):
        return {key: describe(item) for key, item in value.items()}
    if isinstance(value, list):
        return [describe(item) for item in value]
    if isinstance(value, str) and TIME.fullmatch(value):
        return "time"
    return None if value is None else type(value).__name__


def assert_problem(response: Any, status: int, code: str, *, path: str | None = None) -> dict[str, Any]:
    """That an answer is a problem of RFC 9457 with these; its members."""
    assert response.status_code == status
    assert response["Content-Type"] == "application/problem+json"
    assert response["Cache-Control"] == "no-store"
    problem: dict[str, Any] = response.json()
    assert {key: type(problem[key]) for key in ("type", "title", "status", "detail", "instance", "code")} == {
        "type": str,
        "title": str,
        "status": int,
        "detail": str,
        "instance": str,
        "code": str,
    }
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["type"] == f"urn:valhalla:problem:{code.lower().replace('_', '-')}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == response["X-Request-ID"]
    if path is not None:
        assert problem["instance"] == path
    return problem


def execute(sql: str) -> None:
    """Plain SQL, behind the back of the controls."""
    with connection.cursor() as cursor:
        cursor.execute(sql)


@contextmanager
def without_table(name: str) -> Iterator[None]:
    """A database in which a table is not there."""
    execute(f"ALTER TABLE {name} RENAME TO {name}_away")
    try:
        yield
    finally:
        execute(f"ALTER TABLE {name}_away RENAME TO {name}")
