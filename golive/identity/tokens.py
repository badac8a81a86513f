"""Verifies and lists API tokens. Nothing is cached, so a revocation takes effect everywhere at once.

`golive.controls.token_changes` creates and revokes them, and records that in the event log.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

from django.db import DEFAULT_DB_ALIAS, Error, connections, transaction
from django.db.models import Q

from golive.database.deadline import database_deadline
from golive.domain.changes import Actor
from golive.domain.scopes import actor_of_token
from golive.domain.tokens import NO_HASH, TokenText, is_same_hash, read_token_text
from golive.models import ApiToken

logger = logging.getLogger(__name__)

# The resolution of `last_used_at`: a write per request would cost more than the request.
USE_INTERVAL = timedelta(minutes=1)
USE_SECONDS = 0.5

# The id of the token that the current request used, to be noted after the response has been sent.
_used: ContextVar[int | None] = ContextVar("golive_used_token", default=None)


def verify_token(text: str, *, using: str = DEFAULT_DB_ALIAS) -> Actor | None:
    """The actor of a token; None if the token is unknown, wrong, expired or revoked.

    An unknown token and a wrong secret take the same steps. Raises database errors unchanged.
    """
    given = read_token_text(text)
    if given is None:
        return None
    token = find_by_prefix(given.prefix, using=using)
    if not _has_right_secret(given, token) or token is None or not is_valid(token, now=datetime.now(UTC)):
        return None
    _used.set(token.pk if _is_use_due(token.last_used_at) else None)
    return actor_of_token(token.name, token.scopes if isinstance(token.scopes, list) else ())


def find_by_prefix(prefix: str, *, using: str = DEFAULT_DB_ALIAS) -> ApiToken | None:
    return ApiToken.objects.using(using).filter(prefix=prefix).first()


def _has_right_secret(given: TokenText, token: ApiToken | None) -> bool:
    return is_same_hash(given.secret_hash, NO_HASH if token is None else token.secret_hash)


def is_valid(token: ApiToken, *, now: datetime) -> bool:
    """Whether it is neither revoked nor expired."""
    return token.revoked_at is None and (token.expires_at is None or token.expires_at > now)


def list_tokens(*, using: str = DEFAULT_DB_ALIAS) -> list[ApiToken]:
    return list(ApiToken.objects.using(using).order_by("name", "-created_at"))


def describe_state(token: ApiToken, *, now: datetime) -> str:
    """`valid`, `expired` or `revoked`."""
    if token.revoked_at is not None:
        return "revoked"
    return "valid" if is_valid(token, now=now) else "expired"


def _is_use_due(last_used_at: datetime | None) -> bool:
    return last_used_at is None or last_used_at < datetime.now(UTC) - USE_INTERVAL


def note_use(*, using: str = DEFAULT_DB_ALIAS, **kwargs: object) -> None:
    """Note that the request's token was used (a receiver of Django's `request_finished`).

    Runs after the response has been sent, so that no client waits for it; never waits for a lock; and may fail.
    """
    token_id, _ = _used.get(), _used.set(None)
    if token_id is None:
        return
    now = datetime.now(UTC)
    tokens = ApiToken.objects.using(using)
    due = tokens.filter(Q(last_used_at__isnull=True) | Q(last_used_at__lt=now - USE_INTERVAL), pk=token_id)
    try:
        with database_deadline(USE_SECONDS):
            if connections[using].vendor == "postgresql":
                with transaction.atomic(using=using):
                    locked = due.select_for_update(skip_locked=True).values_list("pk", flat=True)
                    tokens.filter(pk__in=list(locked)).update(last_used_at=now)
            else:
                _update_without_waiting(using, token_id, now)
    except Error:
        logger.info("the use of a token could not be noted")


def _update_without_waiting(using: str, token_id: int, now: datetime) -> None:
    # SQLite has a single write lock, and whatever holds it is more important than this.
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        (previous,) = cursor.fetchone()
        cursor.execute("PRAGMA busy_timeout = 0")
    try:
        ApiToken.objects.using(using).filter(pk=token_id).update(last_used_at=now)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {int(previous)}")
