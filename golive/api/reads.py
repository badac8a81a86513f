"""The read endpoints: status, state, checklist, history, runbook, readiness."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from golive.api.endpoint import Payload, answer_json, answer_tagged, endpoint
from golive.controls.checks import STOP_POSSIBLE
from golive.database import installation
from golive.domain.errors import FieldError, InvalidRequestError
from golive.identity.credentials import can_see_details, check_can_read, check_can_see_history
from golive.readiness import checks, shared_runs
from golive.state import history, snapshots
from golive.state.snapshots import Snapshot
from golive.web import problems, representations

HISTORY_DEFAULT, MAX_HISTORY = 50, 1_000
_MAX_SEQUENCE = 2**63 - 1


@endpoint("GET")
def read_status(request: HttpRequest) -> HttpResponse:
    """Everything a consumer needs, in one call."""
    check_can_read(request)
    return answer_tagged(request, snapshots.read_snapshot().once(_make_status, can_see_details(request)))


@endpoint("GET")
def read_system_status(request: HttpRequest) -> HttpResponse:
    check_can_read(request)
    return answer_tagged(request, snapshots.read_snapshot().once(_make_system_status, can_see_details(request)))


@endpoint("GET")
def read_go_live_state(request: HttpRequest) -> HttpResponse:
    check_can_read(request)
    return answer_tagged(request, snapshots.read_snapshot().once(_make_go_live_state, can_see_details(request)))


def _make_status(snapshot: Snapshot, with_details: bool) -> Payload:
    release = getattr(settings, "RELEASE", None)
    go_live, system = snapshot.known_go_live(), snapshot.known_system()
    return Payload.of(
        representations.full_status(
            go_live,
            system,
            with_details=with_details,
            release=release,
            environment=installation.environment_name(),
        )
    )


def _make_system_status(snapshot: Snapshot, with_details: bool) -> Payload:
    return Payload.of(representations.system_status(snapshot.known_system(), with_details=with_details))


def _make_go_live_state(snapshot: Snapshot, with_details: bool) -> Payload:
    return Payload.of(representations.go_live_state(snapshot.known_go_live(), with_details=with_details))


@endpoint("GET")
def read_checklist(request: HttpRequest) -> HttpResponse:
    check_can_read(request)
    return answer_tagged(
        request, Payload.of(representations.checklist(shared_runs.read_checklist(may_wait=_may_wait(request))))
    )


@endpoint("GET")
def read_history(request: HttpRequest) -> HttpResponse:
    """Events, newest first. `before` is the `next` of the previous page."""
    check_can_see_history(request)
    limit, before = _read_paging(request)
    events, following = history.read_page(limit=limit, before=before)
    return answer_json({"events": events, "next": None if following is None else str(following)})


def _read_paging(request: HttpRequest) -> tuple[int, int | None]:
    errors: list[FieldError] = []
    limit, before = request.GET.get("limit", str(HISTORY_DEFAULT)), request.GET.get("before")
    if not re.fullmatch(r"[0-9]{1,4}", limit, re.ASCII) or not 1 <= int(limit) <= MAX_HISTORY:
        errors.append(FieldError("limit", f"must be a whole number from 1 to {MAX_HISTORY}"))
    if before is not None and (
        not re.fullmatch(r"[0-9]{1,19}", before, re.ASCII) or not 1 <= int(before) <= _MAX_SEQUENCE
    ):
        errors.append(FieldError("before", "must be the `next` of an earlier page"))
    if errors:
        raise InvalidRequestError(errors)
    return int(limit), None if before is None else int(before)


@endpoint("GET")
def read_runbook(request: HttpRequest) -> HttpResponse:
    """Checklist, state and environment for people; a check that cannot run is a blocker, not an error."""
    check_can_read(request)
    return answer_json(_make_runbook(request))


@endpoint("GET")
def read_runbook_markdown(request: HttpRequest) -> HttpResponse:
    check_can_read(request)
    response = HttpResponse(
        representations.runbook_markdown(_make_runbook(request)), content_type="text/markdown; charset=utf-8"
    )
    response["Cache-Control"] = "no-store"
    return response


def _make_runbook(request: HttpRequest) -> dict[str, Any]:
    run = shared_runs.read_all(may_wait=_may_wait(request))
    return representations.runbook(run, generated_at=datetime.now(UTC))


def _may_wait(request: HttpRequest) -> bool:
    """Whether this request may wait for a run of the checks: `golive.admission` limits how many threads do."""
    return "golive.no_waiting" not in request.META


@endpoint("GET", is_direct=True)
def read_readiness(request: HttpRequest) -> HttpResponse:
    """Whether this process can serve, and could stop. Public: contains nothing confidential."""
    run = shared_runs.read_named(
        checks.DATABASE,
        checks.MIGRATIONS_APPLIED,
        checks.SINGLETON_ROWS,
        STOP_POSSIBLE,
        may_wait=_may_wait(request),
    )
    is_ready = all(result.ok for result in run.results)
    response = answer_json(
        {
            "ok": is_ready,
            "checks": {result.id: {"ok": result.ok, "detail": result.detail} for result in run.results},
            "release": getattr(settings, "RELEASE", None),
            "environment": installation.environment_name(),
        }
    )
    if not is_ready:
        response.status_code = 503
        response["Retry-After"] = problems.RETRY_AFTER_SECONDS
    return response


@endpoint()
def refuse_unknown(request: HttpRequest) -> HttpResponse:
    """404 for any other path under `/api` and `/ofrep`, with any method."""
    raise problems.not_found()
