"""Django system checks: whether a project that installs the app has configured enforcement so that it works."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.management import get_commands
from django.db import DEFAULT_DB_ALIAS, connections
from django.urls import get_resolver
from django.utils.module_loading import import_string

from golive.deploys import safe_migrate
from golive.middleware import AtomicRequestMiddleware, GoLiveEnforcementMiddleware
from golive.state import failover
from golive.web import enforcement
from golive.web.routes import is_ambiguous

_NAME = "golive.middleware.GoLiveEnforcementMiddleware"
_CORS = "corsheaders.middleware.CorsMiddleware"


@register()
def check_enforcement(**kwargs: Any) -> list[CheckMessage]:
    """The middleware is installed when enforcement is on, and placed so that it acts before any view runs."""
    middleware = [_load(name) for name in settings.MIDDLEWARE]
    positions = [index for index, each in enumerate(middleware) if _is_subclass(each, GoLiveEnforcementMiddleware)]
    messages = _check_presence(bool(positions)) + _check_prefixes()
    if not positions:
        return messages
    if any(_is_subclass(each, AtomicRequestMiddleware) for each in middleware[: positions[0]]):
        messages.append(
            Error(
                "AtomicRequestMiddleware comes before GoLiveEnforcementMiddleware, so views run unguarded.",
                hint=f"Move {_NAME} up in MIDDLEWARE: AtomicRequestMiddleware runs the view and must be the last.",
                id="golive.E002",
            )
        )
    if _CORS in settings.MIDDLEWARE[positions[0] :]:
        messages.append(
            Warning(
                "CorsMiddleware comes after GoLiveEnforcementMiddleware.",
                hint=f"Put {_CORS} first: it answers preflights, whatever the state.",
                id="golive.W002",
            )
        )
    return messages


@register()
def check_failover(**kwargs: Any) -> list[CheckMessage]:
    """The failover safeguard, if enabled, is supported by the database."""
    if not failover.is_enabled() or connections[DEFAULT_DB_ALIAS].vendor == "postgresql":
        return []
    message = "GOLIVE_CLOSE_ON_FAILOVER is true, but only PostgreSQL can tell that it has failed over."
    return [Error(message, hint="Unset it, or use PostgreSQL.", id="golive.E010")]


@register()
def check_safe_migrate(**kwargs: Any) -> list[CheckMessage]:
    """With GOLIVE_SAFE_MIGRATE, `migrate` is the one of this app, not another app's."""
    if not safe_migrate.is_wanted():
        return []
    owner = get_commands().get("migrate")
    if owner == "golive":
        return []
    message = f"GOLIVE_SAFE_MIGRATE is true, but the migrate that runs is that of {owner}."
    return [Error(message, hint="Put golive before it in INSTALLED_APPS, or unset the setting.", id="golive.E011")]


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
    prefixes = [str(prefix) for prefix in enforcement.exempt_prefixes()]
    all_views = [prefix for prefix in prefixes if prefix.startswith("/") and not prefix.strip("/")]
    bad = [prefix for prefix in prefixes if prefix not in all_views]
    bad = [prefix for prefix in bad if not prefix.startswith("/") or is_ambiguous(prefix)]
    messages: list[CheckMessage] = []
    if bad:
        message = f"GOLIVE_EXEMPT_PREFIXES has entries that are not plain paths: {', '.join(map(repr, bad))}."
        hint = r"Begin each prefix with /, without //, /., \\ and %."
        messages.append(Error(message, hint=hint, id="golive.E003"))
    if all_views:
        message = "GOLIVE_EXEMPT_PREFIXES holds /, which would exempt every view. It exempts none."
        messages.append(Error(message, hint="Name the paths, or set GO_LIVE_ENFORCE = False.", id="golive.E004"))
    return messages


@register()
def check_admin_namespace(**kwargs: Any) -> list[CheckMessage]:
    """Views in a namespace called `admin` that no AdminSite made are guarded; warn about them."""
    if not enforcement.is_enforced() or not getattr(settings, "ROOT_URLCONF", None):
        return []
    _, others = enforcement.find_admin_views(get_resolver())
    if not others:
        return []
    return [
        Warning(
            f"No AdminSite made these views in the namespace of the admin, so they are guarded: {', '.join(others)}.",
            hint='Give the namespace another name than "admin"; mark what may run while stopped @golive_exempt.',
            id="golive.W004",
        )
    ]


def _load(name: str) -> Any:
    try:
        return import_string(name)
    except ImportError:
        # Django reports this itself when it loads the middleware.
        return None


def _is_subclass(value: Any, base: type) -> bool:
    return isinstance(value, type) and issubclass(value, base)
