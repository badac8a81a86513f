"""Adoption: a table that another tool made is kept with its data and brought to our shape, or refused as it stands.

All of it is one transaction, and everything that can be known beforehand is judged before the first statement alters
anything, so that a refusal leaves the database exactly as it was and names all that is to be put right at once.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from django.db import Error, migrations

from golive.migrations._inspection import StandingColumn, StandingTable, inspect_table
from golive.migrations._shapes import BOOLEAN, CONVERTIBLE, INTEGER, SHAPES, TEXT, TIMESTAMP, Column, Shape

# Set on what this project made, so that migrating to zero drops that and nothing else.
MADE_BY_US = "Made by the golive migrations."


class CreateOrAdopt(migrations.CreateModel):
    """CreateModel for a table that may stand already. Backward it drops only a table that this project made."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        table = model._meta.db_table
        connection = schema_editor.connection
        if schema_editor.collect_sql or not _stands(connection, table):
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            if connection.vendor == "postgresql":
                schema_editor.execute(f"COMMENT ON TABLE {table} IS '{MADE_BY_US}'")
        elif connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                adopt(cursor, SHAPES[table])
        else:
            _check_same_shape(connection, model)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        table = from_state.apps.get_model(app_label, self.name)._meta.db_table
        if schema_editor.connection.vendor == "postgresql" and not schema_editor.collect_sql:
            with schema_editor.connection.cursor() as cursor:
                cursor.execute("SELECT obj_description(to_regclass(%s), 'pg_class')", [table])
                (comment,) = cursor.fetchone()
            if comment != MADE_BY_US:
                return
        super().database_backwards(app_label, schema_editor, from_state, to_state)


def _stands(connection: Any, table: str) -> bool:
    if connection.vendor != "postgresql":
        return table in connection.introspection.table_names()
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [table])
        return bool(cursor.fetchone()[0])


def _check_same_shape(connection: Any, model: Any) -> None:
    """On SQLite a standing table must have our columns already; there is no safe way to alter it in place."""
    table = model._meta.db_table
    with connection.cursor() as cursor:
        standing = {column.name for column in connection.introspection.get_table_description(cursor, table)}
    wanted = {field.column for field in model._meta.fields}
    if missing := sorted(wanted - standing):
        raise CommandError(
            f"{table}: a table of this name stands already, without {', '.join(missing)}. On SQLite it cannot be "
            f"adopted. Remedy: rename it (ALTER TABLE {table} RENAME TO {table}_old), migrate, and copy what you need."
        )


def adopt(cursor: Any, shape: Shape) -> None:
    """Bring a standing table to its shape. Raises CommandError naming table, column and remedy, and changes nothing."""
    table = inspect_table(cursor, shape.table)
    if table is not None and table.kind == "r" and table.is_ours_to_alter:
        # Nobody changes it between what is judged now and what is altered then.
        cursor.execute(f"LOCK TABLE {shape.table} IN ACCESS EXCLUSIVE MODE")
        table = inspect_table(cursor, shape.table)
    assert table is not None  # noqa: S101 - the caller has seen it
    faults = find_faults(cursor, table, shape)
    if faults:
        raise CommandError(_tell(shape, faults))
    for statement in plan(table, shape):
        try:
            cursor.execute(statement)
        except Error as error:
            reason = str(error).strip().splitlines()[0]
            raise CommandError(
                _tell(shape, [f"cannot be altered: {reason}. The statement was: {statement}"])
            ) from error


def find_all_faults(cursor: Any) -> str:
    """What stands against adopting whichever of the tables stand, in words; empty if nothing does.

    For a deploy to ask before the migrations of other apps have altered anything.
    """
    told = []
    for shape in SHAPES.values():
        table = inspect_table(cursor, shape.table)
        faults = find_faults(cursor, table, shape) if table is not None else []
        told += [_tell(shape, faults)] if faults else []
    return "\n".join(told)


def _tell(shape: Shape, faults: list[str]) -> str:
    told = "\n".join(f"  {shape.table}{'' if fault.startswith('.') else ': '}{fault}" for fault in faults)
    return f"The table {shape.table} cannot be adopted; nothing was changed.\n{told}"


