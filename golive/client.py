"""Who is at the other end of a request, as far as HTTP can tell."""

from __future__ import annotations

import ipaddress

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, PermissionsMixin
from django.http import HttpRequest

from golive.controls import Origin
from golive.domain.changes import Actor
from golive.request_id import get_request_id


def client_address(request: HttpRequest) -> str | None:
    """The client's address: behind N trusted proxies the Nth entry from the right of `X-Forwarded-For`.

    Entries further left are the client's own words. Without a usable entry it is the address of the connection.
    """
    hops: int = getattr(settings, "GOLIVE_TRUSTED_PROXIES", 0)
    forwarded = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
    candidate = forwarded[-hops] if 0 < hops <= len(forwarded) else request.META.get("REMOTE_ADDR", "")
    try:
        return str(ipaddress.ip_address(candidate))
    except ValueError:
        return None


def origin_of(request: HttpRequest) -> Origin:
    return Origin(request_id=get_request_id(), remote_addr=client_address(request))


def actor_of(user: AbstractBaseUser | AnonymousUser) -> Actor:
    """The signed-in user as an actor, with what they may do now."""
    permissions = user.get_all_permissions() if isinstance(user, PermissionsMixin) else set()
    return Actor(name=user.get_username(), permissions=frozenset(permissions), user_id=user.pk)
