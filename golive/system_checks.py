"""Django's system checks: whether a project that installs the app has set up enforcement so that it can work."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.db import DEFAULT_DB_ALIAS, connections
from django.utils.module_loading import import_string

from golive import enforcement, failover
from golive.middleware import AtomicRequestMiddleware, GoLiveEnforcementMiddleware

_NAME = "golive.middleware.GoLiveEnforcementMiddleware"
_CORS = "corsheaders.middleware.CorsMiddleware"


@register()
def check_enforcement(**kwargs: Any) -> list[CheckMessage]:
    """That the middleware is there when it is to enforce, and stands where it acts before any view runs."""
    kinds = [_load(name) for name in settings.MIDDLEWARE]
    places = [place for place, kind in enumerate(kinds) if _is_a(kind, GoLiveEnforcementMiddleware)]
    found = _check_presence(bool(places)) + _check_prefixes()
    if not places:
        return found
    if any(_is_a(kind, AtomicRequestMiddleware) for kind in kinds[: places[0]]):
        found.append(
            Error(
                "AtomicRequestMiddleware stands before GoLiveEnforcementMiddleware, so views run unguarded.",
                hint=f"Move {_NAME} up in MIDDLEWARE: AtomicRequestMiddleware runs the view and must be the last.",
                id="golive.E002",
            )
        )
    if _CORS in settings.MIDDLEWARE[places[0] :]:
        found.append(
            Warning(
                "CorsMiddleware stands after GoLiveEnforcementMiddleware.",
                hint=f"Put {_CORS} first: it answers preflights, whatever the state.",
                id="golive.W002",
            )
        )
    return found


@register()
def check_failover(**kwargs: Any) -> list[CheckMessage]:
    """That a safeguard which is asked for is there."""
    if not failover.is_wanted() or connections[DEFAULT_DB_ALIAS].vendor == "postgresql":
        return []
    message = "GOLIVE_CLOSE_ON_FAILOVER is true, but only PostgreSQL can tell that it has failed over."
    return [Error(message, hint="Unset it, or use PostgreSQL.", id="golive.E010")]


def _check_presence(is_present: bool) -> list[CheckMessage]:
    if is_present or not enforcement.is_enforced():
        return []
    hint = f"Add {_NAME} to MIDDLEWARE, after CorsMiddleware and before everything that runs views."
    if getattr(settings, "GO_LIVE_ENFORCE", None):
        message = "GO_LIVE_ENFORCE is true, but no middleware enforces it."
        return [Error(message, hint=hint, id="golive.E001")]
    message = "No middleware enforces that views run only while execution is allowed."
    return [Warning(message, hint=f"{hint} Or set GO_LIVE_ENFORCE = False.", id="golive.W001")]


def _check_prefixes() -> list[CheckMessage]:
    prefixes = enforcement.exempt_prefixes()
    bad = [prefix for prefix in prefixes if not str(prefix).startswith("/")]
    found: list[CheckMessage] = []
    if bad:
        message = f"GOLIVE_EXEMPT_PREFIXES holds what is no path: {', '.join(map(repr, bad))}."
        found.append(Error(message, hint="Begin each prefix with /.", id="golive.E003"))
    if "/" in prefixes:
        message = "GOLIVE_EXEMPT_PREFIXES holds /, which exempts every view."
        found.append(Warning(message, hint="Name the paths, or set GO_LIVE_ENFORCE = False.", id="golive.W003"))
    return found


def _load(name: str) -> Any:
    try:
        return import_string(name)
    except ImportError:
        # Django says so itself when it loads the middleware.
        return None


def _is_a(kind: Any, base: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, base)
