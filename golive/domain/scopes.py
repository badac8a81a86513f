"""What an API token may do: scopes, each standing for permissions. The one place where the two are mapped."""

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
# No permission of Django's: a person who is signed in may read, a token needs to have been made for it.
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
    """The scope that a token needs in place of a permission; None if no token can have it."""
    return next((scope for scope, needed in SCOPES.items() if needed == permission), None)


def scopes_within(permissions: Collection[str]) -> tuple[str, ...]:
    """The scopes that somebody with these permissions may hand on: nobody makes a token that can do more than they."""
    return tuple(scope for scope, needed in SCOPES.items() if scope == READ or needed in permissions)


def actor_of_token(name: str, scopes: Iterable[str]) -> Actor:
    """A token as an actor. A scope that is not known (any more) gives nothing."""
    return Actor(name=f"token:{name}", permissions=frozenset(SCOPES[scope] for scope in scopes if scope in SCOPES))
