"""Query PostgreSQL about sessions: who holds the lock, who blocks, who keeps working without the lock.

Each migrate has three sessions, named accordingly: one holds the lock, one watches, one runs the migrations. Any role
can use any application name, so a name counts only if the session's role could migrate.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from golive.text import make_visible

# "golive" in ASCII, in two halves: advisory locks are numbers, local to each database. Earlier releases use no other
# lock.
LOCK_KEY = (0x676F, 0x6C697665)
_HOLDS, _WATCHES, _WORKS = "golive migrate ", "golive watching ", "golive migrating "
_QUERY_LENGTH = 200

# A role that cannot record a migration, neither itself nor as the owner, cannot be migrating.
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

# Runs one statement and returns its rows.
Ask = Callable[..., list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Holder:
    """A session that holds a lock. `worker` describes the session that runs its migrations, if there is one yet.

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
    # An application name is cut at 63 bytes.
    return f"{socket.gethostname()[:30]}:{os.getpid()}"


def find_holders(ask: Ask, table: str) -> list[Holder]:
    """The holders of the lock on a table (quoted, with schema); empty if it has just been released."""
    return [_complete(ask, row) for row in ask(_TABLE_HOLDER, (table, table))]


def find_advisory_holders(ask: Ask, table: str) -> list[Holder]:
    """The holders of this database's advisory lock; `can_migrate` depends on their rights on the table."""
    return [_complete(ask, row) for row in ask(_ADVISORY_HOLDER, (table, *LOCK_KEY))]


def _complete(ask: Ask, row: tuple[Any, ...]) -> Holder:
    pid, name, origin, can_migrate = row
    holder = Holder(pid, make_visible(name), origin, can_migrate, None)
    if not holder.is_migrate:
        return holder
    workers = ask(_WORKER, (_QUERY_LENGTH, name.replace(_HOLDS, _WORKS, 1), pid))
    return replace(holder, worker=make_visible(workers[0][0]) if workers else None)


def find_blockers(ask: Ask, pid: int) -> tuple[str, ...]:
    """Descriptions of the sessions that block session `pid` at this moment."""
    return tuple(make_visible(text) for (text,) in ask(_BLOCKERS, (_QUERY_LENGTH, pid)))


def find_workers(ask: Ask, table: str) -> dict[int, str]:
    """The sessions that run migrations, pid -> name. For a new holder of the lock, these have lost it."""
    return dict(ask(_WORKERS, (_WORKS, table)))


def is_direct(connection: psycopg.Connection[Any]) -> bool:
    """Whether the connection reaches the server itself: a pooler reports a process id of its own."""
    (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (None,)
    return bool(pid == connection.info.backend_pid)


def are_sessions_dedicated(first: psycopg.Connection[Any], second: psycopg.Connection[Any]) -> bool:
    """Whether each connection has a session of its own, which poolers grant only in session mode.

    In other modes, a server that one connection has just used may serve the other one next. With this order of
    queries, neither a LIFO nor a round-robin pool can look like dedicated sessions.
    """
    pids: dict[int, set[int]] = {0: set(), 1: set()}
    for number in (0, 1, 1, 0, 0, 1, 0, 1, 1, 0):
        (pid,) = (first, second)[number].execute("SELECT pg_backend_pid()").fetchone() or (0,)
        pids[number].add(pid)
    return len(pids[0]) == len(pids[1]) == 1 and pids[0] != pids[1]
