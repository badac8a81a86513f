"""The table that a migrate writes down what it applies in, `django_migrations`: where it is, and holding it.

Its lock is what excludes another migrate. It needs a right on the table, so that whoever may merely connect cannot hold
a deploy off, as they could with an advisory lock; and it stands in nobody's way but another migrate's (or a VACUUM's of
this one table by hand).
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

# A transaction, since a table's lock ends with one; READ COMMITTED, so that it holds no snapshot between statements,
# which would keep another's CREATE INDEX CONCURRENTLY waiting.
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
    """The table cannot be made, or this role may not lock it; the message says what to do."""


@dataclass(frozen=True)
class RecordTable:
    """`is_new`: made by this process, and to be dropped again where nothing comes to stand in it."""

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
    """The table, where the session that migrates will see it; made as Django makes it if it is not there.

    Raises UnusableTableError, and database errors as they are. Leaves the connection closed if it was.
    """
    connection = connections[using]
    was_open = connection.connection is not None
    try:
        with database_deadline(limit_seconds):
            found = _find(connection)
            if found is not None:
                return found
            refusal: Exception | None = None
            try:
                MigrationRecorder(connection).ensure_schema()
            except MigrationSchemaMissing as error:
                # Perhaps because another one has made it in this moment.
                refusal = error
            found = _find(connection)
            if found is None:
                raise UnusableTableError(f"The table django_migrations cannot be made: {refusal}") from refusal
            return RecordTable(found.schema, found.name, is_new=refusal is None)
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
    """Held by a connection of its own that asks nothing else, in one transaction, until `give_back` or its end.

    `role` is whom that session acts as, where it is not whom it signs in as.
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

    def take_advisory(self) -> bool:
        """Whether the lock that earlier releases know was had as well; after `begin`."""
        (is_had,) = self._connection.execute(_TRY_LOCK, LOCK_KEY).fetchone() or (False,)
        return bool(is_had)

    def take(self, table: RecordTable) -> bool:
        """Whether it was had; after `begin`. Raises psycopg.errors.UndefinedTable if it is gone, UnusableTableError."""
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

    def give_back(self) -> None:
        """Let go of it; a table that was made here and has stayed empty is dropped again."""
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
