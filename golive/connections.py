"""A database that fails: recovery outside of requests, where Django looks after nothing, and what to say of it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.db import connections
from psycopg.pq import TransactionStatus

from golive.causes import NO_ANSWER, TABLES_MISSING, find_cause, lacks_tables


def drop_dead_connection(using: str) -> None:
    """Forget the thread's connection if it is closed, so that the next use makes a new one. Waits for nothing.

    Also one in a transaction that nobody knows of: Django ends transactions for its own kinds of errors only, and what
    comes next would be part of it.
    """
    with suppress(Exception):  # settings that make no connection leave none to drop
        connection: Any = connections[using]
        raw = connection.connection
        if connection.vendor != "postgresql" or raw is None or connection.in_atomic_block:
            return
        if raw.closed or raw.info.transaction_status != TransactionStatus.IDLE:
            connection.close()


def explain_failure(error: BaseException) -> str:
    """What everybody may know of a failure: the tables are missing, or the database is."""
    return TABLES_MISSING if lacks_tables(error) else f"{NO_ANSWER}."


def explain_cause(error: BaseException, *, using: str) -> str:
    """Why a statement failed, with the database's own words, for the log and for whoever has a shell."""
    return TABLES_MISSING if lacks_tables(error) else f"{find_cause(error, using=using)}."
