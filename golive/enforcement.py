"""Enforcement: while execution is not allowed, the views of a project do not run."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator

from golive import error_pages
from golive.domain.decision import Decision, decide
from golive.domain.errors import ExecutionDenied
from golive.snapshots import read_snapshot

logger = logging.getLogger(__name__)

GetResponse = Callable[[HttpRequest], HttpResponseBase]
View = TypeVar("View", bound=Callable[..., Any])

_MARK = "golive_exempt"
_ADMIN_APP = "admin"
# This app, and what serves files.
_EXEMPT_MODULES = ("golive", "django.contrib.staticfiles", "django.views.static")


def golive_exempt(view: View) -> View:
    """Mark a view, a function or a class, that may run whatever the state: it executes nothing for real.

    The mark is on what is returned, so that the same view under another path can stay guarded.
    """
    if isinstance(view, type):
        return cast(View, method_decorator(golive_exempt, name="dispatch")(view))
    if iscoroutinefunction(view):

        @functools.wraps(view)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            return await view(*args, **kwargs)

        exempt: Callable[..., Any] = call_async
    else:

        @functools.wraps(view)
        def call(*args: Any, **kwargs: Any) -> Any:
            return view(*args, **kwargs)

        exempt = call
    setattr(exempt, _MARK, True)
    return cast(View, exempt)


class GoLiveEnforcementMiddleware:
    """Answers 503 in place of every view that is not exempt, unless execution is known to be allowed.

    It acts when the view is known and none has run, so it must stand before any middleware that runs views by itself.
    What other middleware answers before that, a preflight or a static file, is not looked at; a path that leads to no
    view is 404. An answer that streams is not cut off by a stop that comes after it began.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # Under ASGI what comes back is awaited by the caller; `process_view` Django moves off the event loop.
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponse | None:
        if not is_enforced() or is_exempt(request, view):
            return None
        decision = _find_decision()
        if decision.allowed:
            return None
        if _is_preflight(request):
            # Exempt, but not passed on: a view that looks at no method would run.
            return HttpResponse(status=HTTPStatus.NO_CONTENT)
        return error_pages.deny(request, decision)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """A view that asked by itself (`require_execution`, `execution_permit`) and was refused: the same denial."""
        return error_pages.deny(request, exception.decision) if isinstance(exception, ExecutionDenied) else None


def is_enforced() -> bool:
    """By the setting GO_LIVE_ENFORCE; where it is not set, in production (the setting APP_ENV; not set: production)."""
    enforce = getattr(settings, "GO_LIVE_ENFORCE", None)
    return getattr(settings, "APP_ENV", "production") == "production" if enforce is None else bool(enforce)


def is_exempt(request: HttpRequest, view: Callable[..., Any]) -> bool:
    """Whether this view may run whatever the state. By the view that was found, not by what its path looks like."""
    if getattr(view, _MARK, False) is True:
        return True
    module = str(getattr(view, "__module__", ""))
    if any(module == name or module.startswith(f"{name}.") for name in _EXEMPT_MODULES):
        return True
    if request.resolver_match is not None and _ADMIN_APP in request.resolver_match.app_names:
        return True
    return any(is_below(request.path_info, prefix) for prefix in exempt_prefixes())


def exempt_prefixes() -> Sequence[str]:
    prefixes: Sequence[str] = getattr(settings, "GOLIVE_EXEMPT_PREFIXES", ())
    # A lone text is one prefix; letter by letter its "/" would exempt everything.
    return (prefixes,) if isinstance(prefixes, str) else prefixes


def is_below(path: str, prefix: str) -> bool:
    """`/open` and `/open/` hold `/open` and `/open/x`, not `/opened`."""
    stem = prefix.rstrip("/")
    return prefix.startswith("/") and (path == stem or path.startswith(f"{stem}/"))


def _find_decision() -> Decision:
    try:
        return read_snapshot().decision
    except Exception:
        logger.exception("the enforcement failed, so it denies")
        return decide(None)


def _is_preflight(request: HttpRequest) -> bool:
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
