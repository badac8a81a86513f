"""The project's own middleware does what the one does that it stands in for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from csp.middleware import CSPMiddleware
from django.contrib import messages
from django.contrib.messages.storage.base import BaseStorage
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.utils.deprecation import MiddlewareMixin

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
