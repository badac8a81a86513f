"""The scopes of API tokens, and the only mapping of scopes to permissions."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from golive.domain.changes import (
    COMPLETE,
    DISABLE,
    ENABLE,
    ENGAGE,
    OVERRIDE_PERMISSION,
    RELEASE,
    Actor,
)

READ = "read"
# Not a Django permission: any signed-in person may read, but a token needs the scope.
READ_PERMISSION = "golive.read"

SCOPES: dict[str, str] = {
    READ: READ_PERMISSION,
    "engage": ENGAGE.permission,
    "disable": DISABLE.permission,
    "release": RELEASE.permission,
    "enable": ENABLE.permission,
    "complete": COMPLETE.permission,
    "override": OVERRIDE_PERMISSION,
}


def scope_for(permission: str) -> str | None:
    """The scope that grants a permission to a token; None if no token can have it."""
    return next((scope for scope, needed in SCOPES.items() if needed == permission), None)


def scopes_within(permissions: Collection[str]) -> tuple[str, ...]:
    """The scopes that a holder of these permissions may give a token: it can do no more than its maker."""
    return tuple(scope for scope, needed in SCOPES.items() if scope == READ or needed in permissions)


def actor_of_token(name: str, scopes: Iterable[str]) -> Actor:
    """A token as an actor. An unknown scope grants nothing."""
    return Actor(name=f"token:{name}", permissions=frozenset(SCOPES[scope] for scope in scopes if scope in SCOPES))
