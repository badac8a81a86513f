"""Permits: under one, a deed is not overtaken by an acknowledged stop. A permit never blocks a stop.

A permit takes a shared lock that is not the row's and reads the row afterwards. A stop commits, and looks who holds
that lock afterwards. So whoever has read "allowed" before the stop is seen by it; whoever comes later reads the stop.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from golive.database import file_locks
from golive.database.deadline import READ_SECONDS, database_deadline
from golive.database.failures import drop_dead_connection, explain_cause
from golive.domain.errors import StateUnknownError
from golive.domain.rows import GO_LIVE_STATE, GoLiveRow
from golive.state import singletons, snapshots

logger = logging.getLogger(__name__)

# How long a stop waits for the permits that it has seen, at most.
WAIT_SECONDS = 3.0
POLL_SECONDS = 0.02

# "permit" in ASCII, as two halves. Held by a transaction, since a pooler in transaction mode keeps no session's locks.
LOCK_KEY = (0x706572, 0x6D6974)
_TAKE = "SELECT pg_try_advisory_xact_lock_shared(%s, %s), current_setting('transaction_isolation')"
# Anybody who may connect can take the lock; only who can read the row can have got a permit by it, be it in a role that
# they can take on. A prepared transaction holds its locks without a session.
_HOLDERS = """
SELECT l.virtualtransaction || coalesce(' ' || l.pid, ''), l.pid, coalesce(a.usename::text, p.owner::text),
       a.application_name, coalesce(a.xact_start, p.prepared)::text
FROM pg_locks l
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
LEFT JOIN pg_prepared_xacts p ON l.pid IS NULL AND l.virtualtransaction = '-1/' || p.transaction::text
WHERE l.locktype = 'advisory' AND l.granted AND l.mode = 'ShareLock'
AND l.classid = %s::oid AND l.objid = %s::oid AND l.objsubid = 2
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND EXISTS (
    SELECT FROM pg_roles r WHERE has_any_column_privilege(r.oid, to_regclass(%s)::oid, 'SELECT')
    AND pg_has_role(coalesce(a.usesysid, (SELECT oid FROM pg_roles WHERE rolname = p.owner)), r.oid, 'MEMBER')
)
"""


@dataclass(frozen=True)
class Permit:
    """One that is held. `key` tells it from others; the rest says who, as far as that is known."""

    key: str
    words: str


@contextmanager
def hold(check: Callable[[GoLiveRow], None], *, using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """Hold the lock of permits, if `check` lets the row pass as it is after that.

    To the end of the caller's transaction, or else of one for the block.

    Raises, before the block is begun, what `check` raises, StateUnknownError, and database errors as they are; the
    caller's transaction is then as it was before, and holds no lock of permits.
    """
    with ExitStack() as stack:
        if connections[using].vendor == "postgresql":
            _take_shared_lock(stack, check, using)
        elif connections[using].in_atomic_block:
            # There is one writer at a time, and this is it: a stop comes after the caller's transaction.
            with database_deadline(READ_SECONDS), transaction.atomic(using=using):
                singletons.take_only_lock(using=using)
                check(singletons.read_go_live(using=using))
        else:
            stack.enter_context(file_locks.share(_file_of(using)))
            check(singletons.read_go_live(using=using))
            stack.enter_context(_deferred_transaction(using))
        yield


def _take_shared_lock(stack: ExitStack, check: Callable[[GoLiveRow], None], using: str) -> None:
    connection = connections[using]
    is_own = not connection.in_atomic_block
    if is_own:
        stack.enter_context(transaction.atomic(using=using))
    with database_deadline(READ_SECONDS), nullcontext() if is_own else transaction.atomic(using=using):
        with connection.cursor() as cursor:
            if is_own:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL read committed")
            cursor.execute(_TAKE, LOCK_KEY)
            is_held, isolation = cursor.fetchone()
        if not is_held:
            # Permits share it, and stops do not take it.
            raise StateUnknownError("A session holds the lock of permits for itself alone, so none can be given.")
        if isolation == "read committed":
            row = singletons.read_go_live(using=using)
        else:
            # This transaction may see the row as it was long ago.
            row = snapshots.read_fresh(using=using).known_go_live()
        # Inside the savepoint, so that the lock goes with it where the row does not pass.
        check(row)


@contextmanager
def _deferred_transaction(using: str) -> Iterator[None]:
    """Undone with the block, and without the one lock of SQLite before somebody writes in it."""
    connection: Any = connections[using]
    mode, connection.transaction_mode = connection.transaction_mode, "DEFERRED"
    try:
        block = transaction.atomic(using=using)
        block.__enter__()
    finally:
        connection.transaction_mode = mode
    with ExitStack() as stack:
        stack.push(block)
        yield


def await_end(*, ends_at: float, using: str) -> int | None:
    """Wait until the permits that are held now are given back, at most until `ends_at` (`time.monotonic`).

    Returns how many still are; None if that cannot be known. Call it after the commit, outside of a transaction.
    """
    seen: set[str] | None = None
    held: list[Permit] = []
    while True:
        try:
            held = [permit for permit in find_held(using=using) if seen is None or permit.key in seen]
        except Exception as error:  # noqa: BLE001 - the change is committed, whatever this says
            drop_dead_connection(using)
            problem = explain_cause(error, using=using)
            if time.monotonic() >= ends_at:
                logger.error("a stop is committed, but it is not known which permits are held: %s", problem)
                # Those that were still held when it could be asked last.
                return None if seen is None else len(held)
        else:
            seen = {permit.key for permit in held}
            if not held or time.monotonic() >= ends_at:
                break
        time.sleep(POLL_SECONDS)
    if held:
        logger.error("a stop leaves %d permits that are still held: %s", len(held), "; ".join(p.words for p in held))
    return len(held)


def find_held(*, using: str = DEFAULT_DB_ALIAS) -> list[Permit]:
    """The permits that are held at this moment. Raises database errors as they are.

    On SQLite those of other processes look like one.
    """
    if connections[using].vendor != "postgresql":
        return [Permit(key, words) for key, words in file_locks.find_holders(_file_of(using))]
    with database_deadline(READ_SECONDS), connections[using].cursor() as cursor:
        cursor.execute(_HOLDERS, [*LOCK_KEY, GO_LIVE_STATE])
        rows = cursor.fetchall()
    return [
        Permit(key, f"pid {pid} (role {role}, application {application or '?'}) since {since or '?'}")
        for key, pid, role, application, since in rows
    ]


def _file_of(using: str) -> str | None:
    """The file that is locked for permits; None for a database in memory, which no other process has."""
    connection: Any = connections[using]
    return None if connection.is_in_memory_db() else f"{connection.settings_dict['NAME']}-permits"
