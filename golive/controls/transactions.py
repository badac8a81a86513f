"""The transaction of each write, and its acknowledgement once no reader can serve the older state any more."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from django.db import connections, transaction

from golive.controls.holders import find_holders
from golive.database.causes import TABLES_MISSING, find_cause, find_severity, find_state, lacks_tables
from golive.database.deadline import WRITE_SECONDS, database_deadline, extend_deadline, remaining_seconds
from golive.database.failures import drop_dead_connection
from golive.domain.errors import GoLiveError, NotAppliedError, OutcomeUnknownError, UnavailableError
from golive.domain.holders import Holder
from golive.postgresql.search_path import drop_foreign_schemas
from golive.state import leases, permits, snapshots

logger = logging.getLogger(__name__)

# Enforced by the server for the transaction of a change, in milliseconds. A lock wait ends before our own deadline, so
# that the cause is known; a writer that freezes while it holds the lock is cut off before others give up waiting.
_SETTINGS = {
    "lock_timeout": "3000",
    "statement_timeout": "4000",
    "idle_in_transaction_session_timeout": "2000",
    "synchronous_commit": "on",
    # The driver supports no other style.
    "datestyle": "ISO",
    "timezone": "UTC",
}
# A rehearsal must not block others, and must report soon that others block it.
REHEARSAL_SECONDS = 0.9
_REHEARSAL_LOCK_MS = 500
REHEARSAL_SETTINGS = {
    **_SETTINGS,
    "lock_timeout": str(_REHEARSAL_LOCK_MS),
    "statement_timeout": "800",
    "idle_in_transaction_session_timeout": "500",
}
_LOCK_NOT_AVAILABLE, _QUERY_CANCELED = "55P03", "57014"
_COMPLETION_UNKNOWN, _IDLE_TOO_LONG = "40003", "25P03"
# Short enough for what WRITE_SECONDS leaves, so that the response comes in time.
_HOLDERS_SECONDS = 0.5

T = TypeVar("T")
Write = Callable[[], tuple[T, int]]


def commit(write: Write[T], using: str) -> T:
    """Run `write` in its own transaction; it returns its result and the longest lease that a reader may hold, in ms.

    Returns the result after the commit and after that lease; then the change may be acknowledged. A no-op waits too,
    since its acknowledgement makes the same promise. Distinguishes a failure before COMMIT (NotAppliedError) from one
    at COMMIT (OutcomeUnknownError). Must not be called inside a transaction (RuntimeError).
    """
    result, lease_ms = _commit(write, using)
    acknowledge(lease_ms, using)
    return result


def commit_stop(write: Write[T], using: str) -> tuple[T, int | None]:
    """As `commit`, but also waits for held permits; returns how many are still held, too (None: unknown)."""
    ends_at = time.monotonic() + min(WRITE_SECONDS, _find_remaining())
    result, lease_ms = _commit(write, using)
    now = time.monotonic()
    # Within the request's time limit, whatever batching and locks took before.
    outstanding = acknowledge(lease_ms, using, permits_until=max(now, min(now + permits.WAIT_SECONDS, ends_at)))
    return result, outstanding


def acknowledge(lease_ms: int, using: str, *, permits_until: float | None = None) -> int | None:
    """Wait until the change is visible everywhere. Holds no lock and no transaction during the wait.

    With `permits_until` (`time.monotonic`) also waits for the permits, until then; returns how many are still held.
    """
    began = leases.boottime()
    snapshots.forget(using=using)
    outstanding = None
    if permits_until is not None:
        outstanding = permits.await_end(ends_at=permits_until, using=using)
    leases.wait_out(leases.remaining_ms(lease_ms, since=began))
    # Give the time back: the rest of the request still needs the database.
    extend_deadline(leases.boottime() - began)
    return outstanding


def rehearse(write: Write[T], using: str) -> T:
    """Run `write` in its own transaction, including the checks that are deferred to COMMIT, and roll it back.

    Returns the result. Raises NotAppliedError, or what `write` raises, if it could not be done.
    """
    with _explained_transaction(using, REHEARSAL_SETTINGS, limit_seconds=REHEARSAL_SECONDS):
        result, _ = write()
        if connections[using].vendor == "postgresql":
            with connections[using].cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        transaction.set_rollback(True, using=using)
    return result


def check_no_transaction(using: str) -> None:
    """Raise RuntimeError inside a transaction, where nothing could be acknowledged; a TestCase's own is allowed."""
    connection = connections[using]
    if connection.in_atomic_block and not getattr(connection.atomic_blocks[-1], "_from_testcase", False):
        raise RuntimeError("A change must not be made inside a transaction: it is acknowledged when it is committed.")


