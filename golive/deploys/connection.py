"""The connection that migrates: past a pooler, with bounded waits, watched by the lock, restored afterwards."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.backends.signals import connection_created

from golive.deploys import sessions
from golive.deploys.lock import LockError, MigrationLock, Worker


@dataclass(frozen=True)
class Limits:
    """Time limits. The `ddl_` limits are per statement; 0 means no limit."""

    lock_seconds: float
    ddl_lock_ms: int
    ddl_statement_ms: int
    ddl_tries: int


@contextmanager
def direct_connection(using: str) -> Iterator[None]:
    """Bypass a connection pooler, which preserves no session locks or settings, if DATABASE_DIRECT_URL is set.

    The name of the database is preserved if it was changed since start-up, as the test runner does.
    """
    direct: dict[str, Any] | None = getattr(settings, "GOLIVE_DIRECT_DATABASE", None)
    connection = connections[using]
    if direct is None or using != DEFAULT_DB_ALIAS:
        yield
        return
    before = dict(connection.settings_dict)
    is_renamed = before["NAME"] != getattr(settings, "GOLIVE_DATABASE_NAME", before["NAME"])
    connection.close()
    connection.settings_dict.update(
        {
            **{name: direct[name] for name in ("HOST", "PORT", "USER", "PASSWORD")},
            "NAME": before["NAME"] if is_renamed else direct["NAME"],
            "OPTIONS": {**before["OPTIONS"], **direct.get("OPTIONS", {})},
        }
    )
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(before)


@contextmanager
def working_session(using: str, lock: MigrationLock, limits: Limits) -> Iterator[None]:
    """Set server-side timeouts for the migrating session, name it, and let the lock watch it.

    Raises LockError if the connection fails.
    """
    connection = connections[using]
    values = {
        "application_name": sessions.working_name(),
        "lock_timeout": str(limits.ddl_lock_ms),
        "statement_timeout": str(limits.ddl_statement_ms),
    }

    def begin(*, connection: Any, **_: Any) -> None:
        if connection is not connections[using]:
            return
        # A migration may close the connection, or a resumed process may find it closed: reconnect only with the lock.
        lock.check()
        calls = ", ".join("set_config(%s, %s, false)" for _ in values)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT pg_backend_pid(), {calls}", [text for pair in values.items() for text in pair])
            lock.watch(Worker(cursor.fetchone()[0], _cutter(connection)))

    try:
        connection.ensure_connection()
        begin(connection=connection)
    except Error as error:
        raise LockError(f"The database was reached and lost again: {error}") from error
    connection_created.connect(begin)
    try:
        with connection.execute_wrapper(_wait_if_concurrent(limits)):
            yield
    finally:
        connection_created.disconnect(begin)
        lock.watch(None)
        _restore(connection, values)


def _cutter(connection: Any) -> Callable[[], None]:
    """A function that shuts the connection's socket down, so that a thread waiting for an answer fails at once."""
    raw = connection.connection

    def cut_off() -> None:
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(raw.fileno())) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)

    return cut_off


def _restore(connection: Any, names: dict[str, str]) -> None:
    if connection.connection is None:
        return
    try:
        with connection.cursor() as cursor:
            for name in names:
                cursor.execute(f"RESET {name}")
    except Error:
        # It is unusable, so the next user must get a new one.
        connection.close()


def _wait_if_concurrent(limits: Limits) -> Callable[..., Any]:
    """No lock timeout for CREATE INDEX CONCURRENTLY and the like: they wait for old transactions but block nobody.

    Aborting such a wait would help nobody and leave an invalid index.
    """

    def execute_patiently(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        connection = context["connection"]
        if "CONCURRENTLY" not in str(sql).upper() or connection.in_atomic_block:
            return execute(sql, params, many, context)
        connection.connection.execute("SET lock_timeout = 0")
        try:
            return execute(sql, params, many, context)
        finally:
            with suppress(psycopg.Error):
                connection.connection.execute(f"SET lock_timeout = {limits.ddl_lock_ms}")

    return execute_patiently
