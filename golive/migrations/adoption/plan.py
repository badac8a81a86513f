"""Plan the statements that bring an existing table to its shape, in steps that can be tried separately."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from golive.migrations.adoption.inspection import Constraint, ExistingColumn, ExistingTable
from golive.migrations.adoption.shapes import BOOLEAN, ID, TEXT, TIMESTAMP, Column, Shape

# Whether a check on a numeric column only restricts it to 0 and 1.
IsRedundant = Callable[[Constraint, ExistingColumn], bool]


@dataclass(frozen=True)
class Step:
    """The statements for one column, or for the table as a whole (None)."""

    column: str | None
    statements: tuple[str, ...]


def plan(table: ExistingTable, shape: Shape, is_redundant: IsRedundant) -> list[Step]:
    """The steps for a table; those for a column with a fault (missing, inconvertible) are unusable."""
    alter = f"ALTER TABLE {table.sql}"
    steps = [Step(None, (f"{alter} SET LOGGED",))] if table.is_unlogged else []
    if "id" in table.columns:
        steps.append(Step("id", tuple(_plan_id(alter, table))))
    for column in shape.columns:
        existing = table.columns.get(column.name)
        if existing is None:
            default = f" DEFAULT {column.default} NOT NULL" if column.default else ""
            steps.append(Step(column.name, (f"{alter} ADD COLUMN {column.name} {column.type}{default}",)))
        else:
            checks = _find_redundant_checks(table, column, existing, is_redundant)
            steps.append(Step(column.name, tuple(_plan_column(table.sql, column, existing, checks))))
    for check in shape.checks:
        # Replace a check of our name: PostgreSQL cannot tell whether two definitions are equivalent.
        drop = f"DROP CONSTRAINT {check.name}, " if any(c.name == check.name for c in table.checks) else ""
        statement = f"{alter} {drop}ADD CONSTRAINT {check.name} CHECK ({check.condition})"
        steps.append(Step(check.column, (statement,)))
    return steps


def is_shaped(existing: ExistingColumn, column: Column) -> bool:
    """Whether type, length, precision and collation already match."""
    return existing.type == column.type and not existing.is_qualified


def _plan_id(alter: str, table: ExistingTable) -> list[str]:
    existing = table.columns["id"]
    statements = _drop_default(alter, existing)
    if not is_shaped(existing, ID):
        statements.append(f"{alter} ALTER COLUMN id TYPE integer")
    if not existing.is_surely_not_null:
        statements.append(f"{alter} ALTER COLUMN id SET NOT NULL")
    key = table.primary_key
    if key is None:
        statements.append(f"{alter} ADD PRIMARY KEY (id)")
    elif key.is_deferrable:
        # ON CONFLICT cannot use it.
        statements.append(f"{alter} DROP CONSTRAINT {key.sql}, ADD PRIMARY KEY (id)")
    return statements


def _plan_column(table: str, column: Column, existing: ExistingColumn, checks: list[Constraint]) -> list[str]:
    alter = f"ALTER TABLE {table}"
    altering = f"{alter} ALTER COLUMN {column.name}"
    statements = _drop_default(alter, existing)
    statements += [f"{alter} DROP CONSTRAINT {check.sql}" for check in checks]
    if not is_shaped(existing, column):
        statements.append(f"{altering} TYPE {column.type}{_conversion(column, existing)}")
    if column.default is None:
        return [*statements, *([f"{altering} DROP NOT NULL"] if existing.is_not_null else [])]
    statements.append(f"{altering} SET DEFAULT {column.default}")
    if not existing.is_surely_not_null:
        statements += [
            f"UPDATE {table} SET {column.name} = {column.default} WHERE {column.name} IS NULL",
            # A pending deferred trigger of this update would block ALTER TABLE.
            "SET CONSTRAINTS ALL IMMEDIATE",
            f"{altering} SET NOT NULL",
        ]
    return statements


def _drop_default(alter: str, existing: ExistingColumn) -> list[str]:
    if existing.identity:
        return [f"{alter} ALTER COLUMN {existing.sql} DROP IDENTITY"]
    return [f"{alter} ALTER COLUMN {existing.sql} DROP DEFAULT"] if existing.has_default else []


def _conversion(column: Column, existing: ExistingColumn) -> str:
    if column.type == BOOLEAN and existing.type != BOOLEAN:
        return f" USING {column.name} = 1"
    if column.type == TIMESTAMP and existing.type != TIMESTAMP:
        return f" USING {column.name} AT TIME ZONE 'UTC'"
    if column.type == TEXT and existing.type == "character":
        return f" USING {column.name}::text"
    return ""


def _find_redundant_checks(
    table: ExistingTable, column: Column, existing: ExistingColumn, is_redundant: IsRedundant
) -> list[Constraint]:
    """Checks such as `x IN (0, 1)` that the type boolean makes redundant, and that would not work with it."""
    if column.type != BOOLEAN or existing.type == BOOLEAN:
        return []
    return [check for check in table.checks if check.columns == (column.name,) and is_redundant(check, existing)]
