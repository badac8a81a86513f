"""The table `django_migrations`, in which Django records applied migrations: locate it, and lock it.

Its lock excludes other migrates. Locking requires a privilege on the table, so a role that can merely connect cannot
hold off a deploy, as it could with an advisory lock. The lock conflicts only with another migrate (or a manual VACUUM
of this table).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from django.db import Error, connections
from django.db.migrations.exceptions import MigrationSchemaMissing
from django.db.migrations.recorder import MigrationRecorder
from psycopg import sql

from golive.database.deadline import database_deadline
from golive.deploys.sessions import LOCK_KEY

# A transaction, since a table lock ends with it; READ COMMITTED, so that it holds no snapshot between statements, which
# would block another session's CREATE INDEX CONCURRENTLY.
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
_LOCK = "LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE NOWAIT"
_TRY_LOCK = "SELECT pg_try_advisory_xact_lock(%s, %s)"
_NO_LIMITS = """
SELECT set_config(name, '0', false) FROM pg_settings
WHERE name IN ('idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout')
"""
_FIND = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = 'django_migrations' AND c.relkind IN ('r', 'p') AND pg_table_is_visible(c.oid)
"""


class UnusableTableError(Exception):
    """The table cannot be created, or this role may not lock it; the message says what to do."""


@dataclass(frozen=True)
class RecordTable:
    """`is_new`: created by this process, and to be dropped again if it stays empty."""

    schema: str
    name: str
    is_new: bool = False

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def quoted(self) -> str:
        return self.identifier.as_string(None)


def prepare_table(using: str, *, limit_seconds: float) -> RecordTable:
    """The table as the migrating session will see it; created like Django does if it is missing.

    Raises UnusableTableError and database errors. Leaves the connection closed if it was closed before.
    """
    connection = connections[using]
    was_open = connection.connection is not None
    try:
        with database_deadline(limit_seconds):
            table = _find(connection)
            if table is not None:
                return table
            refusal: Exception | None = None
            try:
                MigrationRecorder(connection).ensure_schema()
            except MigrationSchemaMissing as error:
                # Another session may have created it at the same moment.
                refusal = error
            table = _find(connection)
            if table is None:
                raise UnusableTableError(f"The table django_migrations cannot be made: {refusal}") from refusal
            return RecordTable(table.schema, table.name, is_new=refusal is None)
    finally:
        if not was_open:
            with suppress(Error):
                connection.close()


def _find(connection: Any) -> RecordTable | None:
    with connection.cursor() as cursor:
        cursor.execute(_FIND)
        row = cursor.fetchone()
    return RecordTable(*row) if row else None


class TableLock:
    """Held in one transaction by a connection that does nothing else, until `release` or the end of the session.

    `role`: the role to SET, if it is not the login role.
    """

    def __init__(self, connection: psycopg.Connection[Any], *, role: str | None) -> None:
        self._connection = connection
        self._table: RecordTable | None = None
        connection.execute(_NO_LIMITS)
        if role is not None:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))

    def begin(self) -> None:
        self._connection.execute(_BEGIN)

    def roll_back(self) -> None:
        self._connection.execute("ROLLBACK")

    def try_advisory(self) -> bool:
        """Try to acquire the lock that earlier releases use. Call after `begin`."""
        (is_acquired,) = self._connection.execute(_TRY_LOCK, LOCK_KEY).fetchone() or (False,)
        return bool(is_acquired)

    def try_lock(self, table: RecordTable) -> bool:
        """Try to lock the table. Call after `begin`. Raises psycopg.errors.UndefinedTable, UnusableTableError."""
        try:
            self._connection.execute(sql.SQL(_LOCK).format(table.identifier))
        except psycopg.errors.LockNotAvailable:
            return False
        except psycopg.errors.InsufficientPrivilege as error:
            raise UnusableTableError(
                f"The role {self._connection.info.user} may not lock {table.quoted}. Migrate as the owner of the "
                "tables (DATABASE_URL, or DATABASE_DIRECT_URL for migrate alone)."
            ) from error
        self._table = table
        return True

    def check(self) -> None:
        """Raise psycopg.Error if the session is gone. An empty statement takes no snapshot (see `_BEGIN`)."""
        self._connection.execute("")

    def release(self) -> None:
        """Release the lock; drop the table if it was created here and is still empty."""
        table, self._table = self._table, None
        if table is None:
            return
        if table.is_new:
            with suppress(psycopg.Error):
                self._drop_if_empty(table)
        self.roll_back()

    def _drop_if_empty(self, table: RecordTable) -> None:
        self._connection.execute("SET LOCAL lock_timeout = '1s'")
        self._connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(table.identifier))
        if self._connection.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(table.identifier)).rowcount == 0:
            self._connection.execute(sql.SQL("DROP TABLE {migrations}").format(migrations=table.identifier))
            self._connection.execute("COMMIT")
