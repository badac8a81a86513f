"""Leased reads: each process caches one snapshot of the rows and may serve it until its lease expires.

One thread per database refreshes it, on a connection of its own: the state of a request's transaction does not matter,
and however many requests wait, only one thread waits for the database. The connection is replaced regularly, so that
the process follows a host name to another server within a minute.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections

from golive.database.deadline import remaining_seconds
from golive.domain.decision import Code, Decision, decide
from golive.domain.errors import StateUnknownError
from golive.domain.rows import GoLiveRow, SystemRow
from golive.postgresql.renewal import RenewedConnection
from golive.state import leases, singletons
from golive.state.singletons import Reading

logger = logging.getLogger(__name__)

# How long a request waits for a refresh, and how long a refresh may take before the database counts as unresponsive and
# requests no longer wait. A request may have queued for a thread before that; the total stays under 3 s.
PATIENCE_SECONDS = 0.7
# The pause between attempts while the database is unresponsive.
RETRY_SECONDS = 0.1
STOP_SECONDS = 5.0

_NO_RESPONSE = "The database does not answer in time."

T = TypeVar("T")


@dataclass(frozen=True)
class Snapshot:
    """The rows as read by one SELECT, or why they are unknown.

    `expires_at` is in seconds of `leases.boottime`; from then on it must not be served. A row is None if it is missing
    or cannot be read; `problem` (for go_live_state) or `system_problem` then says why.
    """

    go_live: GoLiveRow | None
    system: SystemRow | None
    expires_at: float
    problem: str | None = None
    system_problem: str | None = None
    renew_at: float = 0.0
    cause: str | None = None
    _derived: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def decision(self) -> Decision:
        return decide(self.go_live)

    def known_go_live(self) -> GoLiveRow:
        """Raises StateUnknownError if it is unknown."""
        if self.go_live is None:
            raise StateUnknownError(self.problem or _NO_RESPONSE)
        return self.go_live

    def known_system(self) -> SystemRow:
        """Raises StateUnknownError if it is unknown."""
        if self.system is None:
            raise StateUnknownError(self.system_problem or _NO_RESPONSE)
        return self.system

    def once(self, make: Callable[..., T], *arguments: Any) -> T:
        """`make(snapshot, *arguments)`, computed once per snapshot."""
        key = (make, *arguments)
        try:
            value: T = self._derived[key]
        except KeyError:
            value = self._derived[key] = make(self, *arguments)
        return value


_NEVER = Snapshot(None, None, 0.0, _NO_RESPONSE, _NO_RESPONSE)


def read_snapshot(*, using: str = DEFAULT_DB_ALIAS) -> Snapshot:
    """The snapshot that may be served now. Never raises a database error: an unknown state is a snapshot too."""
    return _find_cache(using).read()


def read_fresh(*, using: str = DEFAULT_DB_ALIAS) -> Snapshot:
    """The rows by a SELECT sent after this call, on another connection, ignoring any lease. Never raises."""
    return _find_cache(using).read_fresh()


def _find_cache(using: str) -> SnapshotCache:
    cache = _caches.get(using)
    if cache is None:
        cache = _caches.setdefault(using, _make_cache(using))
    return cache


def _make_cache(using: str) -> SnapshotCache:
    def refresh() -> None:
        # Even without a reader, so that the new connection replaces the old one at once.
        cache.refresh()

    renewed = RenewedConnection(using, clock=leases.boottime, on_ready=refresh)
    cache = SnapshotCache(
        lambda: renewed.use(lambda: singletons.read_rows(using=using)), name=using, close=renewed.close
    )
    return cache


def forget(*, using: str = DEFAULT_DB_ALIAS) -> None:
    """Invalidate this process's snapshot after its own change; other processes may serve theirs until it expires."""
    cache = _caches.get(using)
    if cache is not None:
        cache.forget()


def stop_all() -> None:
    """End the threads and their connections; the next read starts them again."""
    while _caches:
        _caches.popitem()[1].stop()


