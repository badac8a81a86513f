"""The middleware by itself: prefixes, failures, the event loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.handlers.base import BaseHandler
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test import AsyncRequestFactory, RequestFactory
from django.test.utils import override_settings
from django.urls import path, re_path

from golive.state.snapshots import Snapshot
from golive.web import enforcement
from golive.web.enforcement import golive_exempt
from golive.web.routes import is_below
from tests.support.factories import make_go_live

runs: list[str] = []


@transaction.non_atomic_requests
def pay(request: HttpRequest) -> HttpResponse:
    runs.append(threading.current_thread().name)
    return HttpResponse("paid")


@transaction.non_atomic_requests
async def pay_async(request: HttpRequest) -> HttpResponse:
    runs.append(threading.current_thread().name)
    return HttpResponse("paid")


@transaction.non_atomic_requests
def pay_anywhere(request: HttpRequest, rest: str) -> HttpResponse:
    """A view for all paths, which may resolve dots by itself."""
    return pay(request)


urlpatterns = [
    path("pay", pay),
    path("pay/async", pay_async),
    path("look", golive_exempt(pay)),
    re_path("^(?P<rest>.*)$", pay_anywhere),
]

SETTINGS = {
    "ROOT_URLCONF": __name__,
    "GO_LIVE_ENFORCE": True,
    "MIDDLEWARE": ["golive.middleware.GoLiveEnforcementMiddleware"],
}
ALLOWED = Snapshot(make_go_live(go_live_enabled=True, kill_switch_engaged=False), None, 0.0)
UNKNOWN = Snapshot(None, None, 0.0)


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    runs.clear()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The threads that have read the state, which is unknown."""
    threads: list[str] = []

    def read() -> Snapshot:
        threads.append(threading.current_thread().name)
        return UNKNOWN

    monkeypatch.setattr(enforcement, "read_snapshot", read)
    return threads


def answer(target: str, **settings: Any) -> Any:
    with override_settings(**{**SETTINGS, **settings}):
        handler = BaseHandler()
        handler.load_middleware()
        return handler.get_response(RequestFactory().get(target))


async def answer_async(target: str) -> HttpResponseBase:
    with override_settings(**SETTINGS):
        handler = BaseHandler()
        handler.load_middleware(is_async=True)
        return await handler.get_response_async(AsyncRequestFactory().get(target))


@pytest.mark.parametrize(
    ("target", "prefix", "expected"),
    [
        ("/open", "/open", True),
        ("/open/", "/open", True),
        ("/open/x/y", "/open", True),
        ("/open/x", "/open/", True),
        ("/open", "/open/", True),
        ("/opened", "/open", False),
        ("/opened/x", "/open/", False),
        ("/x/open", "/open", False),
        ("/", "/open", False),
        ("/Open", "/open", False),
        ("/open", "open", False),
        ("/open", "", False),
        ("/anything", "/", True),
    ],
)
def test_prefix__holds_whole_segments(target: str, prefix: str, expected: bool) -> None:
    assert is_below(target, prefix) is expected


def test_preflight__that_no_other_middleware_has_answered__runs_nothing(reads: list[str]) -> None:
    """A view that looks at no method would pay."""
    preflight = {"Origin": "https://x.example.com", "Access-Control-Request-Method": "POST"}
    with override_settings(**SETTINGS):
        handler = BaseHandler()
        handler.load_middleware()
        response: Any = handler.get_response(RequestFactory().options("/pay", headers=preflight))

    assert (response.status_code, response.content) == (204, b"")
    assert runs == []


