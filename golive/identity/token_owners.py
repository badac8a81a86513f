"""Tokens that outlive the rights of whoever made them: a token goes on working when its maker has left."""

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
    """Of each valid token, by its id, what is wrong with its maker; tokens made from a shell have nobody to judge."""
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
        # By number: a name may have passed on to somebody else.
        user = None if event.user_id is None else users.filter(pk=event.user_id).first()
    else:
        # Made before tokens were recorded. A shell's name is user@host, unless somebody is really called so.
        user = users.filter(**{get_user_model().USERNAME_FIELD: token.created_by}).first()
        if user is None and "@" in token.created_by:
            return None
    if user is None:
        return "its maker has no account any more"
    if not user.is_active:
        return "its maker's account is not active"
    held = scopes_within(user.get_all_permissions())
    lacking = [scope for scope in token.scopes if scope not in held]
    return f"its maker may not {', '.join(lacking)} any more" if lacking else None