class SnapshotCache:
    """This process's snapshot of one database, and the thread that refreshes it by calling `source`.

    `close` is called when the thread ends, to close its connections.
    """

    def __init__(
        self,
        source: Callable[[], Reading],
        *,
        name: str = DEFAULT_DB_ALIAS,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._source = source
        self._name = name
        self._close = close
        # May be served until it expires. Read and replaced atomically, so the fast path needs no lock.
        self._latest = _NEVER
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_wanted = self._is_stopped = False
        # Refreshes are numbered; `_outcome` is the outcome of refresh `_ended`, good or bad.
        self._begun = self._ended = 0
        self._outcome = _NEVER
        # When the oldest refresh that has had no response began.
        self._unresponsive_since: float | None = None
        self._logged_code: Code | None = None
        self._logged_causes: set[str] = set()

    def read(self) -> Snapshot:
        """The snapshot within its lease, or the outcome of a SELECT sent after this call."""
        latest, now = self._latest, leases.boottime()
        if now < latest.renew_at:
            return latest
        if now < latest.expires_at:
            # Refreshed before it expires, so that no request has to wait.
            if self._begun == self._ended and not self._is_wanted:
                self.refresh()
            return latest
        answer = self._await_answer(now)
        # A request that had no time left, for example for a slow client, has learned nothing about the database.
        if answer is _NEVER and remaining_seconds() != 0:
            self._log_decision(answer)
        return answer

    def read_fresh(self) -> Snapshot:
        """The outcome of a SELECT sent after this call."""
        return self._await_answer(leases.boottime(), is_leased=False)

    def refresh(self) -> None:
        """Request a refresh without waiting for it."""
        with self._condition:
            self._demand()

    def forget(self) -> None:
        self._latest = _NEVER

    def stop(self) -> None:
        """End the thread, which closes its connection."""
        with self._condition:
            self._is_stopped = True
            self._condition.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(STOP_SECONDS)

    def _await_answer(self, arrived_at: float, *, is_leased: bool = True) -> Snapshot:
        remaining = remaining_seconds()
        gives_up_at = arrived_at + (PATIENCE_SECONDS if remaining is None else min(PATIENCE_SECONDS, remaining))
        with self._condition:
            # The refresh in progress may have sent its SELECT before this request arrived.
            ticket = self._begun + 1
            if not self._demand():
                return _NEVER
            while True:
                answer = self._find_answer(ticket) if is_leased else self._find_fresh(ticket)
                if answer is not None:
                    return answer
                timeout = min(gives_up_at, self._unresponsive_from()) - leases.boottime()
                if timeout <= 0:
                    return _NEVER
                self._condition.wait(timeout)

    def _find_answer(self, ticket: int) -> Snapshot | None:
        """The joining rule: the SELECT was sent after the request arrived, or the lease is still valid.

        Why it is needed: docs/explain/design.md, The lease.
        """
        if self._ended >= ticket:
            return self._outcome
        if leases.boottime() < self._latest.expires_at:
            return self._latest
        return None

    def _find_fresh(self, ticket: int) -> Snapshot | None:
        return self._outcome if self._ended >= ticket else None

    def _unresponsive_from(self) -> float:
        """When the database starts to count as unresponsive, so that requests no longer wait."""
        return math.inf if self._unresponsive_since is None else self._unresponsive_since + PATIENCE_SECONDS

    def _demand(self) -> bool:
        """Request a refresh; call with the lock held. False: no thread could be started."""
        if self._is_stopped:
            return False
        self._is_wanted = True
        # A thread that died unexpectedly must not leave this process denying until it is restarted.
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=self._run, name=f"golive-snapshot-{self._name}", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
        self._condition.notify_all()
        return True

    def _run(self) -> None:
        try:
            while self._await_demand():
                self._refresh()
        finally:
            self._close()
            connections.close_all()

    def _await_demand(self) -> bool:
        """Wait for a request, or just for a moment while the database is unresponsive. False: stop the thread."""
        with self._condition:
            if self._unresponsive_since is not None:
                self._condition.wait_for(lambda: self._is_stopped, RETRY_SECONDS)
            else:
                self._condition.wait_for(lambda: self._is_wanted or self._is_stopped)
            return not self._is_stopped

    def _refresh(self) -> None:
        sent_at = self._begin()
        outcome = self._end(sent_at, self._read())
        now = leases.boottime()
        # An outcome that arrives after all requests gave up is not served to any, unless its lease is still valid.
        if now - sent_at < PATIENCE_SECONDS or now < outcome.expires_at:
            self._log_decision(outcome)

    def _begin(self) -> float:
        with self._condition:
            self._is_wanted = False
            self._begun += 1
            # Taken before the SELECT is sent: changes that it misses may be committed from now on.
            sent_at = leases.boottime()
            if self._unresponsive_since is None:
                self._unresponsive_since = sent_at
            return sent_at

    def _end(self, sent_at: float, reading: Reading) -> Snapshot:
        outcome = _lease(reading, sent_at)
        with self._condition:
            self._ended, self._outcome = self._begun, outcome
            if outcome.problem is None:
                self._latest = outcome
            if outcome.problem is None or leases.boottime() - sent_at < PATIENCE_SECONDS:
                self._unresponsive_since = None
            self._condition.notify_all()
        return outcome

    def _log_decision(self, snapshot: Snapshot) -> None:
        """Log a decision that differs from the last one: from now on this process allows, or denies."""
        code = snapshot.decision.code
        # Each cause gets a line of its own, once: the first symptom is often only a timeout.
        if code is self._logged_code and (snapshot.cause is None or snapshot.cause in self._logged_causes):
            return
        if code is not self._logged_code:
            self._logged_causes.clear()
        self._logged_code = code
        if snapshot.cause is not None:
            self._logged_causes.add(snapshot.cause)
        if snapshot.go_live is None:
            logger.warning("the decision from %s is now %s: %s", self._name, code, snapshot.cause or snapshot.problem)
        else:
            logger.info("the decision from %s is now %s (revision %s)", self._name, code, snapshot.go_live.revision)

    def _read(self) -> Reading:
        try:
            return self._source()
        except Exception:
            logger.exception("the rows of %s could not be read", self._name)
            return Reading(None, None, _NO_RESPONSE, _NO_RESPONSE)


def _lease(reading: Reading, sent_at: float) -> Snapshot:
    """A reading as a snapshot whose lease began before its SELECT was sent. An unknown state has no lease."""
    seconds = leases.lease_seconds(reading.go_live.lease_ms) if reading.go_live is not None else 0.0
    return Snapshot(
        reading.go_live,
        reading.system,
        sent_at + seconds,
        reading.problem,
        reading.system_problem,
        renew_at=sent_at + seconds / 2,
        cause=reading.cause,
    )


_caches: dict[str, SnapshotCache] = {}
# A forked child has none of the threads.
os.register_at_fork(after_in_child=_caches.clear)
