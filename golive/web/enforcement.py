"""Enforcement: while execution is not allowed, the views of a project do not run."""

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

    The mark is on what is returned and on nothing else: the same view under another path can stay guarded, and a
    subclass or a decorator around it does something of its own, so it is guarded unless marked itself.
    Raises TypeError for a class that is no view.
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
    made = getattr(getattr(marked, "as_view", None), "__func__", None)
    if made is None:
        raise TypeError(f"{marked.__qualname__} is no view: it has no class method as_view")

    def as_view(cls: type, /, **initkwargs: Any) -> Any:
        view = made(cls, **initkwargs)
        return golive_exempt(view) if cls is marked else view

    setattr(marked, "as_view", classmethod(as_view))  # noqa: B010 - not known to the type checker
    return marked


def mark_exempt(view: Callable[..., Any]) -> None:
    """Mark this very object. The mark is the object itself, so that a copy of its attributes marks nothing."""
    setattr(view, _MARK, view)


def is_marked_exempt(view: Callable[..., Any]) -> bool:
    """Whether this very object is marked, and not one that it wraps."""
    return getattr(view, _MARK, None) is view


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
    """Whether this view may run whatever the state: by the view that was found, or by the prefixes of the settings."""
    if is_marked_exempt(view) or view in _SERVES_FILES:
        return True
    match = request.resolver_match
    if match is not None and _ADMIN_APP in match.app_names:
        made, _ = find_admin_views(get_resolver(getattr(request, "urlconf", None)))
        if id(view) in made:
            return True
    path = request.path_info
    # Below / alone is everything: whoever means that sets GO_LIVE_ENFORCE.
    prefixes = [prefix for prefix in exempt_prefixes() if prefix.strip("/")]
    return not is_ambiguous(path) and any(is_below(path, prefix) for prefix in prefixes)


def exempt_prefixes() -> Sequence[str]:
    prefixes: Sequence[str] = getattr(settings, "GOLIVE_EXEMPT_PREFIXES", ())
    # A lone text is one prefix; letter by letter its "/" would exempt everything.
    return (prefixes,) if isinstance(prefixes, str) else prefixes


@functools.cache
def find_admin_views(resolver: URLResolver) -> tuple[frozenset[int], tuple[str, ...]]:
    """The views (by `id`) below namespaces of the app `admin` that an AdminSite made; the routes of all others there.

    The namespace proves nothing, since any project may use it. A view is the admin's if a site of this process makes
    one of the same code for the same route. The resolver, like this cache, lives as long as the process.
    """
    # First, for it imports the URLconf, where a site may be made.
    includes = list(_find_admin_includes(resolver, ""))
    own = {(route, _code_of(view)) for site in all_sites for route, view in _walk(site.get_urls())}
    made: set[int] = set()
    others: list[str] = []
    for prefix, patterns in includes:
        for route, view in _walk(patterns):
            if (route, _code_of(view)) in own:
                made.add(id(view))
            elif not is_marked_exempt(view):
                others.append(f"{prefix}{route}")
    return frozenset(made), tuple(others)


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
    """What two views have in common that were made alike; a decorator has code of its own, whatever it copies."""
    return getattr(view, "__code__", type(view))


def _find_decision() -> Decision:
    try:
        return read_snapshot().decision
    except Exception:
        logger.exception("the enforcement failed, so it denies")
        return decide(None)


def _is_preflight(request: HttpRequest) -> bool:
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