def _find_remaining() -> float:
    remaining = remaining_seconds()
    return math.inf if remaining is None else remaining


def _commit(write: Write[T], using: str) -> tuple[T, int]:
    check_no_transaction(using)
    with _explained_transaction(using, _SETTINGS, limit_seconds=WRITE_SECONDS):
        return write()


@contextmanager
def _explained_transaction(using: str, settings: Mapping[str, str], *, limit_seconds: float) -> Iterator[None]:
    """A transaction that must end in time; raises a GoLiveError for whatever goes wrong, inside or at COMMIT.

    For any exception: a failure before COMMIT undoes everything, and the caller of a stop has to know which it was.
    """
    is_committing = False
    try:
        with database_deadline(limit_seconds), _transaction(using, settings):
            yield
            is_committing = not transaction.get_rollback(using)
    except GoLiveError:
        raise
    except Exception as error:
        drop_dead_connection(using)
        raise _explain(error, is_committing=is_committing, using=using) from error


@contextmanager
def _transaction(using: str, settings: Mapping[str, str]) -> Iterator[None]:
    """A transaction that does not depend on defaults of the server, database, role or session."""
    connection = connections[using]
    if connection.vendor == "sqlite" and settings is REHEARSAL_SETTINGS:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {_REHEARSAL_LOCK_MS}")
    with transaction.atomic(using=using, durable=True):
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                # Only allowed as the first statement, which it is not inside a TestCase's transaction.
                if len(connection.atomic_blocks) == 1:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL read committed, READ WRITE")
                calls = ", ".join("set_config(%s, %s, true)" for _ in settings)
                cursor.execute(f"SELECT {calls}", [text for pair in settings.items() for text in pair])
                # A pooler may hand out a session that our connection setup has not touched.
                drop_foreign_schemas(cursor, is_local=True)
        yield


def _explain(error: Exception, *, is_committing: bool, using: str) -> UnavailableError:
    state, cause = find_state(error), find_cause(error, using=using)
    if is_committing and not _has_rolled_back(error) and connections[using].vendor == "postgresql":
        return OutcomeUnknownError(
            "The connection was lost at COMMIT. Look at the state, or repeat the request.", cause=str(cause)
        )
    if lacks_tables(error):
        return NotAppliedError(f"Nothing was done. {TABLES_MISSING}")
    advice = "" if cause.is_lasting else " Repeat the request."
    holders = _try_find_holders(using) if state in (_LOCK_NOT_AVAILABLE, _QUERY_CANCELED) else ()
    if state == _LOCK_NOT_AVAILABLE or holders:
        detail, summary = (
            "Another session holds what the change needs; nothing was done."
            + "".join(f" It is {holder.summary}; this ends it: {holder.remedy}" for holder in each)
            for each in (holders, [holder.redacted() for holder in holders])
        )
        return NotAppliedError(f"{detail}{advice}", summary=summary, advice=advice, holders=holders)
    summary = f"{cause.sentence}; nothing was done."
    return NotAppliedError(f"{cause}; nothing was done.{advice}", summary=summary, advice=advice)


def _has_rolled_back(error: Exception) -> bool:
    """Whether the server reported a rollback in response to COMMIT. No response, or a closed session, proves nothing.

    During a commit any failure is a PANIC (a full WAL disk: 53100), and after the restart the transaction may turn out
    to be committed.
    """
    state, severity = find_state(error), find_severity(error)
    if state is None or state.startswith(("08", "57P")) or state == _COMPLETION_UNKNOWN:
        return False
    # The idle timeout is the one FATAL error that is sent before COMMIT is read.
    return severity in (None, "ERROR") or state == _IDLE_TOO_LONG


def _try_find_holders(using: str) -> tuple[Holder, ...]:
    """The sessions still blocking. Never raises: the response to the change is more important."""
    try:
        with database_deadline(_HOLDERS_SECONDS):
            return find_holders(using=using)
    except Exception:
        logger.warning("it is not known who is in the way of a change", exc_info=True)
        drop_dead_connection(using)
        return ()
