"""Every SELECT of the singletons: the current rows, unknown if they cannot be read. For leased reads: `snapshots`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
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
from golive.state.columns import GO_LIVE_COLUMNS, SYSTEM_COLUMNS, Columns, read_go_live_row, read_system_row

_GO_LIVE = (GO_LIVE_STATE, "g", GO_LIVE_COLUMNS)
_SYSTEM = (SYSTEM_METADATA, "s", SYSTEM_COLUMNS)

# A write statement that changes nothing.
_TAKE_ONLY_LOCK = "UPDATE golive_credential_failure SET failures = failures WHERE 0"

# The databases for which this thread is inside `consistent_read`.
_reading: ContextVar[frozenset[str]] = ContextVar("golive_reading", default=frozenset())

_OUR_TABLES = "SELECT oid FROM pg_class WHERE oid = ANY (%s::oid[]) AND relnamespace = ANY (%s::oid[])"
# For each database, the OIDs of the tables known to be in a schema that may be used.
_our_tables: dict[str, frozenset[int]] = {}

_Part = tuple[str, str, Columns]
T = TypeVar("T")


def read_go_live(*, using: str = DEFAULT_DB_ALIAS) -> GoLiveRow:
    """The current row of `go_live_state`. Raises StateUnknownError if it is missing or cannot be read."""
    (values,) = _select((_GO_LIVE,), using)
    return read_go_live_row(values)


def read_system(*, using: str = DEFAULT_DB_ALIAS) -> SystemRow:
    """The current row of `system_metadata`. Raises StateUnknownError if it is missing or cannot be read."""
    (values,) = _select((_SYSTEM,), using)
    return read_system_row(values)


def read_both(*, using: str = DEFAULT_DB_ALIAS) -> tuple[GoLiveRow, SystemRow]:
    """Both rows, read by one statement. Raises StateUnknownError if either is missing or cannot be read."""
    go_live, system = _select((_GO_LIVE, _SYSTEM), using)
    return read_go_live_row(go_live), read_system_row(system)


@dataclass(frozen=True)
class Reading:
    """Both rows from one read; a row that is missing or cannot be read is None, with its problem.

    The problems are public; `cause` is for the log.
    """

    go_live: GoLiveRow | None
    system: SystemRow | None
    problem: str | None = None
    system_problem: str | None = None
    cause: str | None = None


def read_rows(*, using: str = DEFAULT_DB_ALIAS) -> Reading:
    """Both rows, each known or unknown independently; one SELECT if both tables exist. Never raises a database error.

    Tries twice, since an idle connection may have been cut. Not for use inside a transaction.
    """
    with database_deadline(READ_SECONDS):
        for _ in range(2):
            with suppress(StateUnknownError):
                go_live, system = _select((_GO_LIVE, _SYSTEM), using)
                return _read_each(partial(read_go_live_row, go_live), partial(read_system_row, system))
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
    """All reads inside the block see one snapshot, and nothing can be written. A nested block joins the outer one.

    Raises database errors unchanged.
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
    # Not `atomic`, which is IMMEDIATE here: a reader must not wait for a writer.
    with connection.cursor() as cursor:
        cursor.execute("BEGIN DEFERRED")
        try:
            cursor.execute("PRAGMA query_only = ON")
            yield
        finally:
            cursor.execute("PRAGMA query_only = OFF")
            cursor.execute("ROLLBACK")


def lock_rows(*, with_system: bool, using: str) -> Rows:
    """Lock `system_metadata` (if asked for), then `go_live_state`, and read them; for `golive.controls` only.

    Every writer uses this order, which prevents deadlocks. SQLite has no row locks: the caller's transaction is
    IMMEDIATE and exclusive. A missing row is None. Raises StateUnknownError if there are two, and database errors
    unchanged.
    """
    lock = " FOR UPDATE" if connections[using].features.has_select_for_update else ""
    return _read_in_order(with_system=with_system, lock=lock, using=using)


def read_again(*, with_system: bool, using: str) -> Rows:
    """Read the rows that the caller's transaction has locked again, with its own writes; for `golive.controls` only."""
    return _read_in_order(with_system=with_system, lock="", using=using)


