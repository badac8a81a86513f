"""Webhooks called by other systems, in their own formats."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse

from golive.api import body
from golive.api.changes import authenticate, describe, failures_reported
from golive.api.endpoint import answer_json, endpoint
from golive.controls import gathering
from golive.domain.alerts import read_cut_object, read_message
from golive.domain.changes import ENGAGE, check_can_apply
from golive.identity import credentials
from golive.identity.actors import origin_of

MAX_ALERT_BYTES = 1024 * body.KIB
# Read and discarded of a longer message, so that its sender receives the answer.
_MAX_DISCARDED_BYTES = 15 * MAX_ALERT_BYTES
ALERT_PATH = "/api/hooks/alertmanager"


@endpoint("POST", is_direct=True)
def take_alerts(request: HttpRequest) -> HttpResponse:
    """Engage the kill switch if any alert is firing. Alertmanager retries only on 5xx and 429."""
    actor = authenticate(request)
    check_can_apply(ENGAGE, actor.permissions)
    with_details = credentials.can_see_details(request)
    beginning = body.read_beginning(request, limit=MAX_ALERT_BYTES, discard=_MAX_DISCARDED_BYTES)
    if beginning.problem is None:
        fields, notes = body.parse_leniently(beginning.content)
    else:
        fields = read_cut_object(beginning.content.decode("utf-8-sig", errors="replace"))
        notes = (f"only the beginning of the body was read: {beginning.problem.detail}",)
    message = read_message(fields, is_whole=beginning.problem is None)
    values: dict[str, Any] = {"action": "none", "firing": message.firing, "resolved": message.resolved}
    if message.reason is None:
        noted = {"notes_on_request": list(notes)} if notes else {}
        return answer_json({**values, "changed": False, "event": None, **noted})
    if not message.is_readable:
        notes += ("the message cannot be read and counts as firing",)
    with failures_reported(request):
        done = gathering.apply_stop(
            ENGAGE,
            actor=actor,
            reason=message.reason,
            fields={"changed_by": message.receiver},
            origin=origin_of(request),
        )
    return answer_json({**values, "action": ENGAGE.name, **describe(done, notes, with_details=with_details)})
