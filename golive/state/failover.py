"""Noticing that the database has failed over since the last change, where GOLIVE_CLOSE_ON_FAILOVER asks for it.

A standby that had not received everything may have lost an acknowledged stop when it is promoted. Promotion begins a
new timeline of PostgreSQL, so each change toward safe writes down the timeline that it was made on, and a row of
another one, or of none, says nothing until somebody makes such a change or reconciles.

The column is read and written only where the setting is on: a database that cannot tell its timeline (some managed
ones) must not stand in the way of a stop.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.conf import settings
from django.db import connections

from golive.domain.chain import Problem
from golive.domain.errors import StateUnknownError
from golive.domain.rows import GO_LIVE_STATE

STANDBY = "The database is a standby; only the primary knows the state."
# The first eight digits of a WAL file's name, in hexadecimal; any role may ask. Not on a standby, where it is an error.
TIMELINE = "('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer"
_REMEDY = (
    "A stop may have been lost. Engage the kill switch, or look, and where the state is right run "
    "`manage.py golive reconcile --reason ...`."
)

_is_disregarded: ContextVar[bool] = ContextVar("golive_failover_disregarded", default=False)


def is_enabled() -> bool:
    """Whether the setting asks for it."""
    return bool(getattr(settings, "GOLIVE_CLOSE_ON_FAILOVER", False))


def is_watched(using: str) -> bool:
    """Whether a row of another timeline is unknown in this database, here and now."""
    return is_enabled() and connections[using].vendor == "postgresql" and not _is_disregarded.get()


@contextmanager
def disregarded() -> Iterator[None]:
    """Inside, the row is read as it is, for those who record or compare it and allow nothing by it."""
    token = _is_disregarded.set(True)
    try:
        yield
    finally:
        _is_disregarded.reset(token)


def server_column(using: str, *, row: str | None) -> str:
    """SQL that is false or NULL where this server may tell the state; otherwise true, or why not, in words.

    `row` is what go_live_state is called in the statement, None where it is not read.
    """
    if connections[using].vendor != "postgresql":
        return "0"
    if row is None or not is_watched(using):
        return "pg_is_in_recovery()"
    return f"""CASE WHEN pg_is_in_recovery() THEN '{STANDBY}' WHEN {row}.id IS NOT NULL
        AND {row}.timeline IS DISTINCT FROM {TIMELINE} THEN {_words(row)} END"""


def _words(row: str) -> str:
    return (
        f"CASE WHEN {row}.timeline IS NULL THEN 'No change has noted the timeline of the database yet'"
        f" ELSE 'The database has failed over since the last change (timeline ' || {row}.timeline || ', now '"
        f" || {TIMELINE} || ')' END || '. {_REMEDY}'"
    )


def find_problem(using: str) -> Problem | None:
    """What stands against the row, for the record; None where nothing does. Raises database errors as they are."""
    if not is_watched(using):
        return None
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {server_column(using, row='g')}, g.timeline FROM go_live_state AS g WHERE g.id = 1")  # noqa: S608 - constants
        found = cursor.fetchone()
    if found is None or found[0] is None:
        return None
    return Problem("failover", GO_LIVE_STATE, found[0], evidence=str(found[1]))


def check(using: str) -> None:
    """Raise StateUnknownError where the row is of another timeline. Raises database errors as they are."""
    problem = find_problem(using)
    if problem is not None:
        raise StateUnknownError(problem.detail)
