"""What PostgreSQL tells about sessions: who holds the lock, who is in the way, who works on without the lock.

Three sessions belong to each migrate, and their names say so: one holds the lock, one watches, one does the work.
Anyone may give a session any name, so a name counts only where the session's role could migrate at all.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from golive.text import make_visible

# "golive" in ASCII, as two halves: advisory locks are numbers, and each database has its own. Releases before this one
# have no other lock.
LOCK_KEY = (0x676F, 0x6C697665)
_HOLDS, _WATCHES, _WORKS = "golive migrate ", "golive watching ", "golive migrating "
_QUERY_LENGTH = 200

# Whoever may not record a migration, by themselves or as the owner, cannot be migrating.
_CAN_MIGRATE = """EXISTS (SELECT FROM pg_class t WHERE t.oid = %s::regclass
    AND (has_table_privilege(a.usesysid, t.oid, 'INSERT') OR pg_has_role(a.usesysid, t.relowner, 'MEMBER')))"""
_HOLDER = f"""
SELECT coalesce(l.pid, 0), coalesce(a.application_name, ''), coalesce(' from ' || host(a.client_addr), '')
    || coalesce(', user ' || a.usename, '')
    || coalesce(', connected since ' || a.backend_start::timestamp(0)::text, ''), {_CAN_MIGRATE}
FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
WHERE l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""  # noqa: S608 - constants
_TABLE_HOLDER = f"""{_HOLDER} AND l.locktype = 'relation' AND l.relation = %s::regclass AND l.mode IN
('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
"""
_ADVISORY_HOLDER = f"""{_HOLDER} AND l.locktype = 'advisory' AND l.classid = %s AND l.objid = %s AND l.objsubid = 2
"""
_DESCRIBED = """
coalesce(nullif(application_name, ''), 'no name') || ', user ' || coalesce(usename, '?') || ', '
    || coalesce(state, 'state unknown') || coalesce(', in a transaction since ' || xact_start::timestamp(0)::text, '')
    || '): ' || left(regexp_replace(coalesce(query, '?'), '\\s+', ' ', 'g'), %s)
"""
_WORKER = f"""
SELECT 'pid ' || pid || ' (' || {_DESCRIBED} FROM pg_stat_activity
WHERE datname = current_database() AND application_name = %s
AND usesysid = (SELECT usesysid FROM pg_stat_activity WHERE pid = %s)
"""  # noqa: S608 - constants
_BLOCKERS = f"""
SELECT DISTINCT CASE WHEN b.pid = 0 THEN 'a prepared transaction (SELECT * FROM pg_prepared_xacts)'
    ELSE 'pid ' || b.pid || coalesce(' (' || {_DESCRIBED}, '') END
FROM unnest(pg_blocking_pids(%s)) AS b (pid) LEFT JOIN pg_stat_activity a ON a.pid = b.pid
"""  # noqa: S608 - constants
_WORKERS = f"""
SELECT pid, application_name FROM pg_stat_activity a
WHERE datname = current_database() AND starts_with(application_name, %s) AND {_CAN_MIGRATE}
"""  # noqa: S608 - constants

# Runs one statement on the session that asks; its rows.
Ask = Callable[..., list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Holder:
    """Who has a lock. `worker` describes the session that works for it, None if there is none yet.

    `pid` 0 is a prepared transaction, which has no session.
    """

    pid: int
    name: str
    origin: str
    can_migrate: bool
    worker: str | None

    @property
    def is_migrate(self) -> bool:
        return self.name.startswith(_HOLDS)

    def __str__(self) -> str:
        if self.pid == 0:
            return "a prepared transaction (SELECT * FROM pg_prepared_xacts)"
        at_work = f"; it works as {self.worker}" if self.worker else ""
        return f"pid {self.pid} ({self.name or 'no name'}){self.origin}{at_work}"


def holding_name() -> str:
    return f"{_HOLDS}{_place()}"


def watching_name() -> str:
    return f"{_WATCHES}{_place()}"


def working_name() -> str:
    return f"{_WORKS}{_place()}"


def _place() -> str:
    # A name of PostgreSQL has 63 bytes.
    return f"{socket.gethostname()[:30]}:{os.getpid()}"


def find_holders(ask: Ask, table: str) -> list[Holder]:
    """Who holds the lock of the table (quoted, with its schema); none if it has just become free."""
    return [_complete(ask, row) for row in ask(_TABLE_HOLDER, (table, table))]


def find_advisory_holders(ask: Ask, table: str) -> list[Holder]:
    """Who holds the advisory lock of this database; whether they can migrate is judged by the table."""
    return [_complete(ask, row) for row in ask(_ADVISORY_HOLDER, (table, *LOCK_KEY))]


def _complete(ask: Ask, row: tuple[Any, ...]) -> Holder:
    pid, name, origin, can_migrate = row
    holder = Holder(pid, make_visible(name), origin, can_migrate, None)
    if not holder.is_migrate:
        return holder
    workers = ask(_WORKER, (_QUERY_LENGTH, name.replace(_HOLDS, _WORKS, 1), pid))
    return replace(holder, worker=make_visible(workers[0][0]) if workers else None)


def find_blockers(ask: Ask, pid: int) -> tuple[str, ...]:
    """Who the session `pid` waits for at this moment, in words."""
    return tuple(make_visible(text) for (text,) in ask(_BLOCKERS, (_QUERY_LENGTH, pid)))


def find_workers(ask: Ask, table: str) -> dict[int, str]:
    """The sessions that work for a migrate, pid -> name. To whoever has just got the lock: those without it."""
    return dict(ask(_WORKERS, (_WORKS, table)))


def is_direct(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server itself answers: a pooler gives its clients a process id of its own making."""
    (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (None,)
    return bool(pid == connection.info.backend_pid)


def are_sessions_kept(first: psycopg.Connection[Any], second: psycopg.Connection[Any]) -> bool:
    """Whether each connection has a session to itself, as a pooler grants it in session mode only.

    In any other mode a server that one connection has just used serves the other one next; the order is such that
    neither a stack nor a ring of idle servers can look like a session kept.
    """
    pids: dict[int, set[int]] = {0: set(), 1: set()}
    for number in (0, 1, 1, 0, 0, 1, 0, 1, 1, 0):
        (pid,) = (first, second)[number].execute("SELECT pg_backend_pid()").fetchone() or (0,)
        pids[number].add(pid)
    return len(pids[0]) == len(pids[1]) == 1 and pids[0] != pids[1]
