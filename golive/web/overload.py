"""The response to a request that gets no thread (`golive.admission`): immediate, before Django runs."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Iterable
from http import HTTPStatus
from wsgiref.types import StartResponse, WSGIEnvironment

from django.template.loader import render_to_string

from golive.web.problems import CONTENT_TYPE, RETRY_AFTER_SECONDS, TITLES, type_of
from golive.web.request_id import choose_request_id

logger = logging.getLogger(__name__)

STATUS = HTTPStatus.SERVICE_UNAVAILABLE
NOT_READ = "Too many requests at this moment, so this one was not processed. Try again in a second."
NOT_DONE = "Too many requests at this moment; nothing was done. Repeat the request."


def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """503: a page for a browser in the admin, problem+json for all other clients."""
    method = environ["REQUEST_METHOD"]
    # Must not be mistaken for a state; and a change was certainly not made.
    is_read = method in ("GET", "HEAD")
    code, detail = ("STATE_UNKNOWN", NOT_READ) if is_read else ("NOT_APPLIED", NOT_DONE)
    request_id = choose_request_id(environ.get("HTTP_X_REQUEST_ID"))
    page = _make_page(code, detail) if _wants_page(environ) else None
    if page is not None:
        content_type, content = "text/html; charset=utf-8", page
    else:
        content_type, content = CONTENT_TYPE, _make_problem(code, detail, environ, request_id)
    headers = [
        ("Content-Type", content_type),
        ("Content-Length", str(len(content))),
        ("Cache-Control", "no-store"),
        ("Retry-After", RETRY_AFTER_SECONDS),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("X-Request-ID", request_id),
    ]
    start_response(f"{STATUS} {STATUS.phrase}", headers)
    return () if method == "HEAD" else (content,)


def _wants_page(environ: WSGIEnvironment) -> bool:
    return environ["PATH_INFO"].startswith("/admin") and "text/html" in environ.get("HTTP_ACCEPT", "")


@functools.cache
def _make_page(code: str, detail: str) -> bytes | None:
    """The project's error page; None if it cannot be rendered."""
    try:
        return render_to_string("golive/error.html", {"detail": detail, "code": code, "status": int(STATUS)}).encode()
    except Exception:
        logger.exception("the page for too many requests cannot be rendered; sending JSON instead")
        return None


def _make_problem(code: str, detail: str, environ: WSGIEnvironment, request_id: str) -> bytes:
    members = {
        "type": type_of(code),
        "title": TITLES[code],
        "status": int(STATUS),
        "detail": detail,
        # WSGI passes bytes decoded as Latin-1.
        "instance": environ["PATH_INFO"].encode("latin-1", "replace").decode(errors="replace"),
        "code": code,
        "request_id": request_id,
    }
    if code == "STATE_UNKNOWN":
        members["execution_allowed"] = False
    return json.dumps(members).encode()
