"""Detects that the database has failed over since the last change, if GOLIVE_CLOSE_ON_FAILOVER is set.

A promoted standby that had not received everything may have lost an acknowledged stop. Promotion starts a new
PostgreSQL timeline, so each change toward safe notes the current timeline; a row with a different timeline, or none,
counts as unknown until such a change is made or the state is reconciled.

The column is read and written only if the setting is on: a database that cannot report its timeline (some managed
ones) must not block a stop.
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
# The first eight hexadecimal digits of a WAL file name. Any role may call it; on a standby it raises an error.
TIMELINE = "('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer"
_REMEDY = (
    "A stop may have been lost. Engage the kill switch, or look, and where the state is right run "
    "`manage.py golive reconcile --reason ...`."
)

_is_disregarded: ContextVar[bool] = ContextVar("golive_failover_disregarded", default=False)


def is_enabled() -> bool:
    """Whether the setting is on."""
    return bool(getattr(settings, "GOLIVE_CLOSE_ON_FAILOVER", False))


def is_watched(using: str) -> bool:
    """Whether a row with a different timeline counts as unknown, for this database and in this context."""
    return is_enabled() and connections[using].vendor == "postgresql" and not _is_disregarded.get()


@contextmanager
def disregarded() -> Iterator[None]:
    """Inside the block the row is read regardless of its timeline, to record or compare it; never to decide."""
    token = _is_disregarded.set(True)
    try:
        yield
    finally:
        _is_disregarded.reset(token)


def server_column(using: str, *, row: str | None) -> str:
    """A SQL expression: false or NULL if this server's answer can be trusted; otherwise true, or the reason as text.

    `row` is the alias of go_live_state in the statement, None if the statement does not read it.
    """
    if connections[using].vendor != "postgresql":
        return "0"
    if row is None or not is_watched(using):
        return "pg_is_in_recovery()"
    return f"""CASE WHEN pg_is_in_recovery() THEN '{STANDBY}' WHEN {row}.id IS NOT NULL
        AND {row}.timeline IS DISTINCT FROM {TIMELINE} THEN {_reason(row)} END"""


def _reason(row: str) -> str:
    return (
        f"CASE WHEN {row}.timeline IS NULL THEN 'No change has noted the timeline of the database yet'"
        f" ELSE 'The database has failed over since the last change (timeline ' || {row}.timeline || ', now '"
        f" || {TIMELINE} || ')' END || '. {_REMEDY}'"
    )


def find_problem(using: str) -> Problem | None:
    """The failover problem to record; None if there is none. Raises database errors unchanged."""
    if not is_watched(using):
        return None
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {server_column(using, row='g')}, g.timeline FROM go_live_state AS g WHERE g.id = 1")  # noqa: S608 - constants
        row = cursor.fetchone()
    if row is None or row[0] is None:
        return None
    return Problem("failover", GO_LIVE_STATE, row[0], evidence=str(row[1]))


def check(using: str) -> None:
    """Raise StateUnknownError if the row has a different timeline. Raises database errors unchanged."""
    problem = find_problem(using)
    if problem is not None:
        raise StateUnknownError(problem.detail)
