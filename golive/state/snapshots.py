"""Leased reads: one snapshot of the rows for each process, that may answer for as long as its lease lasts.

One thread for each database refreshes it, on a connection of its own: whatever a request's transaction has been
through does not matter here, and however many requests wait, one thread waits for the database. The connection is
renewed while it is young, so that a name which moves to another server is followed within a minute.
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

# How long a request waits for a refresh, and for how long a refresh may be under way before the database counts as
# silent, when nobody is made to wait any more. A request may have queued for a thread before; all are answered in 3 s.
PATIENCE_SECONDS = 0.7
# While it is silent, it is asked again after so long.
RETRY_SECONDS = 0.1
STOP_SECONDS = 5.0

_SILENT = "The database does not answer in time."

T = TypeVar("T")


@dataclass(frozen=True)
class Snapshot:
    """The rows as one SELECT saw them, or why they are not known.

    `expires_at` is in seconds of `leases.boottime`; from that moment it may no longer answer. A row is None where it is
    missing or cannot be read; `problem` (of go_live_state) or `system_problem` then says so.
    """

    go_live: GoLiveRow | None
    system: SystemRow | None
    expires_at: float
    problem: str | None = None
    system_problem: str | None = None
    renew_at: float = 0.0
    cause: str | None = None
    _made: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def decision(self) -> Decision:
        return decide(self.go_live)

    def known_go_live(self) -> GoLiveRow:
        """Raises StateUnknownError where it is not known."""
        if self.go_live is None:
            raise StateUnknownError(self.problem or _SILENT)
        return self.go_live

    def known_system(self) -> SystemRow:
        """Raises StateUnknownError where it is not known."""
        if self.system is None:
            raise StateUnknownError(self.system_problem or _SILENT)
        return self.system

    def once(self, make: Callable[..., T], *arguments: Any) -> T:
        """`make(snapshot, *arguments)`, made once for this snapshot."""
        key = (make, *arguments)
        try:
            found: T = self._made[key]
        except KeyError:
            found = self._made[key] = make(self, *arguments)
        return found


_NEVER = Snapshot(None, None, 0.0, _SILENT, _SILENT)


def read_snapshot(*, using: str = DEFAULT_DB_ALIAS) -> Snapshot:
    """What may be answered now. Never raises for the database: a state that is not known is a snapshot too."""
    return _store(using).read()


def read_fresh(*, using: str = DEFAULT_DB_ALIAS) -> Snapshot:
    """The rows by a SELECT that is sent after this call, on another connection, whatever lease lasts. Never raises."""
    return _store(using).read_fresh()


def _store(using: str) -> Store:
    store = _stores.get(using)
    if store is None:
        store = _stores.setdefault(using, _make_store(using))
    return store


def _make_store(using: str) -> Store:
    def refresh() -> None:
        # Also where nobody asks: no more connections are held than are used.
        store.refresh()

    renewed = RenewedConnection(using, clock=leases.boottime, on_ready=refresh)
    store = Store(lambda: renewed.use(lambda: singletons.read_rows(using=using)), name=using, close=renewed.close)
    return store


def forget(*, using: str = DEFAULT_DB_ALIAS) -> None:
    """Let this process read anew, after a change of its own; others have until their lease ends."""
    store = _stores.get(using)
    if store is not None:
        store.forget()


def stop_all() -> None:
    """End the threads and their connections; the next read starts them again."""
    while _stores:
        _stores.popitem()[1].stop()


class Store:
    """The snapshot of one database in this process, and the thread that refreshes it by calling `source`.

    `close` is called when the thread ends, with its connections.
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
        # What may answer while its lease lasts. Read and replaced as a whole, so that the hot path needs no lock.
        self._latest = _NEVER
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_wanted = self._is_stopped = False
        # Refreshes are numbered; `_outcome` is of refresh `_ended`, whatever came of it.
        self._begun = self._ended = 0
        self._outcome = _NEVER
        # When the first of the refreshes was begun that have not been answered since.
        self._silent_since: float | None = None
        self._told: Code | None = None
        self._told_causes: set[str] = set()

    def read(self) -> Snapshot:
        """The snapshot within its lease, or the outcome of a SELECT that is sent after this call."""
        latest, now = self._latest, leases.boottime()
        if now < latest.renew_at:
            return latest
        if now < latest.expires_at:
            # Renewed ahead of its end, so that nobody has to wait.
            if self._begun == self._ended and not self._is_wanted:
                self.refresh()
            return latest
        answer = self._await_answer(now)
        # Who has no time left, be it that its client was slow, has learned nothing of the database.
        if answer is _NEVER and remaining_seconds() != 0:
            self._tell(answer)
        return answer

    def read_fresh(self) -> Snapshot:
        """The outcome of a SELECT that is sent after this call."""
        return self._await_answer(leases.boottime(), is_leased=False)

    def refresh(self) -> None:
        """Have a refresh begun, and wait for nothing."""
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
            # Of the refresh under way nobody knows whether its SELECT was sent before this request came.
            ticket = self._begun + 1
            if not self._demand():
                return _NEVER
            while True:
                answer = self._find_answer(ticket) if is_leased else self._find_fresh(ticket)
                if answer is not None:
                    return answer
                left = min(gives_up_at, self._silent_from()) - leases.boottime()
                if left <= 0:
                    return _NEVER
                self._condition.wait(left)

    def _find_answer(self, ticket: int) -> Snapshot | None:
        """The joining rule: the SELECT was sent after the request came, or the lease lasts now.

        Why it is needed: docs/explain/design.md, The lease.
        """
        if self._ended >= ticket:
            return self._outcome
        if leases.boottime() < self._latest.expires_at:
            return self._latest
        return None

    def _find_fresh(self, ticket: int) -> Snapshot | None:
        return self._outcome if self._ended >= ticket else None

    def _silent_from(self) -> float:
        """The moment from which nobody is made to wait, since the database has not answered anybody for so long."""
        return math.inf if self._silent_since is None else self._silent_since + PATIENCE_SECONDS

    def _demand(self) -> bool:
        """Have a refresh begun, with the lock held. False: no thread can be had for it."""
        if self._is_stopped:
            return False
        self._is_wanted = True
        # One that died of something unforeseen must not leave this process closed until somebody restarts it.
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
        """Wait until somebody asks, or, while the database is silent, a moment. False: to be stopped."""
        with self._condition:
            if self._silent_since is not None:
                self._condition.wait_for(lambda: self._is_stopped, RETRY_SECONDS)
            else:
                self._condition.wait_for(lambda: self._is_wanted or self._is_stopped)
            return not self._is_stopped

    def _refresh(self) -> None:
        sent_at = self._begin()
        outcome = self._end(sent_at, self._read())
        now = leases.boottime()
        # What comes after everybody has given up answers nobody, unless it may go on answering.
        if now - sent_at < PATIENCE_SECONDS or now < outcome.expires_at:
            self._tell(outcome)

    def _begin(self) -> float:
        with self._condition:
            self._is_wanted = False
            self._begun += 1
            # Before the SELECT is sent: what it does not see may have been committed from now on.
            sent_at = leases.boottime()
            if self._silent_since is None:
                self._silent_since = sent_at
            return sent_at

    def _end(self, sent_at: float, reading: Reading) -> Snapshot:
        outcome = _lease(reading, sent_at)
        with self._condition:
            self._ended, self._outcome = self._begun, outcome
            if outcome.problem is None:
                self._latest = outcome
            if outcome.problem is None or leases.boottime() - sent_at < PATIENCE_SECONDS:
                self._silent_since = None
            self._condition.notify_all()
        return outcome

    def _tell(self, snapshot: Snapshot) -> None:
        """Log a decision that is another than before: from then on this process allows, or denies."""
        code = snapshot.decision.code
        # A cause is worth a line of its own, once: what is noticed first is often only that nobody answers.
        if code is self._told and (snapshot.cause is None or snapshot.cause in self._told_causes):
            return
        if code is not self._told:
            self._told_causes.clear()
        self._told = code
        if snapshot.cause is not None:
            self._told_causes.add(snapshot.cause)
        if snapshot.go_live is None:
            logger.warning("the decision from %s is now %s: %s", self._name, code, snapshot.cause or snapshot.problem)
        else:
            logger.info("the decision from %s is now %s (revision %s)", self._name, code, snapshot.go_live.revision)

    def _read(self) -> Reading:
        try:
            return self._source()
        except Exception:
            logger.exception("the rows of %s could not be read", self._name)
            return Reading(None, None, _SILENT, _SILENT)


def _lease(reading: Reading, sent_at: float) -> Snapshot:
    """A reading as a snapshot whose lease began before its SELECT was sent. What is not known has none."""
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


_stores: dict[str, Store] = {}
# A fork has none of the threads.
os.register_at_fork(after_in_child=_stores.clear)
