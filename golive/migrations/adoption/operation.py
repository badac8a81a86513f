"""Adoption: keep a table created by another tool, with its data, and bring it to our shape, or refuse it unchanged.

Everything happens in one transaction. Before the first lasting statement, all tables are checked, and all steps are
tried and rolled back: a refusal leaves the database exactly as it was and lists all faults at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from django.core.management.base import CommandError
from django.db import migrations, transaction

from golive.migrations.adoption.attempt import find_refusals, make_steps
from golive.migrations.adoption.inspection import ExistingTable, inspect_table
from golive.migrations.adoption.judgement import Fault, judge, judge_absent, judge_relation
from golive.migrations.adoption.shapes import SHAPES, Shape
from golive.migrations.adoption.sqlite import find_object, judge_sqlite

# Comment on the tables that this project created: migrating to zero drops only those.
MADE_BY_US = "Made by the golive migrations."


class CreateOrAdopt(migrations.CreateModel):
    """CreateModel for a table that may already exist. In reverse it drops only a table that this project created."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        shape = SHAPES[model._meta.db_table]
        if not schema_editor.collect_sql:
            done = {state.options.get("db_table") for state in from_state.models.values()}
            pending = [shape for shape in SHAPES.values() if shape.table not in done]
            with schema_editor.connection.cursor() as cursor:
                if _use_existing(cursor, shape, pending):
                    return
        super().database_forwards(app_label, schema_editor, from_state, to_state)
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f"COMMENT ON TABLE {shape.table} IS '{MADE_BY_US}'")

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        table = from_state.apps.get_model(app_label, self.name)._meta.db_table
        if not schema_editor.collect_sql:
            with schema_editor.connection.cursor() as cursor:
                if not _is_made_by_us(cursor, table):
                    return
        super().database_backwards(app_label, schema_editor, from_state, to_state)


def find_all_faults(cursor: Any, shapes: Collection[Shape] = tuple(SHAPES.values())) -> str:
    """Describe everything that prevents the adoption of the existing tables; empty if nothing does.

    A deploy calls it before migrations of other apps alter anything; all attempts are rolled back. Raises database
    errors that are not faults of the tables (such as a lock timeout).
    """
    faults: list[Fault] = []
    with transaction.atomic(using=cursor.db.alias):
        if cursor.db.vendor == "postgresql":
            existing = lock_existing(cursor, shapes)
            for shape in shapes:
                faults += find_faults(cursor, existing.get(shape.table), shape)
            transaction.set_rollback(True, using=cursor.db.alias)
        else:
            for shape in shapes:
                faults += judge_sqlite(cursor, shape)
    return _describe_faults(faults)


def lock_existing(cursor: Any, shapes: Iterable[Shape]) -> dict[str, ExistingTable]:
    """Describe the existing tables, and lock those we may alter, so that nobody changes them after the check.

    Each name is resolved again once it is locked, since another table could have taken it in the meantime.
    """
    tables = {}
    for shape in shapes:
        table = inspect_table(cursor, shape.table)
        if table is not None and not judge_relation(cursor, table, shape):
            cursor.execute(f"LOCK TABLE {table.sql} IN ACCESS EXCLUSIVE MODE")
            table = inspect_table(cursor, shape.table)
        if table is not None:
            tables[shape.table] = table
    return tables


def find_faults(cursor: Any, table: ExistingTable | None, shape: Shape) -> list[Fault]:
    """Everything that prevents adopting a table, or creating it if it is None. The caller rolls back."""
    if table is None:
        return judge_absent(cursor, shape)
    faults = judge_relation(cursor, table, shape)
    if faults:
        return faults
    faults = judge(cursor, table, shape)
    refusals = find_refusals(cursor, table, shape, faults)
    # In the order in which the remedies can be run: drop obstacles before rows and columns are altered.
    return [
        *(fault for fault in faults if fault.column is None),
        *(fault for fault in refusals if not fault.is_last_resort),
        *(fault for fault in faults if fault.column is not None),
        *(fault for fault in refusals if fault.is_last_resort),
    ]


def adopt(cursor: Any, table: ExistingTable, shape: Shape) -> None:
    """Bring an existing table without faults to its shape; does nothing if it already has it."""
    for step in make_steps(cursor, table, shape):
        for statement in step.statements:
            cursor.execute(statement)


def _use_existing(cursor: Any, shape: Shape, pending: Collection[Shape]) -> bool:
    """Adopt the table if it exists, and return whether it does.

    Raises CommandError for the faults of all pending tables at once, before anything is changed.
    """
    # Outside the rolled-back block: the locks must last until the tables are altered.
    existing = lock_existing(cursor, pending) if cursor.db.vendor == "postgresql" else {}
    refusal = find_all_faults(cursor, pending)
    if refusal:
        raise CommandError(refusal)
    if cursor.db.vendor != "postgresql":
        return find_object(cursor, shape.table) is not None
    if shape.table in existing:
        adopt(cursor, existing[shape.table], shape)
    return shape.table in existing


def _is_made_by_us(cursor: Any, table: str) -> bool:
    if cursor.db.vendor == "postgresql":
        cursor.execute("SELECT obj_description(to_regclass(%s), 'pg_class')", [table])
        return bool(cursor.fetchone()[0] == MADE_BY_US)
    # SQLite has no comments, but the first event tells whether the row existed before. Without a row there is nothing
    # to lose.
    cursor.execute("SELECT action FROM golive_event WHERE subject = %s ORDER BY sequence LIMIT 1", [table])
    first = cursor.fetchone()
    if first is not None:
        return bool(first[0] == "seed")
    cursor.execute(f"SELECT count(*) FROM {table}")
    return bool(cursor.fetchone()[0] == 0)


def _describe_faults(faults: Iterable[Fault]) -> str:
    lines = [f"  {fault}" for fault in faults]
    return "\n".join(["Tables stand that cannot be used as they are; nothing was changed.", *lines]) if lines else ""
