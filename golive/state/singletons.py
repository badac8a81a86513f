"""Every SELECT of the singletons: the rows as they are now, and what cannot be read is unknown. Leased: `snapshots`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from golive.database.deadline import READ_SECONDS, database_deadline
from golive.database.failures import drop_dead_connection, explain_cause, explain_failure
from golive.domain.errors import StateUnknownError
from golive.domain.rows import GO_LIVE_STATE, SYSTEM_METADATA, GoLiveRow, Rows, SystemRow
from golive.postgresql.search_path import drop_foreign_schemas
from golive.state import failover

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
_GO_LIVE = (GO_LIVE_STATE, "g", _GO_LIVE_COLUMNS)
_SYSTEM = (SYSTEM_METADATA, "s", _SYSTEM_COLUMNS)

# A statement that writes, although nothing.
_TAKE_ONLY_LOCK = "UPDATE golive_credential_failure SET failures = failures WHERE 0"

# The databases that this thread is reading at one moment.
_reading: ContextVar[frozenset[str]] = ContextVar("golive_reading", default=frozenset())

_OUR_TABLES = "SELECT oid FROM pg_class WHERE oid = ANY (%s::oid[]) AND relnamespace = ANY (%s::oid[])"
# Of each database: the numbers of the tables that are known to be in a schema that may be used.
_our_tables: dict[str, frozenset[int]] = {}

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
    """Both rows as one moment showed them; where one is missing or cannot be read it is None, and why.

    The problems are for everybody; `cause` is what the log may say.
    """

    go_live: GoLiveRow | None
    system: SystemRow | None
    problem: str | None = None
    system_problem: str | None = None
    cause: str | None = None


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
    go_live, error = _attempt(read_go_live)
    system, system_error = _attempt(read_system)
    return Reading(
        go_live,
        system,
        None if error is None else error.detail,
        None if system_error is None else system_error.detail,
        None if error is None else error.cause,
    )


def _attempt(read: Callable[[], T]) -> tuple[T | None, StateUnknownError | None]:
    try:
        return read(), None
    except StateUnknownError as error:
        return None, error


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
    caller's transaction is IMMEDIATE and alone. A missing row is None. Raises StateUnknownError where there are two,
    and database errors as they are.
    """
    lock = " FOR UPDATE" if connections[using].features.has_select_for_update else ""
    return _read_in_order(with_system=with_system, lock=lock, using=using)


def read_again(*, with_system: bool, using: str) -> Rows:
    """The rows that the caller's transaction has locked, as it has left them by now; for `golive.controls` alone."""
    return _read_in_order(with_system=with_system, lock="", using=using)


def _read_in_order(*, with_system: bool, lock: str, using: str) -> Rows:
    found: dict[str, list[Any] | None] = {"s": None, "g": None}
    for table, name, columns in (_SYSTEM, _GO_LIVE) if with_system else (_GO_LIVE,):
        with connections[using].cursor() as cursor:
            cursor.execute(f"SELECT {_list(name, columns, using)} FROM {table} AS {name} WHERE {name}.id = 1{lock}")  # noqa: S608 - constants
            rows = cursor.fetchmany(2)
        if len(rows) > 1:
            raise StateUnknownError(_two_rows(table))
        found[name] = list(rows[0]) if rows else None
    return Rows(
        go_live=_go_live_row(found["g"]) if found["g"] else None,
        system=_system_row(found["s"]) if found["s"] else None,
    )


def take_only_lock(*, using: str) -> None:
    """SQLite: take the one lock of the database for the caller's transaction, or raise a database error.

    Also where the transaction is not IMMEDIATE, as in another project; fails where it has seen an older state.
    """
    with connections[using].cursor() as cursor:
        cursor.execute(_TAKE_ONLY_LOCK)


