"""The public status page."""

from __future__ import annotations

from django.conf import settings
from django.db import Error, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt

from golive.domain.decision import decide
from golive.identity.credentials import can_see_details, is_signed_in, reads_need_credentials
from golive.state import snapshots
from golive.web import error_pages, problems

_ALLOWED = ("GET", "HEAD", "OPTIONS")


@transaction.non_atomic_requests
@csrf_exempt
def show_status(request: HttpRequest) -> HttpResponse:
    """May the system execute? A page for people, which also answers when the state is unknown."""
    if request.method not in _ALLOWED:
        return error_pages.answer(request, problems.method_not_allowed(request.method, _ALLOWED))
    if request.method == "OPTIONS":
        return HttpResponse(status=204, headers={"Allow": ", ".join(_ALLOWED)})
    if request.get_preferred_type(["text/html", "application/json"]) == "application/json":
        response: HttpResponse = JsonResponse({"ok": True, "service": "valhalla"})
    else:
        response = render(request, "golive/status.html", _status_context(request))
    response["Vary"] = "Accept, Cookie"
    response["Cache-Control"] = "no-store"
    return response


def _status_context(request: HttpRequest) -> dict[str, object]:
    snapshot = snapshots.read_snapshot()
    is_hidden = with_details = False
    try:
        with_details = can_see_details(request)
        is_hidden = reads_need_credentials() and not is_signed_in(request)
    except Error:
        # The caller cannot be identified, so treat them as anonymous.
        is_hidden = reads_need_credentials() and snapshot.go_live is not None
    return {
        # Like /api/status, which the page polls: both rows or nothing.
        "decision": snapshot.decision if snapshot.system else decide(None),
        "unknown": decide(None),
        "go_live": snapshot.go_live,
        "system": snapshot.system,
        "with_details": with_details,
        "is_hidden": is_hidden,
        "release": getattr(settings, "RELEASE", None),
    }
