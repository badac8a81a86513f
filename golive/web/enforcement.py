"""Enforcement: a project's views do not run unless execution is allowed."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.contrib.admin.sites import all_sites
from django.contrib.staticfiles import views as staticfiles
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLResolver, get_resolver
from django.views import static

from golive.domain.decision import Decision, decide
from golive.domain.errors import ExecutionDenied
from golive.state.snapshots import read_snapshot
from golive.web import error_pages
from golive.web.routes import is_ambiguous, is_below

logger = logging.getLogger(__name__)

GetResponse = Callable[[HttpRequest], HttpResponseBase]
View = TypeVar("View", bound=Callable[..., Any])

_MARK = "golive_exempt"
_ADMIN_APP = "admin"
_SERVES_FILES = (staticfiles.serve, static.serve)


def golive_exempt(view: View) -> View:
    """Mark a view, a function or a class, that may run whatever the state: it executes nothing for real.

    Only the returned object is marked: the same view under another path can stay guarded, and a subclass or a decorator
    around it may do something else, so it is guarded unless marked itself.
    Raises TypeError for a class that is not a view.
    """
    if isinstance(view, type):
        return cast(View, _exempt_class(view))
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
    mark_exempt(exempt)
    return cast(View, exempt)


def _exempt_class(marked: type) -> type:
    original = getattr(getattr(marked, "as_view", None), "__func__", None)
    if original is None:
        raise TypeError(f"{marked.__qualname__} is no view: it has no class method as_view")

    def as_view(cls: type, /, **initkwargs: Any) -> Any:
        view = original(cls, **initkwargs)
        return golive_exempt(view) if cls is marked else view

    setattr(marked, "as_view", classmethod(as_view))  # noqa: B010 - not known to the type checker
    return marked


def mark_exempt(view: Callable[..., Any]) -> None:
    """Mark exactly this object. The mark refers to the object, so copying its attributes marks nothing else."""
    setattr(view, _MARK, view)


def is_marked_exempt(view: Callable[..., Any]) -> bool:
    """Whether exactly this object is marked, not one that it wraps."""
    return getattr(view, _MARK, None) is view


class GoLiveEnforcementMiddleware:
    """Responds 503 in place of every view that is not exempt, unless execution is known to be allowed.

    It acts once the view is resolved and before it runs, so it must come before any middleware that runs views itself.
    Responses of other middleware before that (preflights, static files) are unaffected; a path without a view is 404.
    A stop does not interrupt a streaming response that has begun.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # Under ASGI the caller awaits the result, and Django runs `process_view` off the event loop.
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
            # Exempt, but not passed on: a view that ignores the method would execute.
            return HttpResponse(status=HTTPStatus.NO_CONTENT)
        return error_pages.deny(request, decision)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """The same denial for a view that called `require_execution` or `execution_permit` and was refused."""
        return error_pages.deny(request, exception.decision) if isinstance(exception, ExecutionDenied) else None


def is_enforced() -> bool:
    """The setting GO_LIVE_ENFORCE; if unset, true in production (the setting APP_ENV, by default production)."""
    enforce = getattr(settings, "GO_LIVE_ENFORCE", None)
    return getattr(settings, "APP_ENV", "production") == "production" if enforce is None else bool(enforce)


def is_exempt(request: HttpRequest, view: Callable[..., Any]) -> bool:
    """Whether this view may run whatever the state: by the resolved view, or by the prefixes in the settings."""
    if is_marked_exempt(view) or view in _SERVES_FILES:
        return True
    match = request.resolver_match
    if match is not None and _ADMIN_APP in match.app_names:
        admin_views, _ = find_admin_views(get_resolver(getattr(request, "urlconf", None)))
        if id(view) in admin_views:
            return True
    path = request.path_info
    # The prefix / would exempt everything; GO_LIVE_ENFORCE is the setting for that.
    prefixes = [prefix for prefix in exempt_prefixes() if prefix.strip("/")]
    return not is_ambiguous(path) and any(is_below(path, prefix) for prefix in prefixes)


def exempt_prefixes() -> Sequence[str]:
    prefixes: Sequence[str] = getattr(settings, "GOLIVE_EXEMPT_PREFIXES", ())
    # A plain string is one prefix; iterated by character, its "/" would exempt everything.
    return (prefixes,) if isinstance(prefixes, str) else prefixes


@functools.cache
def find_admin_views(resolver: URLResolver) -> tuple[frozenset[int], tuple[str, ...]]:
    """The views (by `id`) in namespaces of the app `admin` that an AdminSite made; and the routes of all others there.

    The namespace alone proves nothing, since any project may use it. A view is the admin's if a site in this process
    makes one with the same code for the same route. The resolver lives as long as the process, like this cache.
    """
    # This comes first: it imports the URLconf, which may create a site.
    includes = list(_find_admin_includes(resolver, ""))
    expected = {(route, _code_of(view)) for site in all_sites for route, view in _walk(site.get_urls())}
    admin_views: set[int] = set()
    others: list[str] = []
    for prefix, patterns in includes:
        for route, view in _walk(patterns):
            if (route, _code_of(view)) in expected:
                admin_views.add(id(view))
            elif not is_marked_exempt(view):
                others.append(f"{prefix}{route}")
    return frozenset(admin_views), tuple(others)


def _find_admin_includes(resolver: URLResolver, prefix: str) -> Iterator[tuple[str, Sequence[Any]]]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            below = f"{prefix}{pattern.pattern}"
            if pattern.app_name == _ADMIN_APP:
                yield below, pattern.url_patterns
            else:
                yield from _find_admin_includes(pattern, below)


def _walk(patterns: Sequence[Any], prefix: str = "") -> Iterator[tuple[str, Callable[..., Any]]]:
    """All routes and their views."""
    for pattern in patterns:
        route = f"{prefix}{pattern.pattern}"
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern.url_patterns, route)
        else:
            yield route, pattern.callback


def _code_of(view: Callable[..., Any]) -> object:
    """Identifies a view by its code; a decorator has code of its own, whatever attributes it copies."""
    return getattr(view, "__code__", type(view))


def _find_decision() -> Decision:
    try:
        return read_snapshot().decision
    except Exception:
        logger.exception("the enforcement failed, so it denies")
        return decide(None)


def _is_preflight(request: HttpRequest) -> bool:
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