def _list(name: str, columns: Sequence[str], using: str) -> str:
    # SQLite stores any value in any column, and its driver would turn a boolean other than 1 into False, which for the
    # kill switch means "not engaged". The sign keeps each value as it is stored, to be judged below.
    sign = "+" if connections[using].vendor == "sqlite" else ""
    # Without USE_TZ a time comes without its zone, in the project's: asked for in UTC, as by `golive.fields`.
    utc = " AT TIME ZONE 'UTC'" if connections[using].vendor == "postgresql" and not settings.USE_TZ else ""
    return ", ".join(f"{sign}{name}.{column}{utc if column.endswith('_at') else ''}" for column in columns)


def _select(parts: tuple[_Part, ...], using: str) -> list[list[Any] | None]:
    try:
        with database_deadline(READ_SECONDS):
            rows = _execute(parts, using)
            if not _are_tables_ours(parts, rows, using):
                rows = _execute(parts, using)
                if not _are_tables_ours(parts, rows, using):
                    raise StateUnknownError("The tables are in a schema that may not be used.")
    except StateUnknownError:
        raise
    except Exception as error:
        # Whatever it is, be it a setting that makes no connection or a value that the driver cannot read.
        drop_dead_connection(using)
        raise StateUnknownError(explain_failure(error), cause=explain_cause(error, using=using)) from error
    if len(rows) > 1:
        raise StateUnknownError(_two_rows(" or ".join(table for table, _, _ in parts)))
    in_recovery, *values = rows[0]
    if in_recovery:
        # The name may lead to another server by now.
        if not connections[using].in_atomic_block:
            connections[using].close()
        raise StateUnknownError(failover.STANDBY if in_recovery is True else in_recovery)
    found: list[list[Any] | None] = []
    for _, _, names in parts:
        identifier, _, *row = values[: len(names) + 2]
        values = values[len(names) + 2 :]
        found.append(None if identifier is None else row)
    return found


def _execute(parts: tuple[_Part, ...], using: str) -> list[tuple[Any, ...]]:
    """One row, or more where a table has several with id 1, of: recovery, then id, the table's own number, columns."""
    is_postgresql = connections[using].vendor == "postgresql"
    number = "{name}.tableoid" if is_postgresql else "NULL"
    columns = ", ".join(
        f"{name}.id, {number.format(name=name)}, {_list(name, names, using)}" for _, name, names in parts
    )
    joins = " ".join(f"LEFT JOIN {table} AS {name} ON {name}.id = 1" for table, name, _ in parts)
    # A standby may lag behind an acknowledged stop, so its answer is no answer; nor is that of one which has lost it.
    recovery = failover.server_column(using, row="g" if _GO_LIVE in parts else None)
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {recovery}, {columns} FROM (SELECT 1 AS one) AS one {joins}")  # noqa: S608 - constants
        return list(cursor.fetchmany(2))


def _are_tables_ours(parts: tuple[_Part, ...], rows: list[tuple[Any, ...]], using: str) -> bool:
    """Whether what was read is in a schema that may be used (`golive.postgresql.search_path`).

    Asked of the server once for each table in the life of a process. If it is not, the session's search path has been
    put right, and it is worth reading again: a pooler may hand us a session that knows nothing of our connection.
    """
    if connections[using].vendor != "postgresql":
        return True
    numbers: set[int | None] = set()
    at = 1
    for _, _, names in parts:
        numbers.add(rows[0][at + 1])
        at += len(names) + 2
    known = _our_tables.get(using, frozenset())
    if numbers <= known:
        return True
    # Not by Django's cursor: it is no statement of ours that anybody has to see.
    with connections[using].connection.cursor() as cursor:
        used, dropped = drop_foreign_schemas(cursor, is_local=False)
        cursor.execute(_OUR_TABLES, [[number for number in numbers if number], [schema.oid for schema in used]])
        ours = frozenset(number for (number,) in cursor.fetchall())
    _our_tables[using] = known | ours
    # A missing row has no number: where a schema was dropped, it may stand in another one.
    return numbers - {None} <= ours and not (None in numbers and dropped)


def _two_rows(table: str) -> str:
    return f"There is more than one row with id 1 in {table}; its key is missing. Run `manage.py migrate`."


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
