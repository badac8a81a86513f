"""Admission control for worker threads: load on public endpoints must not block a stop.

A worker has a fixed number of threads, and a request holds one while it waits for the database, the checks, a password
hash, or the lease that a stop has to outlast. So each kind of request that may wait has its own limit, enforced before
Django runs; over the limit the response is an immediate 503 instead of a place in a queue:

- The gate, the `/health` probes and reads served from the snapshot are never limited: they wait less than a second, and
  on no other request. RESERVED threads are kept for these.
- Changes toward safe may use all the other threads.
- All remaining requests together leave STOP_THREADS free for those changes: authenticated requests, sign-ins, and
  reads of the checks, the last two with small limits of their own.

`valhalla.wsgi` wraps the application in it, inside the gate. Other projects can do the same.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from django.conf import settings
from django.http import parse_cookie

from golive.domain.changes import CHANGES, Direction
from golive.domain.tokens import read_token_text
from golive.identity import session_keys
from golive.web import overload

logger = logging.getLogger(__name__)

# For everything that is never limited: the gate, the probes and reads from the snapshot.
RESERVED = 2
# For changes toward safe, whatever the other load.
STOP_THREADS = 4
# For requests without credentials: the sign-in form, and pages and writes that will be refused.
ANONYMOUS_THREADS = 3
# For anonymous reads of the checklist, the runbook and `/readyz` that wait for the checks to run.
CHECK_THREADS = 4
LOG_SECONDS = 10.0

_SAFE = "|".join(change.name for change in CHANGES.values() if change.direction is Direction.SAFE)
_SAFE_PATHS = frozenset(
    {change.path.strip("/") for change in CHANGES.values() if change.direction is Direction.SAFE}
    | {"api/hooks/alertmanager"}
)
_SAFE_FORM = re.compile(rf"admin/golive/[a-z]+/apply/(?:{_SAFE})")
_CHECK_PATHS = frozenset(
    {"readyz", "api/governance/go-live/checklist", "api/governance/runbook/status", "api/governance/runbook/markdown"}
)
_HISTORY_PATH = "api/governance/go-live/history"
_READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Kind(StrEnum):
    """The class of a request, as far as thread limits are concerned."""

    STOP = "change toward safe"
    AUTHENTICATED = "request with a session or token"
    ANONYMOUS = "request without credentials"
    CHECKS = "anonymous read of the checks"


class Admission:
    """WSGI middleware that limits the concurrent requests of each kind, so that each leaves threads for the others.

    `threads`: how many the worker has. A request counts until its response has been sent or sending it has failed.
    """

    def __init__(self, application: WSGIApplication, *, threads: int) -> None:
        self._application = application
        self._capacity = max(1, threads - RESERVED)
        self._others = max(1, self._capacity - STOP_THREADS)
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        """Also run in a forked child, which has none of the threads that would decrement the counters."""
        self._lock = threading.Lock()
        self._active: Counter[Kind] = Counter()
        self._stops_by_credential: Counter[int] = Counter()
        self._quiet_until = 0.0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        kind = classify(environ)
        if kind is None:
            return self._application(environ, start_response)
        credential = _hash_credential(environ) if kind is Kind.STOP else 0
        if not self._enter(kind, credential):
            self._log(kind)
            if _find_path(environ) not in _CHECK_PATHS:
                return overload.answer(environ, start_response)
            # These endpoints respond in their own format: an existing result, or the fact that nothing was checked.
            environ["golive.no_waiting"] = True
            return self._application(environ, start_response)
        try:
            body = self._application(environ, start_response)
        except BaseException:
            self._leave(kind, credential)
            raise
        return _CountedBody(body, lambda: self._leave(kind, credential))

    def _enter(self, kind: Kind, credential: int = 0) -> bool:
        with self._lock:
            active = self._active
            others = active.total() - active[Kind.STOP]
            is_admitted = active.total() < self._capacity and (kind is Kind.STOP or others < self._others)
            if kind is Kind.ANONYMOUS:
                is_admitted = is_admitted and active[kind] < ANONYMOUS_THREADS
            elif kind is Kind.CHECKS:
                is_admitted = is_admitted and active[kind] < CHECK_THREADS
            elif kind is Kind.STOP:
                # Stops with the same credential wait for each other; other callers must still get a thread.
                is_admitted = is_admitted and self._stops_by_credential[credential] < self._others
            if is_admitted:
                active[kind] += 1
                if kind is Kind.STOP:
                    self._stops_by_credential[credential] += 1
            return is_admitted

    def _leave(self, kind: Kind, credential: int = 0) -> None:
        with self._lock:
            self._active[kind] -= 1
            if kind is Kind.STOP:
                self._stops_by_credential[credential] -= 1
                if not self._stops_by_credential[credential]:
                    del self._stops_by_credential[credential]

    def _log(self, kind: Kind) -> None:
        """Log the refusal, rate-limited: there may be thousands."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + LOG_SECONDS
            logger.warning("refused for lack of threads: %s (active: %s)", kind, dict(self._active))


class _CountedBody:
    """A response body whose request counts as active until the server closes it."""

    def __init__(self, body: Iterable[bytes], leave: Callable[[], None]) -> None:
        self._body = body
        self._leave: Callable[[], None] | None = leave

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            leave, self._leave = self._leave, None
            if leave is not None:
                leave()


def classify(environ: WSGIEnvironment) -> Kind | None:
    """The kind of the request; None if it is never limited."""
    path, method = _find_path(environ), environ["REQUEST_METHOD"]
    is_read = method in _READ_METHODS
    if not is_read and (path in _SAFE_PATHS or _SAFE_FORM.fullmatch(path)):
        return Kind.STOP if _has_credentials(environ) else Kind.ANONYMOUS
    if path in _CHECK_PATHS:
        return Kind.AUTHENTICATED if _has_credentials(environ) else Kind.CHECKS
    is_ofrep = path.startswith("ofrep/")
    if path == "admin" or path.startswith("admin/") or path == _HISTORY_PATH or not (is_read or is_ofrep):
        return Kind.AUTHENTICATED if _has_credentials(environ) else Kind.ANONYMOUS
    return None


def _hash_credential(environ: WSGIEnvironment) -> int:
    """Identifies the caller by the credential as sent; nothing is looked up."""
    credential = environ.get("HTTP_AUTHORIZATION") or _find_session_key(environ.get("HTTP_COOKIE", ""))
    return hash(credential)


def _find_path(environ: WSGIEnvironment) -> str:
    return str(environ["PATH_INFO"]).strip("/")


def _has_credentials(environ: WSGIEnvironment) -> bool:
    """Whether the request carries a well-formed token or a session key of ours. Authentication comes later."""
    scheme, _, text = environ.get("HTTP_AUTHORIZATION", "").strip().partition(" ")
    if scheme.lower() == "bearer" and read_token_text(text.strip()):
        return True
    return session_keys.is_ours(_find_session_key(environ.get("HTTP_COOKIE", "")))


def _find_session_key(header: str) -> str:
    name = settings.SESSION_COOKIE_NAME
    return str(parse_cookie(header).get(name, "")) if name in header else ""
