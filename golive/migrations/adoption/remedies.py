"""The remedies of a refusal: ready-to-run SQL. If rows must be deleted, the newest one is kept."""

from __future__ import annotations

from collections.abc import Iterable

from golive.migrations.adoption.dependents import Dependent
from golive.migrations.adoption.inspection import ExistingColumn, ExistingTable
from golive.migrations.adoption.shapes import BOOLEAN, INTEGERS, TEXT, TIMESTAMP, Column

_NUMBERS = (*INTEGERS, "numeric", "real", "double precision")


def add_column(table: ExistingTable, column: Column) -> tuple[str, ...]:
    """Add a missing column, or rename one that differs only in case."""
    for existing in table.columns.values():
        if existing.name.lower() == column.name and not existing.generated:
            return (f"ALTER TABLE {table.sql} RENAME COLUMN {existing.sql} TO {column.name}",)
    if column.name == "id":
        return (*_delete_older_rows(table, ""), f"ALTER TABLE {table.sql} ADD COLUMN id integer DEFAULT 1")
    return (f"ALTER TABLE {table.sql} ADD COLUMN {column.name} {column.type}",)


def make_plain(table: ExistingTable, existing: ExistingColumn) -> tuple[str, ...]:
    """Turn a generated column into a plain one with its current values."""
    if existing.generated == "s":
        return (f"ALTER TABLE {table.sql} ALTER COLUMN {existing.sql} DROP EXPRESSION",)
    # A virtual one cannot be converted in place.
    return (
        *rename_column(table, existing),
        f"ALTER TABLE {table.sql} ADD COLUMN {existing.sql} {existing.full_type}",
        f"UPDATE {table.sql} SET {existing.sql} = {_find_free_column(table, existing)}",
    )


def rename_column(table: ExistingTable, existing: ExistingColumn) -> tuple[str, ...]:
    return (f"ALTER TABLE {table.sql} RENAME COLUMN {existing.sql} TO {_find_free_column(table, existing)}",)


def keep_one_row(table: ExistingTable, *, rows: int, has_row_1: bool) -> tuple[str, ...]:
    """Keep only row 1; if there is none, the newest row becomes row 1."""
    statements = _delete_older_rows(table, "id IS NOT DISTINCT FROM 1 DESC, ") if rows > 1 else ()
    if has_row_1:
        return statements
    # GENERATED ALWAYS cannot be updated.
    drop = (f"ALTER TABLE {table.sql} ALTER COLUMN id DROP IDENTITY",) if table.columns["id"].identity == "a" else ()
    return (*statements, *drop, f"UPDATE {table.sql} SET id = 1")


def convert(
    table: ExistingTable, column: Column, existing: ExistingColumn, dependents: Iterable[Dependent]
) -> tuple[str, ...]:
    """Convert a column whose meaning is ambiguous: the obvious conversion, for a person to review first."""
    drops = [drop for dependent in dependents for drop in dependent.drops]
    actions = [f"ALTER COLUMN {column.name} DROP IDENTITY"] if existing.identity else []
    actions += [f"ALTER COLUMN {column.name} DROP DEFAULT"] if existing.has_default else []
    actions.append(f"ALTER COLUMN {column.name} TYPE {column.type} USING {_read(column, existing)}")
    # Text without a time zone is UTC too.
    zone = ("SET timezone = 'UTC'",) if column.type == TIMESTAMP else ()
    return (*zone, *dict.fromkeys(drops), f"ALTER TABLE {table.sql} {', '.join(actions)}")


def _read(column: Column, existing: ExistingColumn) -> str:
    match column.type:
        case "text":
            return f"{column.name}::{TEXT}"
        case "boolean" if existing.type in _NUMBERS:
            return f"{column.name} <> 0"
        case "timestamp with time zone" if existing.type in _NUMBERS:
            return f"to_timestamp({column.name})"
        case "timestamp with time zone" if existing.type == "date":
            return f"{column.name}::timestamp AT TIME ZONE 'UTC'"
        case "integer" | "bigint" if existing.type in (*_NUMBERS, BOOLEAN):
            return f"{column.name}::{'integer' if existing.type == BOOLEAN else column.type}"
    return f"{column.name}::text::{column.type}"


def _delete_older_rows(table: ExistingTable, first: str) -> tuple[str, ...]:
    newest = "updated_at DESC NULLS LAST, ctid DESC" if "updated_at" in table.columns else "ctid DESC"
    row_to_keep = f"SELECT ctid FROM {table.sql} ORDER BY {first}{newest} LIMIT 1"
    return (f"DELETE FROM {table.sql} WHERE ctid <> ({row_to_keep})",)


def _find_free_column(table: ExistingTable, existing: ExistingColumn) -> str:
    name = f"{existing.name.lower()}_old"
    while name in table.columns:
        name += "_old"
    return name
