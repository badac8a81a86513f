"""What the service is measured against."""

from __future__ import annotations

import os

from django.db import transaction
from django.forms.models import model_to_dict
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from golive.api.endpoint import endpoint
from golive.models import GoLiveState

# The decision takes two values, as it does in the service.
ENABLED, ENGAGED = "go-live-enabled", "kill-switch-engaged"


@transaction.non_atomic_requests
@csrf_exempt
def answer_nothing(request: HttpRequest) -> HttpResponse:
    """The least that a Django view can do, in no transaction."""
    return HttpResponse()


answer_nothing_at_once = endpoint("GET")(answer_nothing)


def read_row(request: HttpRequest) -> HttpResponse:
    """The row as one would read it at first: by the ORM, in the transaction of ATOMIC_REQUESTS."""
    return JsonResponse(model_to_dict(GoLiveState.objects.get(pk=1)))


def read_flag(request: HttpRequest) -> HttpResponse:
    """One of the two, as the peer's documentation says to ask for it."""
    return _answer_unlogged(request, allowed=_find(ENABLED))


def read_decision(request: HttpRequest) -> HttpResponse:
    """Both, and what follows from them."""
    return _answer_unlogged(request, allowed=_find(ENABLED) and not _find(ENGAGED))


def _answer_unlogged(request: HttpRequest, *, allowed: bool) -> HttpResponse:
    # As the gate's own answers are left out of the access log.
    request.META["golive.unlogged"] = True
    return JsonResponse({"allowed": allowed})


def _find(name: str) -> bool:
    if os.environ["BENCH_PEER"] == "constance":
        from constance import config

        return bool(getattr(config, name.upper().replace("-", "_")))
    from waffle import switch_is_active

    return bool(switch_is_active(name))


@csrf_exempt
def set_flags(request: HttpRequest, to: str) -> HttpResponse:
    """Allow (`on`) or stop (`off`); the transaction is committed before the answer leaves."""
    for name, value in ((ENABLED, True), (ENGAGED, to != "on")):
        if os.environ["BENCH_PEER"] == "constance":
            from constance import config

            setattr(config, name.upper().replace("-", "_"), value)
        else:
            from waffle.models import Switch

            switch, _ = Switch.objects.get_or_create(name=name)
            switch.active = value
            switch.save()
    return JsonResponse({"allowed": to == "on"})
