"""What is answered when no view does: the handlers that `valhalla.urls` names, and the one for failed CSRF.

Browsers get a page, everything else problem+json; under the paths of programs it is problem+json for all.
"""

from __future__ import annotations

import logging
import sys

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from golive import problems
from golive.domain.errors import GoLiveError, StateUnknownError

logger = logging.getLogger(__name__)

_PROGRAM_PATHS = ("/api", "/gate", "/ofrep", "/readyz", "/metrics", "/health", "/livez")
DATABASE_AWAY = "The database does not answer. Execution is not allowed while the state cannot be known."


def answer(request: HttpRequest, error: GoLiveError) -> HttpResponse:
    """A page for a browser, problem+json for a program."""
    if request.path.startswith(_PROGRAM_PATHS) or "text/html" not in request.headers.get("Accept", ""):
        return problems.problem(request, error)
    described = problems.problem(request, error)
    context = {"detail": error.detail, "code": error.code, "status": described.status_code}
    page = render(request, "golive/error.html", context, status=described.status_code)
    for name in ("Allow", "Retry-After", "Cache-Control"):
        if name in described:
            page[name] = described[name]
    return page


def handle_bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request, problems.too_large() if isinstance(exception, RequestDataTooBig) else problems.bad_request())


def handle_forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    detail = str(exception) if isinstance(exception, PermissionDenied) else ""
    return answer(request, problems.forbidden(detail or "You do not have the permission that this needs."))


def handle_csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    logger.warning("CSRF check failed: %s", reason)
    return answer(
        request, problems.forbidden("The form is out of date, or came from elsewhere. Go back, reload, try again.")
    )


def handle_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request, problems.not_found())


def handle_server_error(request: HttpRequest) -> HttpResponse:
    """Called while the exception is being handled; Django has logged it. A database that is away is not our error."""
    error = sys.exc_info()[1]
    if isinstance(error, (InterfaceError, OperationalError)):
        return answer(request, StateUnknownError(DATABASE_AWAY))
    return answer(request, error if isinstance(error, GoLiveError) else problems.internal_error())
