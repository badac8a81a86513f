"""One transaction for each write, and its acknowledgement: only when nobody can answer from an older state any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.db import Error, connections, transaction

from golive import leases, snapshots
from golive.connections import TABLES_MISSING, drop_dead_connection, lacks_tables
from golive.deadline import WRITE_SECONDS, database_deadline, extend_deadline
from golive.domain.errors import NotAppliedError, OutcomeUnknownError, UnavailableError

# Kept by the server for the transaction of a change, in milliseconds. A wait for a lock ends before our own deadline,
# with a plain answer; a writer that is frozen while it holds the lock is cut off before others give up waiting.
_SETTINGS = {
    "lock_timeout": "3000",
    "statement_timeout": "4000",
    "idle_in_transaction_session_timeout": "2000",
    "synchronous_commit": "on",
}

T = TypeVar("T")


def commit(write: Callable[[], tuple[T, int]], using: str) -> T:
    """Run a write in its own transaction; it returns its result and the longest lease that a reader may hold, in ms.

    Returns the result after the commit and that lease: then the change may be acknowledged, also one that changed
    nothing, since whoever reads the acknowledgement relies on what it says. Tells a failure before COMMIT
    (NotAppliedError) from one at COMMIT (OutcomeUnknownError). Must not be called inside a transaction (RuntimeError).
    """
    is_committing = False
    try:
        with database_deadline(WRITE_SECONDS), transaction.atomic(using=using, durable=True):
            if connections[using].vendor == "postgresql":
                _set_for_transaction(using)
            result, lease_ms = write()
            is_committing = True
    except Error as error:
        drop_dead_connection(using)
        raise _explain(error, is_committing=is_committing, using=using) from error
    acknowledge(lease_ms, using)
    return result


def acknowledge(lease_ms: int, using: str) -> None:
    """Wait until the change is seen everywhere. No lock and no transaction is open meanwhile."""
    began = leases.boottime()
    snapshots.forget(using=using)
    leases.wait_out(lease_ms)
    # What the request still has to do with the database has its time.
    extend_deadline(leases.boottime() - began)


def _set_for_transaction(using: str) -> None:
    calls = ", ".join("set_config(%s, %s, true)" for _ in _SETTINGS)
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {calls}", [text for pair in _SETTINGS.items() for text in pair])


def _explain(error: Error, *, is_committing: bool, using: str) -> UnavailableError:
    state_code = getattr(error.__cause__, "sqlstate", None)
    # An answer of the server to COMMIT is an answer: rolled back. No answer, or a farewell, is none.
    is_answer = state_code is not None and not state_code.startswith(("08", "57P")) and state_code != "40003"
    if is_committing and not is_answer and connections[using].vendor == "postgresql":
        return OutcomeUnknownError("The connection was lost at COMMIT. Look at the state, or repeat the request.")
    if state_code == "55P03":
        return NotAppliedError(
            "Another change or an execution permit holds the row; nothing was done. Repeat the request."
        )
    if lacks_tables(error):
        return NotAppliedError(f"Nothing was done. {TABLES_MISSING}")
    return NotAppliedError("The database did not take the change; nothing was done. Repeat the request.")
