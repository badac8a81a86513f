"""Finds tokens whose maker no longer has the rights that the token grants: a token outlives its maker's account."""

from __future__ import annotations

from datetime import datetime

from django.contrib.auth import get_user_model
from django.db import DEFAULT_DB_ALIAS

from golive.domain.changes import Channel
from golive.domain.scopes import scopes_within
from golive.identity import tokens
from golive.models import ApiToken, Event
from golive.state import history


def find_owner_faults(*, now: datetime, using: str = DEFAULT_DB_ALIAS) -> dict[int, str]:
    """For each valid token with a problem, by id, what is wrong with its maker. Tokens made from a shell have no maker
    to check."""
    events = history.read_token_events(using=using)
    faults = {}
    for token in tokens.list_tokens(using=using):
        fault = _find_fault(token, events.get(token.prefix), using) if tokens.is_valid(token, now=now) else None
        if fault is not None:
            faults[token.pk] = fault
    return faults


def _find_fault(token: ApiToken, event: Event | None, using: str) -> str | None:
    users = get_user_model()._default_manager.using(using)
    if event is not None:
        if event.channel != Channel.ADMIN:
            return None
        # By id: a user name may have been reassigned.
        user = None if event.user_id is None else users.filter(pk=event.user_id).first()
    else:
        # Made before token events existed. A shell's actor is user@host, unless an account has such a name.
        user = users.filter(**{get_user_model().USERNAME_FIELD: token.created_by}).first()
        if user is None and "@" in token.created_by:
            return None
    if user is None:
        return "its maker has no account any more"
    if not user.is_active:
        return "its maker's account is not active"
    granted = scopes_within(user.get_all_permissions())
    lacking = [scope for scope in token.scopes if scope not in granted]
    return f"its maker may not {', '.join(lacking)} any more" if lacking else None