def find_faults(cursor: Any, table: StandingTable, shape: Shape) -> list[str]:
    """All that stands against adoption, each with its remedy; a fault of a column begins with a dot and its name."""
    if table.kind != "r":
        return [f"is not a plain table. Remedy: rename it, so that the table {shape.table} can be made."]
    if not table.is_ours_to_alter:
        return [f"belongs to {table.owner}. Remedy: ALTER TABLE {shape.table} OWNER TO CURRENT_USER, as its owner."]
    faults = [*_find_id_faults(cursor, table, shape)]
    for column in shape.columns:
        standing = table.columns.get(column.name)
        if standing is not None:
            faults += _find_column_faults(cursor, table, shape, column, standing)
        elif not column.is_ours:
            faults.append(
                f".{column.name} is missing. Remedy: ALTER TABLE {shape.table} ADD COLUMN {column.name} {column.type}."
            )
    for trigger in table.triggers:
        faults.append(
            f"has the trigger {trigger}, which may store something else than what is written. "
            f"Remedy: DROP TRIGGER {trigger} ON {shape.table}."
        )
    return faults


def _find_id_faults(cursor: Any, table: StandingTable, shape: Shape) -> list[str]:
    standing = table.columns.get("id")
    if standing is None:
        return [f".id is missing. Remedy: ALTER TABLE {shape.table} ADD COLUMN id integer PRIMARY KEY DEFAULT 1."]
    if standing.type not in CONVERTIBLE[INTEGER]:
        return [
            f".id is {standing.type}, not an integer. Remedy: ALTER TABLE {shape.table} ALTER COLUMN id TYPE integer."
        ]
    faults = []
    cursor.execute(
        f"SELECT count(*) FILTER (WHERE id = 1), count(*) FILTER (WHERE id IS DISTINCT FROM 1) FROM {shape.table}"
    )
    ones, others = cursor.fetchone()
    if others:
        faults.append(
            f".id has {others} rows other than 1. Remedy: DELETE FROM {shape.table} WHERE id IS DISTINCT FROM 1."
        )
    if ones > 1:
        faults.append(f".id is 1 in {ones} rows. Remedy: delete all but one of them.")
    key = table.primary_key
    if key is not None and key.columns != ("id",):
        remedy = f"Remedy: ALTER TABLE {shape.table} DROP CONSTRAINT {key.name}."
        faults.append(f"has a primary key on {', '.join(key.columns)}. {remedy}")
    if not ones:
        ours = {"id", *(column.name for column in shape.columns)}
        for column in table.columns.values():
            is_needed = column.is_not_null and column.default is None and not column.is_identity
            if column.name not in ours and is_needed and not column.is_generated:
                faults.append(
                    f".{column.name} is NOT NULL without a default, so row 1 cannot be made. "
                    f"Remedy: ALTER TABLE {shape.table} ALTER COLUMN {column.name} DROP NOT NULL."
                )
    if not _is_shaped(standing, Column("id", INTEGER)) and table.readers.get("id"):
        faults.append(_tell_readers("id", table))
    return faults


def _find_column_faults(
    cursor: Any, table: StandingTable, shape: Shape, column: Column, standing: StandingColumn
) -> list[str]:
    name = column.name
    if standing.is_generated:
        return [
            f".{name} is a generated column. Remedy: ALTER TABLE {shape.table} ALTER COLUMN {name} DROP EXPRESSION."
        ]
    if standing.type not in CONVERTIBLE[column.type]:
        remedy = f"Remedy: ALTER TABLE {shape.table} ALTER COLUMN {name} TYPE {column.type} USING ..."
        return [f".{name} is {standing.type}, which cannot be made {column.type} without a loss. {remedy}"]
    faults = []
    unfit = _find_unfit_values(cursor, shape, column, standing)
    if unfit:
        faults.append(f".{name} holds {unfit}. Remedy: UPDATE {shape.table} SET {name} = ... WHERE id = 1.")
    if not _is_shaped(standing, column) and table.readers.get(name):
        faults.append(_tell_readers(name, table))
    return faults


def _tell_readers(name: str, table: StandingTable) -> str:
    readers = ", ".join(table.readers[name])
    return f".{name} is used by {readers}, so its type cannot be altered. Remedy: drop it, migrate, and make it again."


