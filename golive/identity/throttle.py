"""Throttling of failed credentials, against guessing.

Bad tokens are counted by address, ten a minute; after that, further bad ones get 429. Bad passwords are counted by
account and address together, so that nobody can lock an operator out from another address, and, with a much higher
limit, by address.

A valid token is never delayed: it is verified first, and only failures are counted. The counts are in a small table,
since each worker on each host sees only some of the failures; a process caches only the addresses over the limit, so
that a flood costs no further writes. Entries of both expire within minutes, so both stay small.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import math
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from django.db import DEFAULT_DB_ALIAS, Error, connections

from golive.models import CredentialFailure

logger = logging.getLogger(__name__)

_MAX_REMEMBERED = 10_000

_COUNT = """
INSERT INTO golive_credential_failure (address, failures, ends_at_ms) VALUES (%s, 1, %s)
ON CONFLICT (address) DO UPDATE SET
    failures = CASE WHEN golive_credential_failure.ends_at_ms <= %s THEN 1
               ELSE golive_credential_failure.failures + 1 END,
    ends_at_ms = CASE WHEN golive_credential_failure.ends_at_ms <= %s THEN excluded.ends_at_ms
                 ELSE golive_credential_failure.ends_at_ms END
RETURNING failures, ends_at_ms
"""

_FORGIVE = "UPDATE golive_credential_failure SET failures = failures - 1 WHERE address = %s AND failures > 0"


@dataclass(frozen=True)
class Limit:
    """`failures` within `window_ms`, counted from the first failure."""

    failures: int
    window_ms: int


TOKENS = Limit(10, 60_000)
ACCOUNT_FROM_ADDRESS = Limit(10, 15 * 60_000)
# Many people may share an address; the cost is bounded elsewhere (`golive.identity.sign_in`).
SIGN_INS_FROM_ADDRESS = Limit(100, 15 * 60_000)

_SWEEP_MS = 60_000

_lock = threading.Lock()
_blocked: OrderedDict[str, int] = OrderedDict()
_swept_at_ms = 0


def count_failure(address: str | None, *, now_ms: int | None = None, using: str = DEFAULT_DB_ALIAS) -> int | None:
    """Count one bad token; None within the limit, else the seconds until the address may try again.

    Never raises: a failure that cannot be counted is treated as within the limit, since it was refused anyway.
    """
    return _count(_network(address), TOKENS, now_ms, using)


def count_sign_in(
    address: str | None, account: str, *, now_ms: int | None = None, using: str = DEFAULT_DB_ALIAS
) -> int | None:
    """Count a sign-in attempt before its password is checked; None within the limit, else the seconds to wait.

    `forgive_sign_in` takes a successful attempt back. Never raises: an attempt that cannot be counted is treated as
    within the limit, since a broken table must not keep out an operator who needs to stop something.
    """
    for key, limit in _keys_of(address, account):
        seconds = _count(key, limit, now_ms, using)
        if seconds is not None:
            return seconds
    return None


def forgive_sign_in(address: str | None, account: str, *, using: str = DEFAULT_DB_ALIAS) -> None:
    """After a successful attempt: reset the account's failures from this address, and uncount the attempt itself."""
    (pair, _), (network, _) = _keys_of(address, account)
    try:
        CredentialFailure.objects.using(using).filter(address=pair).delete()
        with connections[using].cursor() as cursor:
            cursor.execute(_FORGIVE, [network])
    except Error:
        logger.warning("a sign-in could not be taken off the count", exc_info=True)


def _keys_of(address: str | None, account: str) -> tuple[tuple[str, Limit], tuple[str, Limit]]:
    network = _network(address)
    # Hashed: the text typed as a name may be a password by mistake, and may be long.
    digest = hashlib.sha256(account.encode(errors="replace")).hexdigest()[:32]
    return (f"account {digest} {network}", ACCOUNT_FROM_ADDRESS), (f"sign-in {network}", SIGN_INS_FROM_ADDRESS)


def forget_all() -> None:
    """Clear this process's cache; for tests."""
    global _swept_at_ms  # noqa: PLW0603 - one per process
    with _lock:
        _blocked.clear()
        _swept_at_ms = 0


def _network(address: str | None) -> str:
    """The address, or the /64 of an IPv6 address: a single customer has a whole /64."""
    if address is None:
        return "unknown"
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((int(parsed), 64), strict=False))
    return str(parsed)


def _count(key: str, limit: Limit, now_ms: int | None, using: str) -> int | None:
    now_ms = int(time.time() * 1000) if now_ms is None else now_ms
    with _lock:
        ends_at_ms = _blocked.get(key, 0)
    if ends_at_ms > now_ms:
        return _seconds(ends_at_ms - now_ms)
    try:
        failures, ends_at_ms = _store(key, limit, now_ms, using)
    except Error:
        logger.warning("a failure could not be counted", exc_info=True)
        return None
    if failures <= limit.failures:
        return None
    _remember(key, ends_at_ms)
    return _seconds(ends_at_ms - now_ms)


def _store(key: str, limit: Limit, now_ms: int, using: str) -> tuple[int, int]:
    with connections[using].cursor() as cursor:
        cursor.execute(_COUNT, [key, now_ms + limit.window_ms, now_ms, now_ms])
        failures, ends_at_ms = cursor.fetchone()
    if _is_sweep_due(now_ms):
        CredentialFailure.objects.using(using).filter(ends_at_ms__lt=now_ms).delete()
    return failures, ends_at_ms


def _is_sweep_due(now_ms: int) -> bool:
    global _swept_at_ms  # noqa: PLW0603 - one per process
    with _lock:
        is_due = now_ms - _swept_at_ms >= _SWEEP_MS
        if is_due:
            _swept_at_ms = now_ms
    return is_due


def _remember(key: str, ends_at_ms: int) -> None:
    with _lock:
        _blocked[key] = ends_at_ms
        _blocked.move_to_end(key)
        while len(_blocked) > _MAX_REMEMBERED:
            _blocked.popitem(last=False)


def _seconds(ms: int) -> int:
    return max(1, math.ceil(ms / 1000))
