"""Permits: no stop is acknowledged as complete while work runs under one. A permit never blocks a stop.

A permit takes a shared lock other than the row's, then reads the row. A stop commits, then looks for holders of that
lock. So a holder that read "allowed" before the stop is seen by the stop, and a later one reads the stop.
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

# How long a stop waits at most for the permits that it has seen.
WAIT_SECONDS = 3.0
POLL_SECONDS = 0.02

# "permit" in ASCII, in two halves. The lock is transaction-level: poolers in transaction mode break session-level ones.
LOCK_KEY = (0x706572, 0x6D6974)
_TAKE = "SELECT pg_try_advisory_xact_lock_shared(%s, %s), current_setting('transaction_isolation')"
# Any role that may connect can take the lock, but only one that can read the row, itself or through a role that it is a
# member of, can hold a permit. A prepared transaction holds its locks without a session.
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
    """A held permit. `key` identifies it; `description` says who holds it, as far as known."""

    key: str
    description: str


@contextmanager
def hold(check: Callable[[GoLiveRow], None], *, using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """Take the permit lock, and hold it if `check` accepts the row read after that.

    It is held until the end of the caller's transaction, or else of one opened for the block.

    Raises, before the block is entered, what `check` raises, StateUnknownError, and database errors unchanged; the
    caller's transaction is then as before and does not hold the permit lock.
    """
    with ExitStack() as stack:
        if connections[using].vendor == "postgresql":
            _take_shared_lock(stack, check, using)
        elif connections[using].in_atomic_block:
            # SQLite has one writer at a time, and this is it: a stop comes after the caller's transaction.
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
            # Permits share the lock and stops do not take it, so some other session holds it exclusively.
            raise StateUnknownError("A session holds the permit lock exclusively, so no permit can be granted.")
        if isolation == "read committed":
            row = singletons.read_go_live(using=using)
        else:
            # This transaction may see an old version of the row.
            row = snapshots.read_fresh(using=using).known_go_live()
        # Inside the savepoint, so that a refusal releases the lock with it.
        check(row)


@contextmanager
def _deferred_transaction(using: str) -> Iterator[None]:
    """A transaction around the block that does not take SQLite's write lock until something is written."""
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
    """Wait until the permits held now are released, at most until `ends_at` (`time.monotonic`).

    Returns how many are still held; None if unknown. Call it after the commit, outside of a transaction.
    """
    seen: set[str] | None = None
    held: list[Permit] = []
    while True:
        try:
            held = [permit for permit in find_held(using=using) if seen is None or permit.key in seen]
        except Exception as error:  # noqa: BLE001 - the change is committed, whatever happens here
            drop_dead_connection(using)
            problem = explain_cause(error, using=using)
            if time.monotonic() >= ends_at:
                logger.error("a stop is committed, but it is not known which permits are held: %s", problem)
                # Those still held at the last successful query.
                return None if seen is None else len(held)
        else:
            seen = {permit.key for permit in held}
            if not held or time.monotonic() >= ends_at:
                break
        time.sleep(POLL_SECONDS)
    if held:
        logger.error(
            "a stop leaves %d permits that are still held: %s", len(held), "; ".join(p.description for p in held)
        )
    return len(held)


def find_held(*, using: str = DEFAULT_DB_ALIAS) -> list[Permit]:
    """The permits held at this moment. Raises database errors unchanged.

    On SQLite those of all other processes count as one.
    """
    if connections[using].vendor != "postgresql":
        return [Permit(key, description) for key, description in file_locks.find_holders(_file_of(using))]
    with database_deadline(READ_SECONDS), connections[using].cursor() as cursor:
        cursor.execute(_HOLDERS, [*LOCK_KEY, GO_LIVE_STATE])
        rows = cursor.fetchall()
    return [
        Permit(key, f"pid {pid} (role {role}, application {application or '?'}) since {since or '?'}")
        for key, pid, role, application, since in rows
    ]


def _file_of(using: str) -> str | None:
    """The lock file for permits; None for an in-memory database, which no other process can open."""
    connection: Any = connections[using]
    return None if connection.is_in_memory_db() else f"{connection.settings_dict['NAME']}-permits"