def _read_in_order(*, with_system: bool, lock: str, using: str) -> Rows:
    by_name: dict[str, list[Any] | None] = {"s": None, "g": None}
    for table, name, columns in (_SYSTEM, _GO_LIVE) if with_system else (_GO_LIVE,):
        selected = _column_list(name, columns, using)
        with connections[using].cursor() as cursor:
            cursor.execute(f"SELECT {selected} FROM {table} AS {name} WHERE {name}.id = 1{lock}")  # noqa: S608 - constants
            rows = cursor.fetchmany(2)
        if len(rows) > 1:
            raise StateUnknownError(_two_rows(table))
        by_name[name] = list(rows[0]) if rows else None
    return Rows(
        go_live=read_go_live_row(by_name["g"]) if by_name["g"] else None,
        system=read_system_row(by_name["s"]) if by_name["s"] else None,
    )


def take_only_lock(*, using: str) -> None:
    """SQLite: take the database's write lock for the caller's transaction, or raise a database error.

    Needed if the transaction is not IMMEDIATE, as in other projects; fails if it has already read an older state.
    """
    with connections[using].cursor() as cursor:
        cursor.execute(_TAKE_ONLY_LOCK)


def _column_list(name: str, columns: Iterable[str], using: str) -> str:
    # SQLite stores any value in any column, and its driver would turn a boolean other than 1 into False, which for the
    # kill switch means "not engaged". The unary plus returns each value as stored, to be validated below.
    sign = "+" if connections[using].vendor == "sqlite" else ""
    # Without USE_TZ times come back naive, in the project's zone; so convert them to UTC, as `golive.fields` does.
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
        # Anything: also settings with which no connection can be made, or a value that the driver cannot read.
        drop_dead_connection(using)
        raise StateUnknownError(explain_failure(error), cause=explain_cause(error, using=using)) from error
    if len(rows) > 1:
        raise StateUnknownError(_two_rows(" or ".join(table for table, _, _ in parts)))
    in_recovery, *values = rows[0]
    if in_recovery:
        # Reconnect next time: the host name may resolve to another server by now.
        if not connections[using].in_atomic_block:
            connections[using].close()
        raise StateUnknownError(failover.STANDBY if in_recovery is True else in_recovery)
    found: list[list[Any] | None] = []
    for _, _, columns in parts:
        identifier, _, *row = values[: len(columns) + 2]
        values = values[len(columns) + 2 :]
        found.append(None if identifier is None else row)
    return found


def _execute(parts: tuple[_Part, ...], using: str) -> list[tuple[Any, ...]]:
    """One result row (more if a table has several rows with id 1): recovery, then for each part id, OID and columns."""
    is_postgresql = connections[using].vendor == "postgresql"
    oid = "{name}.tableoid" if is_postgresql else "NULL"
    columns = ", ".join(
        f"{name}.id, {oid.format(name=name)}, {_column_list(name, names, using)}" for _, name, names in parts
    )
    joins = " ".join(f"LEFT JOIN {table} AS {name} ON {name}.id = 1" for table, name, _ in parts)
    # A standby may lag behind an acknowledged stop, and a promoted one may have lost it: neither may answer.
    recovery = failover.server_column(using, row="g" if _GO_LIVE in parts else None)
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {recovery}, {columns} FROM (SELECT 1 AS one) AS one {joins}")  # noqa: S608 - constants
        return list(cursor.fetchmany(2))


def _are_tables_ours(parts: tuple[_Part, ...], rows: list[tuple[Any, ...]], using: str) -> bool:
    """Whether the tables that were read are in schemas that may be used (`golive.postgresql.search_path`).

    Looked up once per table and process. If they are not, this has corrected the session's search path, and the caller
    should read again: a pooler may hand out a session that our connection setup has not touched.
    """
    if connections[using].vendor != "postgresql":
        return True
    oids: set[int | None] = set()
    at = 1
    for _, _, columns in parts:
        oids.add(rows[0][at + 1])
        at += len(columns) + 2
    known = _our_tables.get(using, frozenset())
    if oids <= known:
        return True
    # With the driver's own cursor: execute wrappers and the query log need not see this statement.
    with connections[using].connection.cursor() as cursor:
        used, dropped = drop_foreign_schemas(cursor, is_local=False)
        cursor.execute(_OUR_TABLES, [[oid for oid in oids if oid], [schema.oid for schema in used]])
        ours = frozenset(oid for (oid,) in cursor.fetchall())
    _our_tables[using] = known | ours
    # A missing row has no OID: if a schema was dropped from the path, the row may be in another one.
    return oids - {None} <= ours and not (None in oids and dropped)


def _two_rows(table: str) -> str:
    return f"There is more than one row with id 1 in {table}; its key is missing. Run `manage.py migrate`."
