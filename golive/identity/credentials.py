"""Authentication: a program by its token, a person by their admin session. Both are looked up for every request."""

from __future__ import annotations

import copy
import logging
from typing import Any

from django.conf import settings
from django.db import Error
from django.http import HttpRequest
from django.middleware.csrf import CsrfViewMiddleware

from golive.database.failures import only_database_errors
from golive.domain.changes import Actor
from golive.domain.errors import PermissionRequiredError
from golive.domain.scopes import READ_PERMISSION
from golive.identity import throttle, tokens
from golive.identity.actors import actor_of, client_address
from golive.web import problems
from golive.web.problems import HttpError

logger = logging.getLogger(__name__)

# Caches the verified token in `request.META`. No header can set it: header keys begin with HTTP_.
_TOKEN_KEY = "golive.token"  # noqa: S105 - a key, no secret

# OFREP clients may send their token in it. Other endpoints ignore it: it may be meant for a gateway in front of us.
API_KEY_HEADER = "X-API-Key"


def reads_need_credentials() -> bool:
    return bool(getattr(settings, "GOLIVE_READ_TOKEN_REQUIRED", False))


def details_are_public() -> bool:
    """Whether names, reasons and history are public. By default they are not."""
    return bool(getattr(settings, "GOLIVE_PUBLIC_DETAILS", False))


def is_signed_in(request: HttpRequest) -> bool:
    """Whether a person is signed in; queries the database only if there is a session cookie."""
    with only_database_errors():
        return settings.SESSION_COOKIE_NAME in request.COOKIES and request.user.is_authenticated


def shows_credentials(request: HttpRequest) -> bool:
    """Whether a request carries a token or a session cookie, valid or not. Looks nothing up."""
    return _find_text(request, takes_api_key=True) is not None or settings.SESSION_COOKIE_NAME in request.COOKIES


def authenticate(request: HttpRequest) -> Actor:
    """The actor of a request for a change. Raises HttpError: 401, 429, or 403 for a session without a CSRF token.

    If the request carries a token, only the token counts. Raises database errors unchanged.
    """
    token = find_token(request)
    if token is not None:
        return token
    if not is_signed_in(request):
        raise problems.unauthenticated()
    _check_csrf(request)
    return actor_of(request.user)


def find_token(request: HttpRequest, *, takes_api_key: bool = False) -> Actor | None:
    """The actor of the request's token; None if it carries none. Raises HttpError for an invalid one."""
    if _TOKEN_KEY not in request.META:
        text = _find_text(request, takes_api_key=takes_api_key)
        request.META[_TOKEN_KEY] = None if text is None else _verify(request, text)
    result: Actor | HttpError | None = request.META[_TOKEN_KEY]
    if isinstance(result, HttpError):
        raise result
    return result


def _find_text(request: HttpRequest, *, takes_api_key: bool) -> str | None:
    offered: str | None = request.META.get("HTTP_AUTHORIZATION")
    if offered is not None:
        scheme, _, text = offered.strip().partition(" ")
        if scheme.lower() == "bearer":
            return text.strip()
    # Another scheme is meant for a proxy in front and is ignored.
    return request.headers.get(API_KEY_HEADER) if takes_api_key else None


def _verify(request: HttpRequest, text: str) -> Actor | HttpError:
    with only_database_errors():
        actor = tokens.verify_token(text)
    if actor is not None:
        return actor
    seconds = throttle.count_failure(client_address(request))
    logger.warning("bad credentials from %s", client_address(request))
    return problems.bad_token() if seconds is None else problems.too_many_failures(seconds)


def check_can_read(request: HttpRequest, *, takes_api_key: bool = False) -> None:
    """Raise 401 for a bad token, and, if reads need credentials, 401 without any and 403 without the scope."""
    is_required = reads_need_credentials()
    try:
        token = find_token(request, takes_api_key=takes_api_key)
    except Error:
        if is_required:
            raise
        # Not needed for this read; how to respond without a database is the view's decision.
        return
    if is_required:
        _check_reader(request, token)


def check_can_see_history(request: HttpRequest) -> None:
    """Raise 401 or 403 for a reader who may not see names and reasons."""
    token = find_token(request)
    if reads_need_credentials() or not details_are_public():
        _check_reader(request, token)


def _check_reader(request: HttpRequest, token: Actor | None) -> None:
    if token is None and not is_signed_in(request):
        raise problems.unauthenticated()
    if token is not None and READ_PERMISSION not in token.permissions:
        raise PermissionRequiredError(READ_PERMISSION)


def can_see_details(request: HttpRequest) -> bool:
    """Whether this reader may see names and reasons."""
    if details_are_public():
        return True
    try:
        token = find_token(request)
    except HttpError:
        return False
    return is_signed_in(request) if token is None else READ_PERMISSION in token.permissions


class _CsrfCheck(CsrfViewMiddleware):
    def _reject(self, request: HttpRequest, reason: str) -> Any:
        raise problems.forbidden(f"A session needs the CSRF token in the header X-CSRFToken ({reason.rstrip('.')}).")


def _check_csrf(request: HttpRequest) -> None:
    # As a PUT: for a POST Django would parse the body as a form.
    probe = copy.copy(request)
    probe.method = "PUT"
    _CsrfCheck(lambda _: None).process_view(probe, None, (), {})  # type: ignore[arg-type]  # it never calls the view
