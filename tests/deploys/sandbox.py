"""A PostgreSQL database for tests of adoption, with a Django connection of its own.

Migrations run in this process, which is fast enough for hundreds of examples; each has schemas of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
import pytest
from django.core.management.base import CommandError
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState
from psycopg.rows import dict_row

from golive.database import schema
from golive.migrations.adoption.operation import find_all_faults
from tests.deploys.snapshots import Snapshot, find_differences, take_snapshot

TABLES = ("system_metadata", "go_live_state")
# Of migrations after those that are applied here.
_LATER = ("go_live_state.timeline: the column is missing", "golive_event.salt: the column is missing")
_numbers = itertools.count(1)

_COLUMNS = """
SELECT column_name, data_type, character_maximum_length, datetime_precision, numeric_precision, is_nullable,
       column_default, is_identity, is_generated, collation_name
FROM information_schema.columns WHERE table_schema = %(schema)s AND table_name = %(table)s
"""
_CHECKS = """
SELECT constraint_name, check_clause FROM information_schema.check_constraints JOIN information_schema.table_constraints
USING (constraint_schema, constraint_name) WHERE table_schema = %(schema)s AND table_name = %(table)s
"""
_KEY = """
SELECT column_name, is_deferrable FROM information_schema.table_constraints JOIN information_schema.key_column_usage
USING (constraint_schema, constraint_name) WHERE constraint_type = 'PRIMARY KEY'
AND information_schema.table_constraints.table_schema = %(schema)s
AND information_schema.table_constraints.table_name = %(table)s
"""


@dataclass
class Sandbox:
    """`url` is the database as its superuser; what Django does, it does as `user_url` with the current search path."""

    url: str
    user_url: str
    alias: str
    search_path: str = "public"

    def __post_init__(self) -> None:
        self._superuser = psycopg.connect(self.url, autocommit=True, row_factory=dict_row)

    def disconnect(self) -> None:
        connections[self.alias].close()

    def close(self) -> None:
        self.disconnect()
        self._superuser.close()

    # -- SQL, as the superuser --------------------------------------------------------------------------------------

    def execute(self, *statements: str) -> None:
        """Each outside a transaction, as in psql."""
        self._superuser.execute(f"SET search_path TO {self.search_path}".encode())
        for statement in statements:
            self._superuser.execute(statement.encode())

    def query(self, statement: str, parameters: Any = None) -> list[dict[str, Any]]:
        self._superuser.execute(f"SET search_path TO {self.search_path}".encode())
        return self._superuser.execute(statement.encode(), parameters).fetchall()

    # -- Django -----------------------------------------------------------------------------------------------------

    @contextmanager
    def schemas(self, *names: str) -> Iterator[Sequence[str]]:
        """Empty schemas for one example, in the search path in this order, dropped in the end."""
        number = next(_numbers)
        quoted = [f'"{name or "example"} {number}"' for name in (names or ("",))]
        self.search_path = ", ".join(quoted)
        self.execute(*(f"CREATE SCHEMA {name}" for name in quoted))
        try:
            yield quoted
        finally:
            connections[self.alias].rollback()
            self.execute(f"DROP SCHEMA {', '.join(quoted)} CASCADE")
            self.search_path = "public"

    def use(self, user_url: str) -> None:
        """Connect as somebody else from now on."""
        self.disconnect()
        connections.settings[self.alias] |= _parameters(user_url)
        connections[self.alias].settings_dict |= _parameters(user_url)
        self.user_url = user_url

    def connect(self) -> Any:
        connection = connections[self.alias]
        with connection.cursor() as cursor:
            cursor.execute(f"SET search_path TO {self.search_path}")
        return connection

    def migrate(self, *targets: tuple[str, str | None]) -> None:
        """Both tables and their rows, or what is named, by Django's own executor."""
        MigrationExecutor(self.connect()).migrate(list(targets) or [("golive", "0002_seed_singletons")])

    def migrate_first(self) -> None:
        apply_first(self.connect())

    def find_faults(self) -> str:
        """What `manage.py migrate` asks before it begins."""
        with self.connect().cursor() as cursor:
            return find_all_faults(cursor)

    # -- what is asserted -------------------------------------------------------------------------------------------

    def take_snapshot(self) -> Snapshot:
        return take_snapshot(self._superuser)

    def assert_unchanged_since(self, before: Snapshot) -> None:
        differences = find_differences(before, self.take_snapshot())
        assert differences == [], "\n".join(differences[:20])

    def refuse(self) -> str:
        """The message of a refusal that changed nothing, the same before a deploy and in the migration itself."""
        before = self.take_snapshot()
        told = self.find_faults()
        assert told, "it was not refused"
        self.assert_unchanged_since(before)
        with pytest.raises(CommandError) as refusal:
            self.migrate_first()
        assert str(refusal.value) == told
        self.assert_unchanged_since(before)
        return told

    def describe(self, table: str) -> dict[str, Any]:
        """What information_schema says of our columns and constraints of one table."""
        model = next(model for model in schema.MODELS if model._meta.db_table == table)
        columns = {one.column for one in model._meta.concrete_fields}
        checks = {constraint.name for constraint in model._meta.constraints}
        where = {"schema": self._find_schema(table), "table": table}
        return {
            "columns": {c["column_name"]: c for c in self.query(_COLUMNS, where) if c["column_name"] in columns},
            "checks": {c["constraint_name"]: c for c in self.query(_CHECKS, where) if c["constraint_name"] in checks},
            "key": self.query(_KEY, where),
        }

    def find_schema_faults(self) -> list[str]:
        self.connect()
        faults = schema.find_faults(schema.describe(using=self.alias), using=self.alias)
        return [fault for fault in faults if fault not in _LATER]

    def fingerprint(self) -> str:
        self.connect()
        return schema.fingerprint(schema.describe(using=self.alias))

    def _find_schema(self, table: str) -> str:
        statement = (
            "SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = %s::regclass"
        )
        name = self.query(statement, [table])[0]["nspname"]
        assert isinstance(name, str)
        return name


def _parameters(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    return {
        "ENGINE": "golive.postgresql",
        "NAME": unquote(parts.path[1:]),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname,
        "PORT": parts.port,
        "OPTIONS": {},
    }


@contextmanager
def open_connection(parameters: dict[str, Any]) -> Iterator[str]:
    """A further database of Django's; its alias."""
    alias = f"adoption_{next(_numbers)}"
    connections.settings[alias] = {**connections.settings["default"], **parameters}
    try:
        yield alias
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]


@contextmanager
def open_sandbox(url: str) -> Iterator[Sandbox]:
    """Use an empty database, which its maker drops."""
    with open_connection(_parameters(url)) as alias:
        sandbox = Sandbox(url, url, alias)
        try:
            yield sandbox
        finally:
            sandbox.close()


def apply_first(connection: Any) -> None:
    """The first migration alone and unrecorded, so that a refused one has made nothing at all."""
    migration = import_module("golive.migrations.0001_initial").Migration("0001_initial", "golive")
    with connection.schema_editor(atomic=True) as editor:
        migration.apply(ProjectState(), editor)
