"""Middleware of django-csp and Django without the work for each request that no view here needs.

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
    """django-csp's. The policy is put together once, not for every answer: there is one, and no nonce in it.

    No decorator of django-csp has an effect here, and a nonce raises: a view that needs either needs django-csp's own.
    """

    @cached_property
    def _policy(self) -> str:
        return build_policy(**vars(PolicyParts()))

    def process_request(self, request: HttpRequest) -> None:
        """No nonce, which is what django-csp would prepare here."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        response.headers.setdefault(HEADER, self._policy)
        return response


class MessageMiddleware(messages.MessageMiddleware):
    """Django's, but the storage is made when a view asks for it: most answers say nothing to anybody."""

    def process_request(self, request: HttpRequest) -> None:
        request._messages = SimpleLazyObject(partial(default_storage, request))  # type: ignore[attr-defined]

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        stored = getattr(request, "_messages", None)
        if isinstance(stored, SimpleLazyObject) and stored.__dict__["_wrapped"] is empty:
            return response
        return super().process_response(request, response)
