"""Which requests may take a thread of the worker: load on what is open to everybody must not keep a stop out.

A worker has so many threads, and a request keeps one while it waits: for the database, for the checks, for a password's
hash, or for the lease that a stop has to outlast. So each kind of request that may wait has a limit of its own, kept
before anything of Django runs, and beyond it the answer is an immediate 503 instead of a place in a queue:

- The gate and the probes of `/health` are never limited, and RESERVED threads are theirs alone. Nor are reads that
  are answered from the snapshot: they wait for less than a second, and for nobody else.
- Changes toward safe may use all threads but those.
- All others together leave STOP_THREADS to them: whoever is signed in or shows a token, people who sign in, and
  readers of the checks, the last two with small limits of their own.

`valhalla.wsgi` wraps the application in it, inside of the gate. Another project may do the same with its own.
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

# For the gate and the probes.
RESERVED = 2
# For changes toward safe, whatever else is asked.
STOP_THREADS = 4
# For people without a session: the form to sign in, and any other page or write that they will be refused.
STRANGER_THREADS = 3
# For readers of checklist, runbook and `/readyz` that wait for a run of the checks.
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
    """What a request is to the threads."""

    STOP = "change toward safe"
    KNOWN = "somebody with a session or a token"
    STRANGER = "somebody without"
    CHECKS = "reader of the checks"


class Admission:
    """A WSGI application that lets another answer as many requests of each kind as leave threads for the others.

    `threads`: how many the worker has. A request counts until its answer has been sent, or its sending has failed.
    """

    def __init__(self, application: WSGIApplication, *, threads: int) -> None:
        self._application = application
        self._capacity = max(1, threads - RESERVED)
        self._others = max(1, self._capacity - STOP_THREADS)
        self._start_anew()
        os.register_at_fork(after_in_child=self._start_anew)

    def _start_anew(self) -> None:
        """Also in a fork, which has none of the threads that would leave again."""
        self._lock = threading.Lock()
        self._inside: Counter[Kind] = Counter()
        self._stops_of: Counter[int] = Counter()
        self._quiet_until = 0.0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        kind = find_kind(environ)
        if kind is None:
            return self._application(environ, start_response)
        credential = _find_credential(environ) if kind is Kind.STOP else 0
        if not self._enter(kind, credential):
            self._log(kind)
            if _find_path(environ) not in _CHECK_PATHS:
                return overload.answer(environ, start_response)
            # It answers in the form of its own: from a result that is there, or that nothing was checked.
            environ["golive.no_waiting"] = True
            return self._application(environ, start_response)
        try:
            body = self._application(environ, start_response)
        except BaseException:
            self._leave(kind, credential)
            raise
        return _Counted(body, lambda: self._leave(kind, credential))

    def _enter(self, kind: Kind, credential: int = 0) -> bool:
        with self._lock:
            inside = self._inside
            others = inside.total() - inside[Kind.STOP]
            is_free = inside.total() < self._capacity and (kind is Kind.STOP or others < self._others)
            if kind is Kind.STRANGER:
                is_free = is_free and inside[kind] < STRANGER_THREADS
            elif kind is Kind.CHECKS:
                is_free = is_free and inside[kind] < CHECK_THREADS
            elif kind is Kind.STOP:
                # Those of one credential wait for each other, and somebody else has to find a thread meanwhile.
                is_free = is_free and self._stops_of[credential] < self._others
            if is_free:
                inside[kind] += 1
                if kind is Kind.STOP:
                    self._stops_of[credential] += 1
            return is_free

    def _leave(self, kind: Kind, credential: int = 0) -> None:
        with self._lock:
            self._inside[kind] -= 1
            if kind is Kind.STOP:
                self._stops_of[credential] -= 1
                if not self._stops_of[credential]:
                    del self._stops_of[credential]

    def _log(self, kind: Kind) -> None:
        """Say it, but not for every request: there may be thousands."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + LOG_SECONDS
            logger.warning("no thread may be taken for: %s (inside: %s)", kind, dict(self._inside))


class _Counted:
    """The body of an answer, which counts until the server closes it."""

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


def find_kind(environ: WSGIEnvironment) -> Kind | None:
    """What the request is to the threads; None for what is never limited."""
    path, method = _find_path(environ), environ["REQUEST_METHOD"]
    is_read = method in _READ_METHODS
    if not is_read and (path in _SAFE_PATHS or _SAFE_FORM.fullmatch(path)):
        return Kind.STOP if _is_known(environ) else Kind.STRANGER
    if path in _CHECK_PATHS:
        return Kind.KNOWN if _is_known(environ) else Kind.CHECKS
    is_ofrep = path.startswith("ofrep/")
    if path == "admin" or path.startswith("admin/") or path == _HISTORY_PATH or not (is_read or is_ofrep):
        return Kind.KNOWN if _is_known(environ) else Kind.STRANGER
    return None


def _find_credential(environ: WSGIEnvironment) -> int:
    """Whose request it is, as far as it can be told from what it shows."""
    shown = environ.get("HTTP_AUTHORIZATION") or _find_session_key(environ.get("HTTP_COOKIE", ""))
    return hash(shown)


def _find_path(environ: WSGIEnvironment) -> str:
    return str(environ["PATH_INFO"]).strip("/")


def _is_known(environ: WSGIEnvironment) -> bool:
    """Whether the request shows what only an account gets: looked up it is later, and by others."""
    scheme, _, text = environ.get("HTTP_AUTHORIZATION", "").strip().partition(" ")
    if scheme.lower() == "bearer" and read_token_text(text.strip()):
        return True
    return session_keys.is_ours(_find_session_key(environ.get("HTTP_COOKIE", "")))


def _find_session_key(header: str) -> str:
    name = settings.SESSION_COOKIE_NAME
    return str(parse_cookie(header).get(name, "")) if name in header else ""