def _find_unfit_values(cursor: Any, shape: Shape, column: Column, standing: StandingColumn) -> str | None:
    if column.type == BOOLEAN and standing.type != BOOLEAN:
        condition, wanted = f"{column.name} NOT IN (0, 1)", "0 or 1"
    elif column.name == "lease_ms":
        condition, wanted = f"{column.name} NOT BETWEEN 0 AND 5000", "between 0 and 5000"
    else:
        return None
    cursor.execute(f"SELECT min({column.name}) FROM {shape.table} WHERE {condition}")
    (value,) = cursor.fetchone()
    return None if value is None else f"{value}, which is not {wanted}"


def _is_shaped(standing: StandingColumn, column: Column) -> bool:
    """Whether type, length and precision are right already."""
    return standing.type == column.type and standing.modifier == -1


def plan(table: StandingTable, shape: Shape) -> list[str]:
    """The statements that bring the table to its shape; none for one that has it."""
    alter = f"ALTER TABLE {shape.table}"
    statements = []
    if not _is_shaped(table.columns["id"], Column("id", INTEGER)):
        statements += [*_drop_default(alter, table.columns["id"]), f"{alter} ALTER COLUMN id TYPE integer"]
    else:
        statements += _drop_default(alter, table.columns["id"])
    if table.primary_key is None:
        statements.append(f"{alter} ADD PRIMARY KEY (id)")
    for column in shape.columns:
        statements += _plan_column(alter, table, shape, column)
    standing_checks = {constraint.name: constraint for constraint in table.constraints if constraint.kind == "c"}
    for name, condition in shape.checks:
        if name in standing_checks:
            statements.append(f"{alter} DROP CONSTRAINT {name}")
        statements.append(f"{alter} ADD CONSTRAINT {name} CHECK ({condition})")
    return statements


def _drop_default(alter: str, standing: StandingColumn) -> list[str]:
    if standing.is_identity:
        return [f"{alter} ALTER COLUMN {standing.name} DROP IDENTITY"]
    return [f"{alter} ALTER COLUMN {standing.name} DROP DEFAULT"] if standing.default is not None else []


def _plan_column(alter: str, table: StandingTable, shape: Shape, column: Column) -> list[str]:
    standing = table.columns.get(column.name)
    if standing is None:
        default = f" DEFAULT {column.default} NOT NULL" if column.default else ""
        return [f"{alter} ADD COLUMN {column.name} {column.type}{default}"]
    altering = f"{alter} ALTER COLUMN {column.name}"
    statements = [*_drop_default(alter, standing)]
    if not _is_shaped(standing, column):
        statements += _drop_checks_of_conversion(alter, table, column, standing)
        statements.append(f"{altering} TYPE {column.type}{_conversion(column, standing)}")
    if column.default is None:
        return [*statements, *([f"{altering} DROP NOT NULL"] if standing.is_not_null else [])]
    statements.append(f"{altering} SET DEFAULT {column.default}")
    if not standing.is_not_null:
        null_becomes = f"UPDATE {shape.table} SET {column.name} = {column.default} WHERE {column.name} IS NULL"
        statements += [null_becomes, f"{altering} SET NOT NULL"]
    return statements


def _conversion(column: Column, standing: StandingColumn) -> str:
    if column.type == BOOLEAN and standing.type != BOOLEAN:
        return f" USING {column.name} = 1"
    if column.type == TIMESTAMP and standing.type != TIMESTAMP:
        return f" USING {column.name} AT TIME ZONE 'UTC'"
    if column.type == TEXT and standing.type == "character":
        return f" USING {column.name}::text"
    return ""


def _drop_checks_of_conversion(alter: str, table: StandingTable, column: Column, standing: StandingColumn) -> list[str]:
    """A check such as `x IN (0, 1)` says of a number what the type boolean says of itself, and cannot outlive it."""
    if column.type != BOOLEAN or standing.type == BOOLEAN:
        return []
    checks = [c for c in table.constraints if c.kind == "c" and c.columns == (column.name,)]
    return [f'{alter} DROP CONSTRAINT "{check.name}"' for check in checks]
