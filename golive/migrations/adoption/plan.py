"""The statements that bring a standing table to its shape, in steps that can each be tried alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from golive.migrations.adoption.inspection import Constraint, StandingColumn, StandingTable
from golive.migrations.adoption.shapes import BOOLEAN, ID, TEXT, TIMESTAMP, Column, Shape

# Whether a check on a column of numbers says no more than that it is 0 or 1.
SaysNothing = Callable[[Constraint, StandingColumn], bool]


@dataclass(frozen=True)
class Step:
    """What is done for one column, or for the table as a whole (None)."""

    column: str | None
    statements: tuple[str, ...]


def plan(table: StandingTable, shape: Shape, says_nothing: SaysNothing) -> list[Step]:
    """The steps for a table; those of a column that is missing or cannot be converted are of no use."""
    alter = f"ALTER TABLE {table.sql}"
    steps = [Step(None, (f"{alter} SET LOGGED",))] if table.is_unlogged else []
    if "id" in table.columns:
        steps.append(Step("id", tuple(_plan_id(alter, table))))
    for column in shape.columns:
        standing = table.columns.get(column.name)
        if standing is None:
            default = f" DEFAULT {column.default} NOT NULL" if column.default else ""
            steps.append(Step(column.name, (f"{alter} ADD COLUMN {column.name} {column.type}{default}",)))
        else:
            checks = _find_checks_of_numbers(table, column, standing, says_nothing)
            steps.append(Step(column.name, tuple(_plan_column(table.sql, column, standing, checks))))
    for check in shape.checks:
        # One of our name is ours to define; PostgreSQL cannot be asked whether two definitions mean the same.
        drop = f"DROP CONSTRAINT {check.name}, " if any(c.name == check.name for c in table.checks) else ""
        statement = f"{alter} {drop}ADD CONSTRAINT {check.name} CHECK ({check.condition})"
        steps.append(Step(check.column, (statement,)))
    return steps


def is_shaped(standing: StandingColumn, column: Column) -> bool:
    """Whether type, length, precision and collation are right already."""
    return standing.type == column.type and not standing.is_qualified


def _plan_id(alter: str, table: StandingTable) -> list[str]:
    standing = table.columns["id"]
    statements = _drop_default(alter, standing)
    if not is_shaped(standing, ID):
        statements.append(f"{alter} ALTER COLUMN id TYPE integer")
    if not standing.is_surely_not_null:
        statements.append(f"{alter} ALTER COLUMN id SET NOT NULL")
    key = table.primary_key
    if key is None:
        statements.append(f"{alter} ADD PRIMARY KEY (id)")
    elif key.is_deferrable:
        # ON CONFLICT cannot use it.
        statements.append(f"{alter} DROP CONSTRAINT {key.sql}, ADD PRIMARY KEY (id)")
    return statements


def _plan_column(table: str, column: Column, standing: StandingColumn, checks: list[Constraint]) -> list[str]:
    alter = f"ALTER TABLE {table}"
    altering = f"{alter} ALTER COLUMN {column.name}"
    statements = _drop_default(alter, standing)
    statements += [f"{alter} DROP CONSTRAINT {check.sql}" for check in checks]
    if not is_shaped(standing, column):
        statements.append(f"{altering} TYPE {column.type}{_conversion(column, standing)}")
    if column.default is None:
        return [*statements, *([f"{altering} DROP NOT NULL"] if standing.is_not_null else [])]
    statements.append(f"{altering} SET DEFAULT {column.default}")
    if not standing.is_surely_not_null:
        statements += [
            f"UPDATE {table} SET {column.name} = {column.default} WHERE {column.name} IS NULL",
            # A deferred trigger of this update would stand against altering the table.
            "SET CONSTRAINTS ALL IMMEDIATE",
            f"{altering} SET NOT NULL",
        ]
    return statements


def _drop_default(alter: str, standing: StandingColumn) -> list[str]:
    if standing.identity:
        return [f"{alter} ALTER COLUMN {standing.sql} DROP IDENTITY"]
    return [f"{alter} ALTER COLUMN {standing.sql} DROP DEFAULT"] if standing.has_default else []


def _conversion(column: Column, standing: StandingColumn) -> str:
    if column.type == BOOLEAN and standing.type != BOOLEAN:
        return f" USING {column.name} = 1"
    if column.type == TIMESTAMP and standing.type != TIMESTAMP:
        return f" USING {column.name} AT TIME ZONE 'UTC'"
    if column.type == TEXT and standing.type == "character":
        return f" USING {column.name}::text"
    return ""


def _find_checks_of_numbers(
    table: StandingTable, column: Column, standing: StandingColumn, says_nothing: SaysNothing
) -> list[Constraint]:
    """Checks such as `x IN (0, 1)`, which say of a number what the type boolean says, and cannot outlive it."""
    if column.type != BOOLEAN or standing.type == BOOLEAN:
        return []
    return [check for check in table.checks if check.columns == (column.name,) and says_nothing(check, standing)]
