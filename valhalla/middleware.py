"""Cheaper versions of middleware of django-csp and Django that every request passes.

`make bench ARGS=--middleware` measures what that saves.
"""

from __future__ import annotations

from functools import cached_property, partial

from csp.constants import HEADER
from csp.middleware import CSPMiddleware, PolicyParts
from csp.utils import build_policy
from django.contrib.messages import middleware as messages
from django.contrib.messages.storage import default_storage
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.functional import SimpleLazyObject, empty


class ContentSecurityPolicyMiddleware(CSPMiddleware):
    """django-csp's, but the policy is built once, not per response: there is only one, and it has no nonce.

    django-csp's decorators have no effect with it, and there is no nonce: a view that needs either needs django-csp's
    own middleware.
    """

    @cached_property
    def _policy(self) -> str:
        return build_policy(**vars(PolicyParts()))

    def process_request(self, request: HttpRequest) -> None:
        """Does nothing; django-csp would prepare a nonce here."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        response.headers.setdefault(HEADER, self._policy)
        return response


class MessageMiddleware(messages.MessageMiddleware):
    """Django's, but the storage is created only when a view uses it: most responses have no messages."""

    def process_request(self, request: HttpRequest) -> None:
        request._messages = SimpleLazyObject(partial(default_storage, request))  # type: ignore[attr-defined]

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        stored = getattr(request, "_messages", None)
        if isinstance(stored, SimpleLazyObject) and stored.__dict__["_wrapped"] is empty:
            return response
        return super().process_response(request, response)
