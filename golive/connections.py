"""A database that fails: recovery outside of requests, where Django looks after nothing, and what to say of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

from django.db import Error, OperationalError, connections

TABLES_MISSING = "The tables are not there as they should be. Run `manage.py migrate`."
_NO_SUCH = ("42P01", "42703")  # undefined_table, undefined_column
_SQLITE_NO_SUCH = ("no such table", "no such column")


def drop_dead_connection(using: str) -> None:
    """Forget the thread's connection if it is closed, so that the next use makes a new one. Waits for nothing."""
    connection = connections[using]
    if connection.vendor != "postgresql" or connection.connection is None or connection.in_atomic_block:
        return
    if connection.connection.closed:
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


def lacks_tables(error: Error) -> bool:
    """Whether a statement failed because a table or column is not there."""
    return getattr(error.__cause__, "sqlstate", None) in _NO_SUCH or str(error).startswith(_SQLITE_NO_SUCH)


def explain_failure(error: Error) -> str:
    """Why a statement failed, for whoever can do something about it: the tables are missing, or the database is."""
    return TABLES_MISSING if lacks_tables(error) else "The database does not answer."
