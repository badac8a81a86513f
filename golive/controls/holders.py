"""The sessions that block a change, and how to end them (PostgreSQL)."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from django.db import DEFAULT_DB_ALIAS, connections

from golive.database.deadline import READ_SECONDS, database_deadline
from golive.domain.errors import NotAppliedError
from golive.domain.holders import Holder
from golive.domain.rows import GO_LIVE_STATE, SYSTEM_METADATA

logger = logging.getLogger(__name__)

QUERY_LENGTH = 100
END_SECONDS = 2.0

# Row locks do not appear in pg_locks. But a holder of one also holds the weak table lock that goes with it and has a
# transaction id, which a session still waiting for its first row has not. A table lock that blocks a change has one of
# the stronger modes.
_HOLDERS = """
WITH held AS (
    SELECT DISTINCT l.pid, l.virtualtransaction FROM pg_locks l
    WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND l.relation IN (SELECT to_regclass(t)::oid FROM unnest(%s::text[]) AS t)
    AND (l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
         OR l.mode IN ('RowShareLock', 'RowExclusiveLock') AND EXISTS (
             SELECT FROM pg_locks x WHERE x.locktype = 'transactionid' AND x.mode = 'ExclusiveLock' AND x.granted
             AND x.virtualtransaction = l.virtualtransaction))
)
SELECT h.pid, coalesce(a.xact_start, p.prepared), coalesce(a.usename::text, p.owner::text),
       nullif(a.application_name, ''), a.state, nullif(left(regexp_replace(a.query, '\\s+', ' ', 'g'), %s), ''), p.gid,
       EXISTS (SELECT FROM pg_locks w WHERE w.pid = h.pid AND NOT w.granted)
FROM held h
LEFT JOIN pg_stat_activity a ON a.pid = h.pid
LEFT JOIN pg_prepared_xacts p ON h.pid IS NULL AND h.virtualtransaction = '-1/' || p.transaction::text
ORDER BY 2
"""
# The server's own rule: https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-SIGNAL
_MAY_END = """
SELECT me.rolsuper OR (NOT coalesce(r.rolsuper, true)
       AND (pg_has_role(r.oid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE'))), quote_ident(current_user)
FROM pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid, pg_roles me
WHERE a.pid = %s AND me.rolname = current_user
"""
_EVENTS = "golive_event"


def find_holders(*, using: str = DEFAULT_DB_ALIAS) -> tuple[Holder, ...]:
    """The other sessions that hold locks on the rows or the tables now, oldest first; none on SQLite.

    Raises database errors unchanged.
    """
    if connections[using].vendor != "postgresql":
        return ()
    with database_deadline(READ_SECONDS), connections[using].cursor() as cursor:
        cursor.execute(_HOLDERS, [[GO_LIVE_STATE, SYSTEM_METADATA, _EVENTS], QUERY_LENGTH])
        rows = cursor.fetchall()
    # A session that is itself waiting for a lock counts only if no other does.
    rows = [row for row in rows if not row[-1]] or rows
    return tuple(
        Holder(pid, since, role=role, application=application, state=state, query=query, prepared=prepared)
        for pid, since, role, application, state, query, prepared, _ in rows
    )


def end(holders: Sequence[Holder], *, using: str = DEFAULT_DB_ALIAS) -> tuple[Holder, ...]:
    """End those of `holders` that still block, and wait until they are gone. Returns the sessions ended.

    Raises NotAppliedError if our role lacks the right, naming the grant that it needs, and database errors unchanged.
    """
    pids = {holder.pid for holder in holders}
    ended = tuple(holder for holder in find_holders(using=using) if holder.pid is not None and holder.pid in pids)
    for holder in ended:
        _end_one(holder, using)
    gives_up_at = time.monotonic() + END_SECONDS
    while time.monotonic() < gives_up_at:
        if not {holder.pid for holder in find_holders(using=using)} & {holder.pid for holder in ended}:
            break
        time.sleep(0.05)
    return ended


def _end_one(holder: Holder, using: str) -> None:
    connection = connections[using]
    with database_deadline(READ_SECONDS), connection.cursor() as cursor:
        cursor.execute(_MAY_END, [holder.pid])
        may_end, me = cursor.fetchone() or (True, "")
        if not may_end:
            raise NotAppliedError(
                f"{holder.summary} is in the way, and the role {me} may not end it; nothing was done. As a superuser: "
                f"GRANT pg_signal_backend TO {me}; (the session of a superuser can be ended by a superuser only).",
                holders=[holder],
            )
        cursor.execute("SELECT pg_terminate_backend(%s)", [holder.pid])
    logger.warning("ended %s, which was in the way of a stop", holder)
