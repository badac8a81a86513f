"""One view serves all changes of the table in `golive.domain.changes`, each at its own path."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern

from golive.api import body, reads
from golive.api.endpoint import View, answer_json, endpoint
from golive.controls import gathering
from golive.controls.apply import apply_change
from golive.domain.changes import CHANGES, EDIT, Acknowledgement, Actor, Change, Channel, Direction, check_can_apply
from golive.domain.decision import decide
from golive.domain.errors import NotAppliedError, UnavailableError
from golive.domain.rows import GO_LIVE_STATE
from golive.identity import credentials
from golive.identity.actors import origin_of
from golive.web import representations
from golive.web.routes import route

logger = logging.getLogger(__name__)

NO_CREDENTIALS_READ = "The database does not answer; nothing was done. Repeat the request."


def answer_change(request: HttpRequest, change: Change) -> HttpResponse:
    """Authenticate, authorize, parse, apply. Answers only after the commit."""
    actor = authenticate(request)
    check_can_apply(change, actor.permissions)
    origin = origin_of(request)
    with_details = credentials.can_see_details(request)
    notes: tuple[str, ...] = ()
    if change.direction is Direction.SAFE:
        fields, notes = body.read_leniently(request)
        with failures_reported(request):
            done = gathering.apply_stop(
                change, actor=actor, reason=fields.pop("reason", None), fields=fields, origin=origin
            )
    else:
        fields = body.read_strictly(request)
        with failures_reported(request):
            done = apply_change(
                change,
                actor=actor,
                reason=fields.pop("reason", None),
                channel=Channel.API,
                fields=fields,
                origin=origin,
            )
    return answer_json(describe(done, notes, with_details=with_details))


def authenticate(request: HttpRequest) -> Actor:
    """Like `credentials.authenticate`, but a database failure is NotAppliedError: nothing has been changed yet."""
    try:
        return credentials.authenticate(request)
    except Error as error:
        raise NotAppliedError(NO_CREDENTIALS_READ) from error


@contextmanager
def failures_reported(request: HttpRequest) -> Iterator[None]:
    """Log a change that failed, and why. The answer names blocking sessions only to callers who may see details."""
    try:
        yield
    except UnavailableError as error:
        logger.error("a change was not made: %s", error.describe())
        if isinstance(error, NotAppliedError) and not credentials.can_see_details(request):
            raise error.redacted() from error.__cause__
        raise


def describe(done: Acknowledgement, notes: tuple[str, ...] = (), *, with_details: bool) -> dict[str, Any]:
    """The acknowledgement, the row as its own endpoint shows it, and the resulting decision.

    Without details it names only the actor: what an effective change has set in `go_live_state` is the actor's own.
    """
    notes += done.notes_on_request
    values: dict[str, Any] = {"changed": done.changed, "event": done.sequence}
    if done.change.direction is Direction.SAFE:
        values["permits_outstanding"] = done.permits_outstanding
    if done.change.subject == GO_LIVE_STATE and done.go_live is not None:
        values |= representations.go_live_state(done.go_live, with_details=with_details or done.changed)
    elif done.system is not None:
        values |= representations.system_status(done.system, with_details=with_details)
    values["execution"] = representations.execution(decide(done.go_live))
    return values | ({"notes_on_request": list(notes)} if notes else {})


def _make_view(change: Change) -> View:
    @endpoint(change.method, is_direct=change.direction is Direction.SAFE)
    def view(request: HttpRequest) -> HttpResponse:
        return answer_change(request, change)

    return view


@endpoint("GET", EDIT.method)
def read_or_edit_system_status(request: HttpRequest) -> HttpResponse:
    """The only path that is both read and written."""
    if request.method == EDIT.method:
        return answer_change(request, EDIT)
    return reads.read_system_status(request)


def make_routes() -> list[URLPattern]:
    """The paths of the table of changes."""
    views = {change.name: _make_view(change) for change in CHANGES.values()}
    views[EDIT.name] = read_or_edit_system_status
    return [route(change.path.removeprefix("/"), views[change.name], change.name) for change in CHANGES.values()]
