"""The actor and origin of a request."""

from __future__ import annotations

import ipaddress
import re

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, PermissionsMixin
from django.http import HttpRequest

from golive.domain.changes import Actor, Origin
from golive.web.request_id import get_request_id

# The forms that proxies use (RFC 7239, section 6). A zone is meaningful only on the machine that wrote it.
_ADDRESS = re.compile(
    r"\[(?P<bracketed>[0-9a-fA-F:.]{2,45})(?:%[^\]]*)?\](?::[0-9]{1,5})?"
    r"|(?P<ipv4>[0-9.]{7,15})(?::[0-9]{1,5})?"
    r"|(?P<plain>[0-9a-fA-F:.]{2,45})(?:%.*)?",
    re.ASCII | re.DOTALL,
)


def client_address(request: HttpRequest) -> str | None:
    """The client's address: behind N trusted proxies the Nth entry from the right of `X-Forwarded-For`.

    Entries further left are set by the client. With fewer entries it is the address of the connection. Normalised,
    without port and zone; None if it cannot be parsed.
    """
    hops: int = getattr(settings, "GOLIVE_TRUSTED_PROXIES", 0)
    forwarded = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
    return read_address(forwarded[-hops] if 0 < hops <= len(forwarded) else request.META.get("REMOTE_ADDR", ""))


def read_address(text: str) -> str | None:
    """The IP address in `203.0.113.9:4711`, `[2001:db8::1]:443`, `fe80::1%eth0` and the like; None if there is none."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        return None
    try:
        return str(ipaddress.ip_address(match["bracketed"] or match["ipv4"] or match["plain"]))
    except ValueError:
        return None


def origin_of(request: HttpRequest) -> Origin:
    return Origin(request_id=get_request_id(), remote_addr=client_address(request))


def actor_of(user: AbstractBaseUser | AnonymousUser) -> Actor:
    """The signed-in user as an actor, with their current permissions."""
    permissions = user.get_all_permissions() if isinstance(user, PermissionsMixin) else set()
    return Actor(name=user.get_username(), permissions=frozenset(permissions), user_id=user.pk)
