"""A database that fails: recovery outside of requests, where Django looks after nothing, and what to say of it."""

from __future__ import annotations

from django.db import Error, connections

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


def lacks_tables(error: Error) -> bool:
    """Whether a statement failed because a table or column is not there."""
    return getattr(error.__cause__, "sqlstate", None) in _NO_SUCH or str(error).startswith(_SQLITE_NO_SUCH)


def explain_failure(error: Error) -> str:
    """Why a statement failed, for whoever can do something about it: the tables are missing, or the database is."""
    return TABLES_MISSING if lacks_tables(error) else "The database does not answer."
