"""One migrate at a time: a lock on the table `django_migrations`, held by a dedicated connection, acquired by polling.

Polling, because a session that waits for a lock may hold a snapshot and would block another session's CREATE INDEX
CONCURRENTLY. A dedicated connection, because a table lock ends with its transaction, that is, with the first migration.
Queries go through a second connection, since each query takes a snapshot.

The advisory lock of earlier releases is acquired too, so that they wait for this one; if a role that cannot migrate
holds it, it is ignored.

A process can be suspended for any time between two instructions, so holding the lock is not enough: it may be lost by
the next one. A new holder therefore first terminates the sessions of migrates that have lost the lock.
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
from django.db import Error, InterfaceError, OperationalError

from golive.database.deadline import database_deadline
from golive.deploys import sessions
from golive.deploys.record_table import RecordTable, TableLock, UnusableTableError
from golive.postgresql.base import BoundedConnection

POLL_SECONDS = 0.25
# A database that does not answer for this long is considered hung. Generous, because it aborts work in progress.
ANSWER_SECONDS = 15.0
ORPHAN_SECONDS = 10.0


class LockError(Exception):
    """The lock was not acquired, or was lost; the message says who holds it and what to do."""


@dataclass(frozen=True)
class Worker:
    """The session that runs the migrations: its server pid, and how to disconnect it from another thread."""

    pid: int
    cut_off: Callable[[], None]


class MigrationLock:
    """Held inside a `with` block. A thread watches who blocks the worker, for the error message if it fails."""

    def __init__(
        self,
        parameters: dict[str, Any],
        *,
        find_table: Callable[[], RecordTable],
        role: str | None = None,
        timeout_seconds: float,
        watch_seconds: float,
        report: Callable[[str], None],
    ) -> None:
        # No prepared statements: a pooler may route each statement to another server.
        self._parameters = {**parameters, "autocommit": True, "prepare_threshold": None}
        self._find_table, self._role = find_table, role
        self._timeout_seconds = timeout_seconds
        self._watch_seconds = watch_seconds
        self._report = report
        self._connection: psycopg.Connection[Any] | None = None
        self._holding: psycopg.Connection[Any] | None = None
        self._table: RecordTable | None = None
        self._table_lock: TableLock | None = None
        self._ignored_pids: set[int] = set()
        self._worker: Worker | None = None
        self._blockers: tuple[str, ...] = ()
        self._lost: str | None = None
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="golive-migrate-watch", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._acquire()
            self._end_orphans()
        except (psycopg.Error, Error) as error:
            self._drop_connections()
            raise LockError(f"The migrate lock was acquired and lost again: {_first_line(error)}") from error
        except UnusableTableError as error:
            self._drop_connections()
            raise LockError(str(error)) from error
        except BaseException:
            self._drop_connections()
            raise
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._watcher.join(timeout=ANSWER_SECONDS + 1)
        # Closing releases the lock too, but only once the server notices.
        if self._lost is None:
            with suppress(psycopg.Error), database_deadline(ANSWER_SECONDS):
                if self._table_lock is not None:
                    self._table_lock.release()
        # Leave no connection open: CREATE DATABASE ... TEMPLATE would fail.
        self._drop_connections()

    def watch(self, worker: Worker | None) -> None:
        """Set the session that runs the migrations, to record its blockers and cut it off if the lock is lost."""
        self._worker = worker

    @property
    def blockers(self) -> tuple[str, ...]:
        """Descriptions of who blocked the worker when it was last seen waiting; empty if it never waited."""
        return self._blockers

    def forget_blockers(self) -> None:
        self._blockers = ()

    def check(self) -> None:
        """Raise LockError if the session that holds the lock is gone: another migrate may then be running."""
        if self._lost is None:
            try:
                self._check_sessions()
            except psycopg.Error as error:
                self._lost = _first_line(error)
        if self._lost is not None:
            raise LockError(
                f"The connection that holds the migrate lock was lost ({self._lost}), so another migrate may be at "
                "work. What was applied stays, and nothing more is. Run migrate again."
            )

    # -- acquiring -------------------------------------------------------------------------------------------------

    def _acquire(self) -> None:
        ends_at = time.monotonic() + self._timeout_seconds
        has_connected, reported = False, ""
        while True:
            holder: sessions.Holder | None = None
            trouble = ""
            try:
                self._connect()
                has_connected = True
                is_acquired, holder = self._try()
                if is_acquired:
                    return
            except (psycopg.OperationalError, OperationalError, InterfaceError) as error:
                if not has_connected:
                    raise LockError(f"The database cannot be reached: {_first_line(error)}") from error
                trouble = f"the database is away ({_first_line(error)})"
                self._drop_connections()
            if time.monotonic() >= ends_at:
                raise LockError(self._describe_timeout(holder, trouble))
            if (reason := trouble or (f"{holder.pid} {holder.name}" if holder is not None else reported)) != reported:
                self._report(f"Waiting: {trouble}" if holder is None else f"Waiting for {_describe(holder)}")
                reported = reason
            time.sleep(min(POLL_SECONDS, max(0.0, ends_at - time.monotonic())))

    def _try(self) -> tuple[bool, sessions.Holder | None]:
        """Whether the lock was acquired; if not, its holder, or None if it has just been released."""
        if self._table is None:
            self._table = self._find_table()
        assert self._table_lock is not None  # noqa: S101 - for the type checker
        with database_deadline(ANSWER_SECONDS):
            self._table_lock.begin()
            try:
                is_acquired, holder = self._try_inside(self._table_lock, self._table)
            except psycopg.errors.UndefinedTable:
                # The session that created it has dropped it again.
                is_acquired, holder, self._table = False, None, None
            if not is_acquired:
                self._table_lock.roll_back()
            return is_acquired, holder

    def _try_inside(self, lock: TableLock, table: RecordTable) -> tuple[bool, sessions.Holder | None]:
        if not lock.try_advisory():
            holders = sessions.find_advisory_holders(self._ask, table.quoted)
            able = next((holder for holder in holders if holder.can_migrate), None)
            if able is not None or not holders:
                return False, able
            self._ignore(holders)
        if lock.try_lock(table):
            return True, None
        return False, next(iter(sessions.find_holders(self._ask, table.quoted)), None)

    def _ignore(self, holders: list[sessions.Holder]) -> None:
        for holder in holders:
            if holder.pid not in self._ignored_pids:
                self._ignored_pids.add(holder.pid)
                self._report(f"Ignoring the advisory lock of {holder}: its role could not migrate.")

    def _describe_timeout(self, holder: sessions.Holder | None, trouble: str) -> str:
        waited = (
            f"The migrate lock was not acquired within {self._timeout_seconds:g} s (--lock-timeout); nothing was done."
        )
        if holder is None:
            return f"{waited} Last seen: {trouble or 'its holder had just ended'}. Run migrate again."
        end = f"SELECT pg_terminate_backend({holder.pid})" if holder.pid else "ROLLBACK PREPARED"
        return (
            f"{waited} {_describe(holder, 'Another').replace(': ', ' holds it: ', 1)}\n"
            f"If that one hangs, end it and run migrate again: {end}"
        )

    def _connect(self) -> None:
        if self._connection is not None and self._holding is not None:
            if not (self._connection.closed or self._holding.closed):
                return
            self._drop_connections()
        self._connection, self._holding = (
            BoundedConnection.connect(**{**self._parameters, "application_name": name})
            for name in (sessions.watching_name(), sessions.holding_name())
        )
        with database_deadline(ANSWER_SECONDS):
            is_direct = sessions.is_direct(self._connection)
            if not is_direct and not sessions.are_sessions_dedicated(self._connection, self._holding):
                # Before acquiring a lock: it would stay with a pooled server connection, where nobody could release it.
                raise LockError(
                    "The database is reached through a connection pooler that keeps no sessions, where a lock holds "
                    "nothing. Set DATABASE_DIRECT_URL to the URL of the database itself; migrate alone will use it."
                )
            self._table_lock = TableLock(self._holding, role=self._role)

    def _end_orphans(self) -> None:
        """Terminate the sessions of migrates that have lost the lock, suspended or killed."""
        ends_at = time.monotonic() + ORPHAN_SECONDS
        ended: set[int] = set()
        assert self._table is not None  # noqa: S101 - for the type checker
        while orphans := sessions.find_workers(self._ask, self._table.quoted):
            for pid in orphans.keys() - ended:
                self._report(f"Ending pid {pid} ({orphans[pid]}), which is still working without the lock.")
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

    # -- holding ---------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Record blockers. Also a heartbeat: a failing query means that the session, and with it the lock, is gone."""
        while not self._done.wait(self._watch_seconds):
            worker = self._worker
            try:
                self._check_sessions()
                blockers = sessions.find_blockers(self._ask, worker.pid if worker is not None else 0)
            except psycopg.Error as error:
                if not self._done.is_set():
                    self._lost = _first_line(error)
                    if worker is not None:
                        worker.cut_off()
                return
            self._blockers = blockers or self._blockers

    def _check_sessions(self) -> None:
        """Raise psycopg.Error if one of the two sessions is gone."""
        if self._table_lock is None:
            raise psycopg.OperationalError("not connected")
        with database_deadline(ANSWER_SECONDS):
            self._table_lock.check()
        self._ask("SELECT 1")

    def _ask(self, query: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        if self._connection is None:
            raise psycopg.OperationalError("not connected")
        with database_deadline(ANSWER_SECONDS):
            return self._connection.execute(query.encode(), parameters).fetchall()

    def _drop_connections(self) -> None:
        for connection in (self._holding, self._connection):
            if connection is not None:
                connection.close()
        self._connection = self._holding = self._table_lock = None


def _describe(holder: sessions.Holder, another: str = "another") -> str:
    who = f"{another} migrate" if holder.is_migrate else f"{another} session that is not a migrate"
    return f"{who}: {holder}"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