@pytest.mark.parametrize(
    "module", ["golive.api.reads", "golive", "golive_shop", "django.views.static", "django.contrib.admin"]
)
@pytest.mark.usefixtures("reads")
def test_view__that_says_it_is_of_an_exempt_module__is_guarded(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setattr(pay, "__module__", module)

    assert answer("/pay").status_code == 503


@pytest.mark.usefixtures("reads")
def test_prefixes__as_one_text__are_one_prefix() -> None:
    """Letter by letter, its / would exempt everything."""
    assert answer("/pay", GOLIVE_EXEMPT_PREFIXES="/open/").status_code == 503
    assert answer("/pay", GOLIVE_EXEMPT_PREFIXES="/pay").status_code == 200


@pytest.mark.parametrize("prefix", ["/", "//", ""])
@pytest.mark.usefixtures("reads")
def test_prefixes__that_hold_everything__exempt_nothing(prefix: str) -> None:
    assert answer("/pay", GOLIVE_EXEMPT_PREFIXES=[prefix]).status_code == 503


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/open/pay/1", 200),
        ("/open/../pay/1", 503),
        ("/open/%2e%2e/pay/1", 503),
        ("/open%2f..%2fpay/1", 503),
        ("/open/%252e%252e/pay/1", 503),
        ("/open%252f..%252fpay/1", 503),
        ("/open//pay/1", 503),
        ("//open/pay/1", 503),
        ("/open/./pay/1", 503),
        ("/open/.hidden", 503),
        ("/open/..%5cpay/1", 503),
        ("/open%5c..%5cpay/1", 503),
        ("/open/\\pay", 503),
        ("/open/..", 503),
    ],
)
@pytest.mark.usefixtures("reads")
def test_prefixes__and_a_path_that_another_reader_may_shorten__exempt_nothing(target: str, status: int) -> None:
    assert answer(target, GOLIVE_EXEMPT_PREFIXES=["/open/"]).status_code == status
    assert len(runs) == (status == 200)


def test_state__that_is_unknown__denies(reads: list[str]) -> None:
    assert answer("/pay").status_code == 503
    assert (len(reads), runs) == (1, [])


def test_read__that_fails__denies(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Snapshot:
        raise RuntimeError("made to fail")

    monkeypatch.setattr(enforcement, "read_snapshot", fail)

    response = answer("/pay")

    assert response.status_code == 503
    assert b"STATE_UNKNOWN" in response.content
    assert b"made to fail" not in response.content
    assert runs == []


def test_view__that_is_exempt__costs_no_read(reads: list[str]) -> None:
    assert answer("/look").status_code == 200
    assert reads == []


def test_page__that_cannot_be_made__is_told_as_json(reads: list[str]) -> None:
    with override_settings(**SETTINGS, TEMPLATES=[]):
        handler = BaseHandler()
        handler.load_middleware()
        response = handler.get_response(RequestFactory().get("/pay", headers={"Accept": "text/html"}))

    assert (response.status_code, response["Content-Type"]) == (503, "application/problem+json")


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("/apiary", "text/html"),
        ("/api-keys", "text/html"),
        ("/gatekeeper", "text/html"),
        ("/healthcare", "text/html"),
        ("/metricsboard", "text/html"),
        ("/api", "application/problem+json"),
        ("/api/pay", "application/problem+json"),
        ("/gate-503/pay", "application/problem+json"),
        ("/healthz", "application/problem+json"),
    ],
)
@pytest.mark.usefixtures("reads")
def test_denial__for_a_browser__is_json_below_the_paths_of_programs_only(target: str, kind: str) -> None:
    with override_settings(**SETTINGS):
        handler = BaseHandler()
        handler.load_middleware()
        response = handler.get_response(RequestFactory().get(target, headers={"Accept": "text/html"}))

    assert (response.status_code, response["Content-Type"].partition(";")[0]) == (503, kind)


@pytest.mark.parametrize("target", ["/pay", "/pay/async"])
def test_asgi__stopped__denies_and_reads_off_the_event_loop(reads: list[str], target: str) -> None:
    response = async_to_sync(answer_async)(target)

    assert response.status_code == 503
    assert runs == []
    assert len(reads) == 1


@pytest.mark.parametrize("target", ["/pay", "/pay/async", "/look"])
def test_asgi__allowed__runs(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    monkeypatch.setattr(enforcement, "read_snapshot", lambda: ALLOWED)

    assert async_to_sync(answer_async)(target).status_code == 200
    assert len(runs) == 1


def test_decorator__leaves_the_view_as_it_was() -> None:
    """The same view under another path stays guarded."""
    exempt: Callable[..., Any] = golive_exempt(pay)

    assert exempt is not pay
    assert exempt.__name__ == "pay"
    assert not hasattr(pay, "golive_exempt")


def test_decorator__of_a_class_that_is_no_view__is_refused() -> None:
    with pytest.raises(TypeError, match="as_view"):
        golive_exempt(dict)
