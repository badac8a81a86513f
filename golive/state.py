"""Every SELECT of the singletons: the rows as they are now, and what cannot be read is unknown. Leased: `snapshots`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from golive import failover
from golive.connections import drop_dead_connection, explain_failure
from golive.deadline import READ_SECONDS, database_deadline
from golive.domain.errors import StateUnknownError
from golive.domain.rows import GoLiveRow, Rows, SystemRow

_GO_LIVE_COLUMNS = (
    "go_live_enabled",
    "kill_switch_engaged",
    "changed_by",
    "reason",
    "updated_at",
    "revision",
    "lease_ms",
    "event_head",
)
_SYSTEM_COLUMNS = ("version", "backend_complete", "notes", "updated_at", "completed_at", "revision")
_GO_LIVE = ("go_live_state AS g ON g.id = 1", "g", _GO_LIVE_COLUMNS)
_SYSTEM = ("system_metadata AS s ON s.id = 1", "s", _SYSTEM_COLUMNS)

# A row's lock goes at once to whoever may share it, past those who wait to have it alone: a stream of permits could
# hold off a stop for ever. Locks of this kind are given in turn. The key is "permit" in ASCII, as two halves.
_TURN_KEY = (0x706572, 0x6D6974)
_TAKE_TURN = "SELECT pg_advisory_xact_lock(%s, %s)"
_TAKE_TURN_TOGETHER = """
SELECT current_setting('lock_timeout'), set_config('lock_timeout', %s, true), pg_advisory_xact_lock_shared(%s, %s)
"""
# Below READ_SECONDS, so that the wait for a lock ends without the loss of the caller's connection.
_SHARE_TIMEOUT = "2000ms"
# A statement that writes, although nothing: it takes SQLite's lock in a transaction that is not IMMEDIATE too, as in
# another project, or fails where the transaction has seen an older state.
_TAKE_ONLY_LOCK = "UPDATE golive_credential_failure SET failures = failures WHERE 0"

# The databases that this thread is reading at one moment.
_reading: ContextVar[frozenset[str]] = ContextVar("golive_reading", default=frozenset())

_Part = tuple[str, str, tuple[str, ...]]
T = TypeVar("T")


def read_go_live(*, using: str = DEFAULT_DB_ALIAS) -> GoLiveRow:
    """The row of `go_live_state` now. Raises StateUnknownError if it is missing or cannot be read."""
    (values,) = _select((_GO_LIVE,), using)
    return _go_live_row(values)


def read_system(*, using: str = DEFAULT_DB_ALIAS) -> SystemRow:
    """The row of `system_metadata` now. Raises StateUnknownError if it is missing or cannot be read."""
    (values,) = _select((_SYSTEM,), using)
    return _system_row(values)


def read_both(*, using: str = DEFAULT_DB_ALIAS) -> tuple[GoLiveRow, SystemRow]:
    """Both rows as one statement saw them. Raises StateUnknownError if either is missing or cannot be read."""
    go_live, system = _select((_GO_LIVE, _SYSTEM), using)
    return _go_live_row(go_live), _system_row(system)


@dataclass(frozen=True)
class Reading:
    """Both rows as one moment showed them; where one is missing or cannot be read it is None, and why."""

    go_live: GoLiveRow | None
    system: SystemRow | None
    problem: str | None = None
    system_problem: str | None = None


def read_rows(*, using: str = DEFAULT_DB_ALIAS) -> Reading:
    """Both rows, each known or not by itself; by one SELECT where both tables are there. Never raises for the database.

    Asks twice, since a connection may have been cut while nobody used it. Not for use inside a transaction.
    """
    with database_deadline(READ_SECONDS):
        for _ in range(2):
            with suppress(StateUnknownError):
                go_live, system = _select((_GO_LIVE, _SYSTEM), using)
                return _read_each(partial(_go_live_row, go_live), partial(_system_row, system))
        return _read_each(partial(read_go_live, using=using), partial(read_system, using=using))


def _read_each(read_go_live: Callable[[], GoLiveRow], read_system: Callable[[], SystemRow]) -> Reading:
    go_live, problem = _attempt(read_go_live)
    system, system_problem = _attempt(read_system)
    return Reading(go_live, system, problem, system_problem)


def _attempt(read: Callable[[], T]) -> tuple[T | None, str | None]:
    try:
        return read(), None
    except StateUnknownError as error:
        return None, error.detail


@contextmanager
def consistent_read(*, using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """All reads inside see one moment, and nothing can be written. Inside another block of this kind: part of that.

    Raises database errors as they are.
    """
    connection = connections[using]
    if connection.in_atomic_block or using in _reading.get():
        yield
        return
    token = _reading.set(_reading.get() | {using})
    try:
        if connection.vendor == "postgresql":
            with transaction.atomic(using=using):
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                yield
        else:
            with _deferred_transaction(connection):
                yield
    finally:
        _reading.reset(token)


@contextmanager
def _deferred_transaction(connection: BaseDatabaseWrapper) -> Iterator[None]:
    # Not `atomic`: that is IMMEDIATE here, and a reader must not wait for a writer.
    with connection.cursor() as cursor:
        cursor.execute("BEGIN DEFERRED")
        try:
            cursor.execute("PRAGMA query_only = ON")
            yield
        finally:
            cursor.execute("PRAGMA query_only = OFF")
            cursor.execute("ROLLBACK")


def lock_rows(*, with_system: bool, using: str) -> Rows:
    """Lock `system_metadata` (if asked for), then `go_live_state`, and read them; for `golive.controls` alone.

    The order is the same for every writer, so that none waits for another in a circle. SQLite has no row locks: the
    caller's transaction is IMMEDIATE and alone. A missing row is None. Raises database errors as they are.
    """
    lock = " FOR UPDATE" if connections[using].features.has_select_for_update else ""
    found: dict[str, list[Any] | None] = {"s": None, "g": None}
    for source, name, columns in (_SYSTEM, _GO_LIVE) if with_system else (_GO_LIVE,):
        table = source.split(" ON ")[0]
        with connections[using].cursor() as cursor:
            # With the row that permits share, and not before: a stop does not wait for who has only the other row.
            if lock and name == "g":
                cursor.execute(_TAKE_TURN, _TURN_KEY)
            cursor.execute(f"SELECT {_list(name, columns, using)} FROM {table} WHERE {name}.id = 1{lock}")  # noqa: S608 - constants
            row = cursor.fetchone()
        found[name] = list(row) if row else None
    return Rows(
        go_live=_go_live_row(found["g"]) if found["g"] else None,
        system=_system_row(found["s"]) if found["s"] else None,
    )


def share_go_live(*, using: str = DEFAULT_DB_ALIAS) -> GoLiveRow:
    """The row of `go_live_state` now, which nobody can change before the caller's transaction ends.

    Where the transaction sees one moment only (REPEATABLE READ) and the row is newer, the database refuses. SQLite has
    no row locks: the caller's transaction is alone from here on. Raises StateUnknownError, and database errors as they
    are; the caller's transaction is then as it was before.
    """
    failover.check(using)
    connection = connections[using]
    lock, kept = " FOR SHARE" if connection.features.has_select_for_update else "", ""
    with database_deadline(READ_SECONDS), transaction.atomic(using=using), connection.cursor() as cursor:
        if lock:
            cursor.execute(_TAKE_TURN_TOGETHER, [_SHARE_TIMEOUT, *_TURN_KEY])
            (kept, *_) = cursor.fetchone()
        else:
            cursor.execute(_TAKE_ONLY_LOCK)
        cursor.execute(f"SELECT {_list('g', _GO_LIVE_COLUMNS, using)} FROM go_live_state AS g WHERE g.id = 1{lock}")  # noqa: S608 - constants
        row = cursor.fetchone()
        if lock:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [kept])
    return _go_live_row(list(row) if row else None)


def _list(name: str, columns: Sequence[str], using: str) -> str:
    # SQLite stores any value in any column, and its driver would turn a boolean other than 1 into False, which for the
    # kill switch means "not engaged". The sign keeps each value as it is stored, to be judged below.
    sign = "+" if connections[using].vendor == "sqlite" else ""
    return ", ".join(f"{sign}{name}.{column}" for column in columns)


def _select(parts: tuple[_Part, ...], using: str) -> list[list[Any] | None]:
    columns = ", ".join(f"{name}.id, {_list(name, names, using)}" for _, name, names in parts)
    joins = " ".join(f"LEFT JOIN {source}" for source, _, _ in parts)
    # A standby may lag behind an acknowledged stop, so its answer is no answer; nor is that of one which has lost it.
    recovery = failover.server_column(using, row="g" if _GO_LIVE in parts else None)
    try:
        with database_deadline(READ_SECONDS), connections[using].cursor() as cursor:
            cursor.execute(f"SELECT {recovery}, {columns} FROM (SELECT 1 AS one) AS one {joins}")  # noqa: S608 - constants
            in_recovery, *values = cursor.fetchone()
    except Error as error:
        drop_dead_connection(using)
        raise StateUnknownError(explain_failure(error)) from error
    if in_recovery:
        # The name may lead to another server by now.
        if not connections[using].in_atomic_block:
            connections[using].close()
        raise StateUnknownError(failover.STANDBY if in_recovery is True else in_recovery)
    found: list[list[Any] | None] = []
    for _, _, names in parts:
        identifier, *row = values[: len(names) + 1]
        values = values[len(names) + 1 :]
        found.append(None if identifier is None else row)
    return found


def _go_live_row(values: list[Any] | None) -> GoLiveRow:
    if values is None:
        raise StateUnknownError("Row 1 of go_live_state is missing. Run `manage.py migrate`.")
    enabled, engaged, changed_by, reason, updated_at, revision, lease_ms, event_head = values
    return GoLiveRow(
        go_live_enabled=_boolean(enabled, "go_live_enabled"),
        kill_switch_engaged=_boolean(engaged, "kill_switch_engaged"),
        changed_by=_text(changed_by, "changed_by"),
        reason=_text(reason, "reason"),
        updated_at=_moment(updated_at, "updated_at"),
        revision=_number(revision, "revision"),
        lease_ms=_number(lease_ms, "lease_ms"),
        event_head=_text(event_head, "event_head"),
    )


def _system_row(values: list[Any] | None) -> SystemRow:
    if values is None:
        raise StateUnknownError("Row 1 of system_metadata is missing. Run `manage.py migrate`.")
    version, complete, notes, updated_at, completed_at, revision = values
    return SystemRow(
        version=_text(version, "version") or "",
        backend_complete=_boolean(complete, "backend_complete"),
        notes=_text(notes, "notes"),
        updated_at=_moment(updated_at, "updated_at"),
        completed_at=_moment(completed_at, "completed_at"),
        revision=_number(revision, "revision"),
    )


def _unreadable(column: str) -> StateUnknownError:
    return StateUnknownError(f"The column {column} holds a value that cannot be read.")


def _boolean(value: Any, column: str) -> bool:
    if value is True or (type(value) is int and value == 1):
        return True
    if value is False or (type(value) is int and value == 0):
        return False
    raise _unreadable(column)


def _number(value: Any, column: str) -> int:
    if type(value) is not int:
        raise _unreadable(column)
    return value


def _text(value: Any, column: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise _unreadable(column)
    return value


def _moment(value: Any, column: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise _unreadable(column) from None
    if moment is None:
        return None
    if not isinstance(moment, datetime):
        raise _unreadable(column)
    # SQLite stores times without a zone, in UTC.
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
