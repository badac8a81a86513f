"""The project's own middleware does what the one does that it stands in for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from csp.middleware import CSPMiddleware
from django.contrib import messages
from django.contrib.messages.storage.base import BaseStorage
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from django.urls import path
from django.utils.deprecation import MiddlewareMixin

from golive.api.endpoint import answer_json, endpoint
from golive.middleware import CookielessEndpointMiddleware
from valhalla.middleware import ContentSecurityPolicyMiddleware, MessageMiddleware

HEADER = "Content-Security-Policy"


def ask(middleware: type[MiddlewareMixin], view: Callable[[HttpRequest], HttpResponse], request: HttpRequest) -> Any:
    return middleware(view)(request)


def make_request() -> HttpRequest:
    request = RequestFactory().get("/")
    request.session = {}  # type: ignore[assignment]
    return request


def test_policy__is_that_of_django_csp() -> None:
    kinds = (CSPMiddleware, ContentSecurityPolicyMiddleware)
    answers = [ask(kind, lambda _: HttpResponse(), make_request()) for kind in kinds]

    assert answers[0][HEADER] == answers[1][HEADER]
    assert "default-src 'self'" in answers[1][HEADER]


def test_policy__of_the_view__stays() -> None:
    own = "default-src 'none'"

    answer = ask(ContentSecurityPolicyMiddleware, lambda _: HttpResponse(headers={HEADER: own}), make_request())

    assert answer[HEADER] == own


def test_message__said_in_one_request__is_shown_in_the_next() -> None:
    def say(request: HttpRequest) -> HttpResponse:
        messages.success(request, "It is done.")
        return HttpResponse()

    said = ask(MessageMiddleware, say, make_request())
    following = make_request()
    following.COOKIES["messages"] = said.cookies["messages"].value
    shown: list[str] = []

    def show(request: HttpRequest) -> HttpResponse:
        shown.extend(str(message) for message in messages.get_messages(request))
        return HttpResponse()

    answer = ask(MessageMiddleware, show, following)

    assert shown == ["It is done."]
    assert answer.cookies["messages"]["max-age"] == 0


def test_message__none_said__no_storage_is_made(monkeypatch: Any) -> None:
    made: list[BaseStorage] = []
    init = BaseStorage.__init__

    def note(self: BaseStorage, *args: Any, **kwargs: Any) -> None:
        made.append(self)
        init(self, *args, **kwargs)

    monkeypatch.setattr(BaseStorage, "__init__", note)
    answer = ask(MessageMiddleware, lambda _: HttpResponse(), make_request())

    assert (made, dict(answer.cookies)) == ([], {})


# -- an endpoint, for a client without a cookie ------------------------------------------------------------------------


@endpoint("GET")
def describe_request(request: HttpRequest, name: str) -> HttpResponse:
    assert request.resolver_match is not None
    return answer_json({"name": name, "route": request.resolver_match.route})


def show_page(request: HttpRequest) -> HttpResponse:
    raise AssertionError("a view that is no endpoint ran without the middleware for people")


urlpatterns = [path("things/<slug:name>", describe_request), path("page", show_page)]


@pytest.fixture
def pass_on() -> Iterator[Callable[..., HttpResponse]]:
    """Ask the middleware; what it leaves to the others is 418."""

    def pass_on(path: str, method: str = "GET", **headers: str) -> HttpResponse:
        request = RequestFactory().generic(method, path, headers=headers)
        answer = CookielessEndpointMiddleware(lambda _: HttpResponse(status=418))(request)
        assert isinstance(answer, HttpResponse)
        return answer

    with override_settings(ROOT_URLCONF=__name__):
        yield pass_on


def test_endpoint__asked_without_a_cookie__is_run_at_once(pass_on: Callable[..., HttpResponse]) -> None:
    answer = pass_on("/things/one")

    assert (answer.status_code, answer.content) == (200, b'{"name":"one","route":"things/<slug:name>"}')
    assert pass_on("/things/one", "DELETE").status_code == 405


def test_endpoint__of_others_while_enforced__is_left_to_those_who_guard_it(
    pass_on: Callable[..., HttpResponse],
) -> None:
    with override_settings(GO_LIVE_ENFORCE=True):
        assert pass_on("/things/one").status_code == 418
    with override_settings(GO_LIVE_ENFORCE=True, GOLIVE_EXEMPT_PREFIXES=["/things"]):
        assert pass_on("/things/one").status_code == 200


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/things/one", {"Cookie": "any=1"}), ("/page", {}), ("/nothing", {})],
    ids=["a cookie", "no endpoint", "no view"],
)
def test_everything_else__passes_through_the_middleware_for_people(
    pass_on: Callable[..., HttpResponse], path: str, headers: dict[str, str]
) -> None:
    assert pass_on(path, **headers).status_code == 418
