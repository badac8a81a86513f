"""One migrate at a time: a session lock of PostgreSQL, on a connection of its own, taken by polling.

Polling, because a session that waits inside `pg_advisory_lock()` holds a snapshot and would block another's
CREATE INDEX CONCURRENTLY; of a session, because a lock in a transaction would end with the first migration's.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import psycopg

# "golive" in ASCII, as two halves: advisory locks are numbers, and each database has its own.
LOCK_KEY = (0x676F, 0x6C697665)
POLL_SECONDS = 0.25
WATCH_SECONDS = 0.25
_QUERY_LENGTH = 200

_HOLDER = """
SELECT a.pid, a.application_name, a.client_addr::text, a.backend_start::text
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s AND l.objid = %s AND l.objsubid = 2
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_BLOCKERS = """
SELECT pid, coalesce(state, '?'), coalesce(xact_start::text, '?'), left(regexp_replace(query, '\\s+', ' ', 'g'), %s)
FROM pg_stat_activity WHERE pid = ANY(pg_blocking_pids(%s))
"""


class LockError(Exception):
    """The lock was not had, or was lost; the message says who has it and what to do."""


class MigrationLock:
    """Held inside a `with`. Meanwhile it watches who blocks the migrating session, for the message if that fails."""

    def __init__(self, parameters: dict[str, Any], *, timeout_seconds: float, tell: Callable[[str], None]) -> None:
        name = f"golive migrate {socket.gethostname()[:30]}:{os.getpid()}"
        self._parameters = {**parameters, "application_name": name}
        self._timeout_seconds = timeout_seconds
        self._tell = tell
        self._connection: psycopg.Connection[Any] | None = None
        self._watched: Callable[[], int | None] = lambda: None
        self._blockers: tuple[str, ...] = ()
        self._is_lost = False
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="golive-migrate-watch", daemon=True)

    def __enter__(self) -> Self:
        self._acquire()
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._watcher.join(timeout=5)
        # Closing ends the session and with it the lock; nothing may stay connected, lest CREATE DATABASE fail.
        if self._connection is not None:
            self._connection.close()

    def watch(self, backend_pid: Callable[[], int | None]) -> None:
        """Tell which session migrates, so that its blockers can be named."""
        self._watched = backend_pid

    @property
    def blockers(self) -> tuple[str, ...]:
        """Who blocked the migrating session when it was last seen waiting, in words; empty if it never waited."""
        return self._blockers

    def forget_blockers(self) -> None:
        self._blockers = ()

    def check(self) -> None:
        """Raise LockError if the session that holds the lock is gone, for then another migrate may be at work."""
        if self._is_lost:
            raise LockError(
                "The connection that holds the migrate lock was lost; nothing more is applied. Run it again."
            )

    def _acquire(self) -> None:
        ends_at = time.monotonic() + self._timeout_seconds
        told = False
        while True:
            try:
                if self._try_once():
                    return
                holder = self._describe_holder()
            except psycopg.OperationalError as error:
                holder = f"nobody who can be asked: {str(error).strip().splitlines()[0]}"
                self._drop_connection()
            if time.monotonic() >= ends_at:
                raise LockError(
                    f"Another migrate holds the lock after {self._timeout_seconds:g} s: {holder}. If it hangs, end it "
                    f"(SELECT pg_terminate_backend(PID)) and run migrate again; --lock-timeout waits longer."
                )
            if not told:
                self._tell(f"Waiting for another migrate: {holder}")
                told = True
            time.sleep(min(POLL_SECONDS, max(0.0, ends_at - time.monotonic())))

    def _try_once(self) -> bool:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(**self._parameters, autocommit=True)
            self._check_no_pooler(self._connection)
        row = self._connection.execute("SELECT pg_try_advisory_lock(%s, %s)", LOCK_KEY).fetchone()
        return bool(row and row[0])

    def _check_no_pooler(self, connection: psycopg.Connection[Any]) -> None:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        if row is not None and row[0] != connection.info.backend_pid:
            raise LockError(
                "DATABASE_URL leads through a connection pooler, where a session lock holds nothing. "
                "Set DATABASE_DIRECT_URL to the database itself."
            )

    def _describe_holder(self) -> str:
        assert self._connection is not None  # noqa: S101 - it has just been used
        row = self._connection.execute(_HOLDER, LOCK_KEY).fetchone()
        if row is None:
            return "it has just ended"
        pid, name, address, since = row
        return f"pid {pid} ({name or 'no name'}) from {address or 'this machine'}, connected since {since}"

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _watch(self) -> None:
        """Also a heartbeat: a query that fails means that the session, and with it the lock, is gone."""
        while not self._done.wait(WATCH_SECONDS):
            assert self._connection is not None  # noqa: S101 - started when it is there
            try:
                rows = self._connection.execute(_BLOCKERS, (_QUERY_LENGTH, self._watched() or 0)).fetchall()
            except psycopg.Error:
                self._is_lost = not self._done.is_set()
                return
            if rows:
                self._blockers = tuple(
                    f"pid {pid} ({state}, in a transaction since {since}): {query}" for pid, state, since, query in rows
                )
