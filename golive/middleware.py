"""The middleware: request id, probes, database deadline, the fast path of endpoints, all-or-nothing requests.

`GoLiveEnforcementMiddleware` lives in `golive.web.enforcement`; settings refer to it here, with the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.contrib.sessions import middleware as sessions
from django.core.exceptions import DisallowedHost
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.middleware import common
from django.urls import Resolver404, resolve
from psycopg.pq import TransactionStatus

from golive.database.deadline import READ_SECONDS, WRITE_SECONDS, database_deadline
from golive.domain.errors import ExecutionDenied
from golive.web import error_pages
from golive.web.enforcement import GetResponse, GoLiveEnforcementMiddleware, golive_exempt, is_enforced, is_exempt
from golive.web.problems import lacks_tls, method_not_allowed, problem, tls_required
from golive.web.request_id import choose_request_id, set_request_id

__all__ = [
    "AtomicRequestMiddleware",
    "CommonMiddleware",
    "CookielessEndpointMiddleware",
    "DatabaseDeadlineMiddleware",
    "GoLiveEnforcementMiddleware",
    "LivenessMiddleware",
    "PlainHttpMiddleware",
    "RequestIdMiddleware",
    "SessionMiddleware",
    "golive_exempt",
]

_SESSION_KEY = re.compile(r"[a-z0-9]{8,64}")
READ_METHODS = ("GET", "HEAD", "OPTIONS")
LIVENESS_PATHS = ("/health", "/healthz", "/livez")


class RequestIdMiddleware:
    """Takes a sane `X-Request-ID` or makes one, and returns it; it stays set until Django has logged the response."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request_id = choose_request_id(request.META.get("HTTP_X_REQUEST_ID"))
        set_request_id(request_id)
        response = self.get_response(request)
        response["X-Request-ID"] = request_id
        if response.status_code == HTTPStatus.NOT_MODIFIED:
            # There is no body: a cache would apply these headers to the body that the client has.
            del response["Content-Length"], response["Content-Type"]
        elif response.status_code == HTTPStatus.NO_CONTENT:
            del response["Content-Length"]
        elif isinstance(response, HttpResponse) and not response.has_header("Content-Length"):
            # Without it the server sends chunks, which cost proxies and clients more.
            response["Content-Length"] = str(len(response.content))
        return response


class LivenessMiddleware:
    """Answers `/health`, `/healthz` and `/livez`: the process is alive. Ignores host, scheme and database.

    Render restarts a service whose health check fails for a minute; an unreachable database must not cause that.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if f"/{request.path.lstrip('/').removesuffix('/')}" not in LIVENESS_PATHS:
            return self.get_response(request)
        if request.method not in READ_METHODS:
            return problem(request, method_not_allowed(request.method, READ_METHODS))
        return JsonResponse(
            {"status": "ok"}, headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        )


class DatabaseDeadlineMiddleware:
    """Bounds the total time that a request may wait for the database: reads 2.4 s, everything else 4.4 s."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        with database_deadline(READ_SECONDS if request.method in READ_METHODS else WRITE_SECONDS):
            return self.get_response(request)


class PlainHttpMiddleware:
    """Refuses writes over plain HTTP with an explanation, where Django's SecurityMiddleware would redirect them.

    A client that writes takes a redirect for success: `curl -f` exits 0, others repeat the call as a GET. Must come
    before SecurityMiddleware. Paths in SECURE_REDIRECT_EXEMPT decide for themselves, as endpoints do.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self._exempt = [re.compile(pattern) for pattern in settings.SECURE_REDIRECT_EXEMPT]

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.method in READ_METHODS or not lacks_tls(request):
            return self.get_response(request)
        if any(pattern.search(request.path.lstrip("/")) for pattern in self._exempt):
            return self.get_response(request)
        return error_pages.answer(request, tls_required())


class CommonMiddleware(common.CommonMiddleware):
    """Django's, but endpoints that must be reachable directly (`is_direct`) accept any host name."""

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        try:
            return super().process_request(request)
        except DisallowedHost:
            with suppress(Resolver404):
                if getattr(resolve(request.path_info, getattr(request, "urlconf", None)).func, "is_direct", False):
                    return None
            raise


class SessionMiddleware(sessions.SessionMiddleware):
    """Django's, but ignores a cookie that cannot be a session key: a NUL in it would make the query fail."""

    def process_request(self, request: HttpRequest) -> None:
        key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
        if key is not None and not _SESSION_KEY.fullmatch(key):
            del request.COOKIES[settings.SESSION_COOKIE_NAME]
        super().process_request(request)


class CookielessEndpointMiddleware:
    """The fast path of an endpoint (`golive.api.endpoint`): runs it at once for a client that sends no cookie.

    The middleware after this one is for people who sign in (session, CSRF, user, messages), and a program that reads
    should not pay for it. An endpoint uses those only with a cookie, is not atomic, and handles its own errors.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.META.get("HTTP_COOKIE"):
            return self.get_response(request)
        try:
            match = resolve(request.path_info, getattr(request, "urlconf", None))
        except Resolver404:
            return self.get_response(request)
        if not getattr(match.func, "is_endpoint", False):
            return self.get_response(request)
        request.resolver_match = match
        # Views of other apps are guarded, and the guard runs after all middleware.
        if is_enforced() and not is_exempt(request, match.func):
            return self.get_response(request)
        response: HttpResponseBase = match.func(request, *match.args, **match.kwargs)
        return response


class AtomicRequestMiddleware:
    """ATOMIC_REQUESTS, completed: an error response rolls back, even if the view caught the exception.

    Django rolls back only if the view raises; a view that catches the exception and returns an error response would
    have its half-done work committed. So the view runs here, inside the transaction, and its response is inspected.
    A template response is rendered here too: a failing template must roll back the view's writes.
    Must be the last middleware. Views marked `transaction.non_atomic_requests` are left alone.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponse | None:
        aliases = atomic_aliases(view)
        if not aliases:
            return None
        try:
            return _run_atomically(aliases, partial(view, request, *args, **kwargs))
        except ExecutionDenied as error:
            # Rolled back. Django calls no `process_exception` for a view that middleware runs.
            return error_pages.deny(request, error.decision)


def _run_atomically(aliases: list[str], view: Callable[[], Any]) -> HttpResponse:
    with ExitStack() as stack:
        for alias in aliases:
            stack.enter_context(transaction.atomic(using=alias))
        response: HttpResponse = view()
        if hasattr(response, "render") and callable(response.render):
            response = response.render()
        for alias in aliases:
            if response.status_code >= HTTPStatus.BAD_REQUEST:
                transaction.set_rollback(True, using=alias)
            else:
                _check_not_aborted(alias)
    return response


def _check_not_aborted(alias: str) -> None:
    """Raise TransactionManagementError if a statement failed and the view carried on regardless.

    PostgreSQL would answer COMMIT with a silent ROLLBACK, and the response would report what was never stored.
    """
    connection = connections[alias]
    if connection.vendor != "postgresql" or connection.connection is None:
        return
    if connection.connection.info.transaction_status == TransactionStatus.INERROR:
        raise transaction.TransactionManagementError("a statement failed in this request, so nothing can be stored")


def atomic_aliases(view: Callable[..., Any]) -> list[str]:
    """The databases in which a view runs in a transaction: those with ATOMIC_REQUESTS from which it is not exempt."""
    exempt: set[str] = getattr(view, "_non_atomic_requests", set())
    return [alias for alias in connections if connections.settings[alias]["ATOMIC_REQUESTS"] and alias not in exempt]
