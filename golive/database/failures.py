"""A database that fails: recovery outside of requests, where Django looks after nothing, and what to say of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from traceback import walk_tb
from typing import Any

from django.db import Error, OperationalError, connections
from psycopg.pq import TransactionStatus

from golive.database.causes import NO_ANSWER, TABLES_MISSING, find_cause, lacks_tables


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


def is_database_failure(error: BaseException) -> bool:
    """Whether it was raised by Django's database layer or a driver, as what kind soever.

    Not everything they raise is an Error: a parameter of the connection that they do not know is a TypeError or an
    ImproperlyConfigured, a form of dates that psycopg does not read a NotImplementedError.
    """
    if isinstance(error, Error):
        return True
    names = (frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__))
    return any(str(name).partition(".")[0] == "psycopg" or str(name).startswith("django.db.") for name in names)


@contextmanager
def only_database_errors() -> Iterator[None]:
    """Raise every failure of the database inside the block as an Error, so that whoever catches one catches all."""
    try:
        yield
    except Error:
        raise
    except Exception as error:
        if not is_database_failure(error):
            raise
        raise OperationalError(f"the database cannot be used ({type(error).__name__})") from error


def explain_failure(error: BaseException) -> str:
    """What everybody may know of a failure: the tables are missing, or the database is."""
    return TABLES_MISSING if lacks_tables(error) else f"{NO_ANSWER}."


def explain_cause(error: BaseException, *, using: str) -> str:
    """Why a statement failed, with the database's own words, for the log and for whoever has a shell."""
    return TABLES_MISSING if lacks_tables(error) else f"{find_cause(error, using=using)}."
