"""Error responses outside of views: the handlers that `valhalla.urls` names, the CSRF failure view, and denials.

Browsers get a page, all other clients problem+json; paths for programs always return problem+json.
"""

from __future__ import annotations

import json
import logging
import sys
from http import HTTPStatus

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.cache import patch_vary_headers

from golive.domain.decision import Decision
from golive.domain.errors import GoLiveError, StateUnknownError
from golive.web import problems
from golive.web.denials import describe_denial
from golive.web.request_id import choose_request_id, get_request_id
from golive.web.routes import is_below

logger = logging.getLogger(__name__)

_PROGRAM_PATHS = (
    *("/api", "/gate", "/gate-503", "/ofrep", "/readyz", "/metrics"),
    *("/health", "/healthz", "/livez"),
)
DATABASE_UNAVAILABLE = "The database does not answer. Execution is not allowed while the state cannot be known."


def answer(request: HttpRequest, error: GoLiveError) -> HttpResponse:
    """A page for a browser, problem+json for a program."""
    if not _wants_page(request):
        return problems.problem(request, error)
    described = problems.problem(request, error)
    context = {"detail": error.detail, "code": error.code, "status": described.status_code}
    page = render(request, "golive/error.html", context, status=described.status_code)
    for name in ("Allow", "Retry-After", "Cache-Control"):
        if name in described:
            page[name] = described[name]
    return page


def deny(request: HttpRequest, decision: Decision) -> HttpResponse:
    """503 in place of a view that may not run. Works in any project, whatever its templates and paths."""
    status = HTTPStatus.SERVICE_UNAVAILABLE
    request_id = get_request_id() or choose_request_id(request.headers.get("X-Request-ID"))
    values = describe_denial(decision, status=status, instance=request.path, request_id=request_id)
    content, content_type = json.dumps(values), problems.CONTENT_TYPE
    if _wants_page(request):
        context = {"decision": decision, "status": int(status), "request_id": request_id}
        try:
            # Without the request: a project's context processors must not run either.
            content, content_type = render_to_string("golive/denied.html", context), "text/html; charset=utf-8"
        except Exception:
            logger.exception("the page of a denial cannot be rendered; sending JSON instead")
    response = HttpResponse(content, status=status, content_type=content_type)
    response["X-Request-ID"] = request_id
    response["Cache-Control"] = "no-store"
    response["Retry-After"] = problems.RETRY_AFTER_SECONDS
    patch_vary_headers(response, ("Accept",))
    return response


def _wants_page(request: HttpRequest) -> bool:
    is_for_programs = any(is_below(request.path, prefix) for prefix in _PROGRAM_PATHS)
    return not is_for_programs and "text/html" in request.headers.get("Accept", "")


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
    """Called while the exception is handled; Django has logged it. An unavailable database is 503, not 500."""
    error = sys.exc_info()[1]
    if isinstance(error, (InterfaceError, OperationalError)):
        return answer(request, StateUnknownError(DATABASE_UNAVAILABLE))
    return answer(request, error if isinstance(error, GoLiveError) else problems.internal_error())
