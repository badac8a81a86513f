"""One migrate at a time: a session lock of PostgreSQL, on a connection of its own, taken by polling.

Polling, because a session that waits inside `pg_advisory_lock()` holds a snapshot and would block another's
CREATE INDEX CONCURRENTLY; of a session, because a lock in a transaction would end with the first migration's.

A process can be frozen for any time between two of its instructions, so holding the lock is not enough: it may be gone
by the next one. Whoever gets the lock therefore first ends the sessions of those who have lost it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import psycopg

from golive.deadline import database_deadline
from golive.deploys import sessions
from golive.postgresql.base import BoundedConnection

POLL_SECONDS = 0.25
# A database that does not answer for so long hangs. Long, because work that goes well is given up for it.
ANSWER_SECONDS = 15.0
ORPHAN_SECONDS = 10.0
_TRY_LOCK = "SELECT pg_try_advisory_lock(%s, %s)"


class LockError(Exception):
    """The lock was not had, or was lost; the message says who has it and what to do."""


@dataclass(frozen=True)
class Worker:
    """The session that does the work: its process id on the server, and how to cut it off from another thread."""

    pid: int
    cut_off: Callable[[], None]


class MigrationLock:
    """Held inside a `with`. Meanwhile it watches who blocks the worker, for the message if that fails."""

    def __init__(
        self,
        parameters: dict[str, Any],
        *,
        timeout_seconds: float,
        watch_seconds: float,
        tell: Callable[[str], None],
    ) -> None:
        # Not prepared: a pooler in front may give each statement another server.
        self._parameters = {
            **parameters,
            "application_name": sessions.holding_name(),
            "autocommit": True,
            "prepare_threshold": None,
        }
        self._timeout_seconds = timeout_seconds
        self._watch_seconds = watch_seconds
        self._tell = tell
        self._connection: psycopg.Connection[Any] | None = None
        self._worker: Worker | None = None
        self._blockers: tuple[str, ...] = ()
        self._lost: str | None = None
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="golive-migrate-watch", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._acquire()
            self._end_orphans()
        except psycopg.Error as error:
            self._drop_connection()
            raise LockError(f"The migrate lock was had and lost again: {_first_line(error)}") from error
        except BaseException:
            self._drop_connection()
            raise
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._watcher.join(timeout=ANSWER_SECONDS + 1)
        # Closing gives the lock back too, but only when the server comes to notice.
        if self._lost is None:
            with suppress(psycopg.Error):
                self._ask("SELECT pg_advisory_unlock(%s, %s)", sessions.LOCK_KEY)
        # Nothing may stay connected, lest CREATE DATABASE fail.
        self._drop_connection()

    def watch(self, worker: Worker | None) -> None:
        """Tell which session does the work, so that its blockers can be named and it ends with the lock."""
        self._worker = worker

    @property
    def blockers(self) -> tuple[str, ...]:
        """Who blocked the worker when it was last seen waiting, in words; empty if it never waited."""
        return self._blockers

    def forget_blockers(self) -> None:
        self._blockers = ()

    def check(self) -> None:
        """Raise LockError if the session that holds the lock is gone, for then another migrate may be at work."""
        if self._lost is None:
            try:
                self._ask("SELECT 1")
            except psycopg.Error as error:
                self._lost = _first_line(error)
        if self._lost is not None:
            raise LockError(
                f"The connection that holds the migrate lock was lost ({self._lost}), so another migrate may be at "
                "work. What was applied stays, and nothing more is. Run migrate again."
            )

    # -- getting it ------------------------------------------------------------------------------------------------

    def _acquire(self) -> None:
        ends_at = time.monotonic() + self._timeout_seconds
        has_connected, told = False, ""
        while True:
            holder: sessions.Holder | None = None
            trouble = ""
            try:
                self._connect()
                has_connected = True
                if self._ask(_TRY_LOCK, sessions.LOCK_KEY)[0][0]:
                    return
                holder = sessions.find_holder(self._ask)
            except psycopg.OperationalError as error:
                if not has_connected:
                    raise LockError(f"The database cannot be reached: {_first_line(error)}") from error
                trouble = f"the database is away ({_first_line(error)})"
                self._drop_connection()
            if time.monotonic() >= ends_at:
                raise LockError(self._describe_timeout(holder, trouble))
            if (reason := trouble or (holder.name if holder is not None else told)) != told:
                self._tell(f"Waiting: {trouble}" if trouble else f"Waiting for another migrate: {holder}")
                told = reason
            time.sleep(min(POLL_SECONDS, max(0.0, ends_at - time.monotonic())))

    def _describe_timeout(self, holder: sessions.Holder | None, trouble: str) -> str:
        waited = f"The migrate lock was not had within {self._timeout_seconds:g} s (--lock-timeout); nothing was done."
        if holder is None:
            return f"{waited} Last seen: {trouble or 'its holder had just ended'}. Run migrate again."
        return (
            f"{waited} Another migrate holds it: {holder}\n"
            f"If that one hangs, end it and run migrate again: SELECT pg_terminate_backend({holder.pid})"
        )

    def _connect(self) -> None:
        if self._connection is not None and not self._connection.closed:
            return
        self._connection = BoundedConnection.connect(**self._parameters)
        with database_deadline(ANSWER_SECONDS):
            if sessions.is_direct(self._connection):
                return
            with BoundedConnection.connect(**self._parameters) as another:
                is_kept = sessions.are_sessions_kept(self._connection, another)
        if not is_kept:
            # Before the lock was asked for: it would stay with a server of the pool, where nobody can give it back.
            raise LockError(
                "The database is reached through a connection pooler that keeps no sessions, where a lock holds "
                "nothing. Set DATABASE_DIRECT_URL to the URL of the database itself; migrate alone will use it."
            )

    def _end_orphans(self) -> None:
        """End the sessions that work for a migrate which has lost the lock: frozen ones, or what a killed one left."""
        ends_at = time.monotonic() + ORPHAN_SECONDS
        ended: set[int] = set()
        while orphans := sessions.find_workers(self._ask):
            for pid in orphans.keys() - ended:
                self._tell(f"Ending pid {pid} ({orphans[pid]}), which works on without the lock.")
                try:
                    self._ask("SELECT pg_terminate_backend(%s)", (pid,))
                except psycopg.errors.InsufficientPrivilege as error:
                    raise LockError(
                        f"An earlier migrate works on without the lock, as pid {pid}, and this role may not end it. "
                        f"As its owner: SELECT pg_terminate_backend({pid}). Then run migrate again."
                    ) from error
                ended.add(pid)
            if time.monotonic() > ends_at:
                raise LockError(f"Sessions of an earlier migrate do not end: pid {', '.join(map(str, orphans))}.")
            time.sleep(0.05)

    # -- keeping it ------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Also a heartbeat: a query that fails means that the session, and with it the lock, is gone."""
        while not self._done.wait(self._watch_seconds):
            worker = self._worker
            try:
                blockers = sessions.find_blockers(self._ask, worker.pid if worker is not None else 0)
            except psycopg.Error as error:
                if not self._done.is_set():
                    self._lost = _first_line(error)
                    if worker is not None:
                        worker.cut_off()
                return
            self._blockers = blockers or self._blockers

    def _ask(self, query: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        if self._connection is None:
            raise psycopg.OperationalError("not connected")
        with database_deadline(ANSWER_SECONDS):
            return self._connection.execute(query.encode(), parameters).fetchall()

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _first_line(error: psycopg.Error) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
