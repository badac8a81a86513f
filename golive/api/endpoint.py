"""What all endpoints share: methods, error answers, entity tags."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.http import parse_etags
from django.views.decorators.csrf import csrf_exempt

from golive.database.failures import is_database_failure
from golive.domain.errors import GoLiveError, StateUnknownError
from golive.identity import credentials
from golive.web import problems
from golive.web.error_pages import DATABASE_UNAVAILABLE

logger = logging.getLogger(__name__)

View = Callable[..., HttpResponse]


def endpoint(
    *methods: str, describe_error: Callable[..., dict[str, Any]] | None = None, is_direct: bool = False
) -> Callable[[View], View]:
    """Make a view an endpoint for these methods (GET implies HEAD; none: any method). Errors become problem+json.

    `describe_error` takes the error and the path's arguments, and returns further members for it. `is_direct`: also
    answers clients that bypass the proxy, over plain HTTP and with any Host, as probes and stops require. Where TLS is
    required, other endpoints answer plain HTTP only without credentials.

    Not atomic: a read needs no transaction, and a change has its own, which must be committed before the answer.
    """
    allowed = (*methods, *(("HEAD",) if "GET" in methods else ()), "OPTIONS")

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            try:
                if methods and request.method == "OPTIONS":
                    return HttpResponse(status=204, headers={"Allow": ", ".join(allowed)})
                if methods and request.method not in allowed:
                    raise problems.method_not_allowed(request.method, allowed)
                if not is_direct and problems.lacks_tls(request) and credentials.shows_credentials(request):
                    raise problems.tls_required()
                return view(request, *args, **kwargs)
            except Exception as error:  # noqa: BLE001 - every path of an API answers in the API's own form
                explained = _explain(error)
                members = describe_error(explained, **kwargs) if describe_error else {}
                with_details = problems.has_details(explained) and _can_see_details(request)
                return problems.problem(request, explained, with_details=with_details, **members)

        # It needs a session only if there is a cookie (see `CookielessEndpointMiddleware`).
        answer.is_endpoint = True  # type: ignore[attr-defined]  # a function attribute, as Django uses them
        answer.is_direct = is_direct  # type: ignore[attr-defined]
        return transaction.non_atomic_requests(csrf_exempt(answer))

    return decorate


def _can_see_details(request: HttpRequest) -> bool:
    try:
        return credentials.can_see_details(request)
    except Exception:  # noqa: BLE001 - the answer must be sent in any case
        return False  # the caller cannot be identified


def _explain(error: Exception) -> GoLiveError:
    if isinstance(error, GoLiveError):
        return error
    if is_database_failure(error):
        logger.warning("the database failed", exc_info=error)
        return StateUnknownError(DATABASE_UNAVAILABLE)
    if isinstance(error, RequestDataTooBig):
        return problems.too_large()
    if isinstance(error, SuspiciousOperation):
        return problems.bad_request()
    logger.error("an endpoint failed", exc_info=error)
    return problems.internal_error()


def answer_json(values: Any) -> HttpResponse:
    """A JSON response that must not be cached."""
    return answer_payload(encode(values))


def answer_payload(payload: bytes) -> HttpResponse:
    """A response of encoded JSON that must not be cached."""
    response = HttpResponse(payload, content_type="application/json")
    response["Cache-Control"] = "no-store"
    return response


@dataclass(frozen=True)
class Payload:
    """Encoded JSON and its strong entity tag."""

    content: bytes
    etag: str

    @classmethod
    def of(cls, values: Any) -> Payload:
        content = encode(values)
        return cls(content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def answer_tagged(request: HttpRequest, payload: Payload, *, vary: str = "Authorization, Cookie") -> HttpResponse:
    """The payload, or 304 if the client already has it."""
    offered = request.META.get("HTTP_IF_NONE_MATCH")
    if offered and _is_known(payload.etag, offered):
        response = HttpResponse(status=304)
    else:
        response = HttpResponse(payload.content, content_type="application/json")
    response["ETag"] = payload.etag
    response["Cache-Control"] = "private, no-cache" if credentials.shows_credentials(request) else "no-cache"
    response["Vary"] = vary
    return response


def _is_known(etag: str, offered: str) -> bool:
    tags = parse_etags(offered)
    # Weak comparison (RFC 9110, 13.1.2): a compressing proxy turns a strong tag into a weak one.
    return tags == ["*"] or etag in (tag.removeprefix("W/") for tag in tags)


def encode(values: Any) -> bytes:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
