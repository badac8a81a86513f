"""Database failures: recovery outside of requests, which Django leaves to us, and how to describe them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from traceback import walk_tb
from typing import Any

from django.db import Error, OperationalError, connections
from psycopg.pq import TransactionStatus

from golive.database.causes import NO_ANSWER, TABLES_MISSING, find_cause, lacks_tables


def drop_dead_connection(using: str) -> None:
    """Drop the thread's connection if it is closed, so that the next use opens a new one. Never blocks.

    Also drops one with a leftover transaction: Django ends transactions only for its own exception types, and the next
    statement would become part of it.
    """
    with suppress(Exception):  # settings with which no connection can be made leave none to drop
        connection: Any = connections[using]
        raw = connection.connection
        if connection.vendor != "postgresql" or raw is None or connection.in_atomic_block:
            return
        if raw.closed or raw.info.transaction_status != TransactionStatus.IDLE:
            connection.close()


def is_database_failure(error: BaseException) -> bool:
    """Whether it was raised by Django's database layer or a driver, whatever its type.

    Not everything they raise is an Error: an unknown connection parameter raises TypeError or ImproperlyConfigured, a
    date style that psycopg does not support NotImplementedError.
    """
    if isinstance(error, Error):
        return True
    names = (frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__))
    return any(str(name).partition(".")[0] == "psycopg" or str(name).startswith("django.db.") for name in names)


@contextmanager
def only_database_errors() -> Iterator[None]:
    """Raise every database failure inside the block as an Error, so that one except clause catches them all."""
    try:
        yield
    except Error:
        raise
    except Exception as error:
        if not is_database_failure(error):
            raise
        raise OperationalError(f"the database cannot be used ({type(error).__name__})") from error


def explain_failure(error: BaseException) -> str:
    """The public explanation of a failure: either the tables are missing or the database is unavailable."""
    return TABLES_MISSING if lacks_tables(error) else f"{NO_ANSWER}."


def explain_cause(error: BaseException, *, using: str) -> str:
    """Why a statement failed, with the database's own message: for the log and the command line only."""
    return TABLES_MISSING if lacks_tables(error) else f"{find_cause(error, using=using)}."
