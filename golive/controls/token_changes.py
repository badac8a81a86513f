"""Creates and revokes API tokens: a row and its event in one transaction, written like every other change."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS

from golive.controls.event_writer import EventWriter
from golive.controls.transactions import commit
from golive.domain.changes import UNKNOWN_ORIGIN, Actor, Channel, Origin
from golive.domain.errors import FieldError, InvalidRequestError
from golive.domain.requests import ChangeRequest
from golive.domain.scopes import SCOPES
from golive.domain.tokens import is_name, make_token_text
from golive.models import ApiToken
from golive.state import singletons
from golive.state.history import token_values

MAX_EXPIRY = timedelta(days=3660)

T = TypeVar("T")
_Values = dict[str, Any]


def make_token(
    name: str,
    *,
    scopes: Iterable[str],
    actor: Actor,
    channel: Channel,
    expires_in: timedelta | None = None,
    origin: Origin = UNKNOWN_ORIGIN,
    using: str = DEFAULT_DB_ALIAS,
) -> tuple[ApiToken, str]:
    """Create a token; returns its row and its text, which cannot be recovered later.

    Raises InvalidRequestError, and as `apply.apply_change`: without a readable state nothing can be recorded.
    """
    requested = frozenset(scopes)
    _check_new(name, requested, expires_in)
    text = make_token_text(secrets.choice)

    def write() -> tuple[ApiToken, None, _Values]:
        # Writers are serialised by the row lock, so the name cannot be taken between this check and the insert.
        if ApiToken.objects.using(using).filter(name=name, revoked_at=None).exists():
            raise InvalidRequestError([FieldError("name", "is in use; choose another, or revoke that token first")])
        now = datetime.now(UTC)
        token = ApiToken(
            name=name,
            prefix=text.prefix,
            secret_hash=text.secret_hash,
            scopes=[scope for scope in SCOPES if scope in requested],
            created_by=actor.name,
            created_at=now,
            expires_at=None if expires_in is None else now + expires_in,
        )
        token.save(using=using, force_insert=True)
        return token, None, token_values(token)

    token = _record("create", write, actor=actor, channel=channel, origin=origin, using=using)
    return token, text.text


def revoke_token(
    token_id: int, *, actor: Actor, channel: Channel, origin: Origin = UNKNOWN_ORIGIN, using: str = DEFAULT_DB_ALIAS
) -> ApiToken:
    """Revoke one token permanently; idempotent. Raises InvalidRequestError if there is none, and as `make_token`."""

    def write() -> tuple[ApiToken, _Values | None, None]:
        token = ApiToken.objects.using(using).filter(pk=token_id).first()
        if token is None:
            raise InvalidRequestError([FieldError("name", "is not the name of a token; `token list` shows them")])
        if token.revoked_at is not None:
            return token, None, None
        token.revoked_at, token.revoked_by = datetime.now(UTC), actor.name
        token.save(using=using, update_fields=["revoked_at", "revoked_by"])
        return token, token_values(token), None

    return _record("revoke", write, actor=actor, channel=channel, origin=origin, using=using)


def revoke_token_named(name: str, *, actor: Actor, channel: Channel, using: str = DEFAULT_DB_ALIAS) -> ApiToken:
    """As `revoke_token`, for the token that has this name now, or had it last."""
    tokens = ApiToken.objects.using(using).filter(name=name)
    token = tokens.filter(revoked_at=None).first() or tokens.order_by("-created_at").first()
    if token is None:
        raise InvalidRequestError([FieldError("name", "is not the name of a token; `token list` shows them")])
    return revoke_token(token.pk, actor=actor, channel=channel, using=using)


def _check_new(name: str, scopes: Collection[str], expires_in: timedelta | None) -> None:
    errors = []
    if not is_name(name):
        errors.append(
            FieldError(
                "name", "must have 1 to 64 letters, digits, dots, hyphens or underscores, a letter or digit first"
            )
        )
    if not scopes or set(scopes) - set(SCOPES):
        errors.append(FieldError("scopes", f"must be one or more of {', '.join(SCOPES)}"))
    if expires_in is not None and not timedelta(0) < expires_in <= MAX_EXPIRY:
        errors.append(FieldError("expires", f"must lie between now and {MAX_EXPIRY.days} days from now"))
    if errors:
        raise InvalidRequestError(errors)


def _record(
    action: str,
    write: Callable[[], tuple[T, _Values | None, _Values | None]],
    *,
    actor: Actor,
    channel: Channel,
    origin: Origin = UNKNOWN_ORIGIN,
    using: str = DEFAULT_DB_ALIAS,
) -> T:
    """Run a write of a token's row and record it, in one transaction that is serialised with all other changes.

    `write` returns its result and the token's values before and after for the event; if both are None, nothing was done
    and nothing is recorded. Raises as `apply_change`, and what `write` raises.
    """

    def work() -> tuple[T, int]:
        rows = singletons.lock_rows(with_system=False, using=using)
        writer = EventWriter(actor, channel, origin, ChangeRequest(reason=""), rows=rows, using=using)
        result, before, after = write()
        if before is not None or after is not None:
            writer.record_drift()
            writer.record_token(action, before=before, after=after)
            writer.close()
        return result, writer.find_longest_lease()

    return commit(work, using)
