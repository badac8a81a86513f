"""Calls that other systems make by themselves, in their own form."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse

from golive import controls
from golive.api import body
from golive.api.changes import authenticate, describe, failures_reported, log_change
from golive.api.endpoint import answer_json, endpoint
from golive.client import origin_of
from golive.domain.alerts import read_message
from golive.domain.changes import ENGAGE, Channel, check_can_apply

ALERT_LIMIT = 1024 * body.KIB
ALERT_PATH = "/api/hooks/alertmanager"


@endpoint("POST")
def take_alerts(request: HttpRequest) -> HttpResponse:
    """Engage the kill switch if anything fires. Alertmanager repeats a call that got 5xx or 429, and no other."""
    actor = authenticate(request)
    check_can_apply(ENGAGE, actor.permissions)
    fields, notes = body.read_leniently(request, limit=ALERT_LIMIT)
    message = read_message(fields)
    told: dict[str, Any] = {"action": "none", "firing": message.firing, "resolved": message.resolved}
    if message.reason is None:
        return answer_json({**told, "changed": False, "event": None})
    if not message.is_readable:
        notes += ("the message cannot be read and counts as firing",)
    with failures_reported(request):
        done = controls.apply_change(
            ENGAGE,
            actor=actor,
            reason=message.reason,
            channel=Channel.API,
            fields={"changed_by": message.receiver},
            origin=origin_of(request),
        )
    log_change(done, actor)
    return answer_json({**told, "action": ENGAGE.name, **describe(done, notes)})
