"""Try an adoption step by step, to let the database itself say whether the plan works.

It has more reasons to refuse than could be listed here (views, policies, functions, publications, expressions). The
caller rolls everything back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from django.db import Error, transaction

from golive.migrations.adoption.dependents import Dependent, find_dependents
from golive.migrations.adoption.inspection import Constraint, ExistingColumn, ExistingTable, find_free_name
from golive.migrations.adoption.judgement import Fault
from golive.migrations.adoption.plan import Step, plan
from golive.migrations.adoption.shapes import Shape

# SQLSTATE classes of transient conditions, not of faults of the table: connection, resources, rollback, operator,
# system, internal. A lock that is not available and a missing SQLSTATE count as transient too.
_TRANSIENT = ("08", "40", "53", "57", "58", "XX")
_LOCK_NOT_AVAILABLE = "55P03"
_FEATURE_NOT_SUPPORTED, _NOT_NULL_VIOLATION = "0A000", "23502"


@dataclass(frozen=True)
class _Refusal:
    """PostgreSQL's error for a statement. The names are unquoted and may be empty."""

    sqlstate: str
    message: str
    table: str
    column: str
    constraint: str


def make_steps(cursor: Any, table: ExistingTable, shape: Shape) -> list[Step]:
    """The plan for a table; usable as far as `judge` finds no fault."""

    def is_redundant(check: Constraint, column: ExistingColumn) -> bool:
        return _allows_0_and_1(cursor, shape.table, check, column)

    return plan(table, shape, is_redundant)


def find_refusals(cursor: Any, table: ExistingTable, shape: Shape, known: list[Fault]) -> list[Fault]:
    """What the database refuses to do. Skips the steps that the known faults of `judge` already rule out."""
    faulty = {fault.column for fault in known}
    if None in faulty:
        return []
    planned = [step for step in make_steps(cursor, table, shape) if step.column not in faulty]
    faults: list[Fault] = []
    for step in planned:
        refusal = _try(cursor, step.statements)
        if refusal is not None:
            faults.append(_explain_step(cursor, table, shape, step, refusal))
    if not faults and not known:
        refusal = _try(cursor, _stops(table, shape))
        if refusal is not None:
            problem = f"refuses what a stop writes ({refusal.message})"
            faults.append(_propose(cursor, table, shape, Fault(shape.table, None, problem, ()), refusal))
    return faults


def _stops(table: ExistingTable, shape: Shape) -> tuple[str, ...]:
    """Insert the row if it is missing, then do every write of a change toward safe; fire deferred triggers at once."""
    return (
        f"INSERT INTO {table.sql} (id) SELECT 1 WHERE NOT EXISTS (SELECT FROM {table.sql})",
        *(f"UPDATE {table.sql} SET {assignments} WHERE id = 1" for assignments in shape.stops),
        "SET CONSTRAINTS ALL IMMEDIATE",
    )


def _try(cursor: Any, statements: tuple[str, ...]) -> _Refusal | None:
    """Run the statements atomically. Raises errors that are no fault of the table: a timeout, a lost connection."""
    try:
        with transaction.atomic(using=cursor.db.alias):
            for statement in statements:
                cursor.execute(statement)
    except Error as error:
        sqlstate = getattr(error.__cause__, "sqlstate", None) or ""
        if sqlstate in ("", _LOCK_NOT_AVAILABLE) or sqlstate.startswith(_TRANSIENT):
            raise
        diagnostics = getattr(error.__cause__, "diag", None)
        names = [getattr(diagnostics, f"{name}_name", None) or "" for name in ("table", "column", "constraint")]
        return _Refusal(sqlstate, str(error).strip().splitlines()[0], *names)
    return None


def _allows_0_and_1(cursor: Any, table: str, check: Constraint, column: ExistingColumn) -> bool:
    """Whether a check holds for 0 and 1, so that a boolean column does not need it."""
    values = f"(VALUES (0::{column.full_type}), (1::{column.full_type})) AS {table} ({column.sql})"
    try:
        with transaction.atomic(using=cursor.db.alias):
            cursor.execute(f"SELECT bool_and(({check.expression}) IS NOT FALSE) FROM {values}")
            return bool(cursor.fetchone()[0])
    except Error:
        return False


def _explain_step(cursor: Any, table: ExistingTable, shape: Shape, step: Step, refusal: _Refusal) -> Fault:
    candidates = find_dependents(cursor, table, step.column) if step.column in table.columns else []
    if refusal.sqlstate == _FEATURE_NOT_SUPPORTED:
        dependents = [dependent for dependent in candidates if not dependent.is_rebuilt]
    else:
        dependents = [dependent for dependent in candidates if dependent.is_rebuilt]
    reasons = "".join(f", {dependent.words}" for dependent in dependents)
    problem = f"cannot be altered ({refusal.message}){reasons and f' on account of {reasons[2:]}'}"
    fault = Fault(shape.table, step.column, problem, _drop_all(dependents))
    return fault if fault.remedy else _propose(cursor, table, shape, fault, refusal)


def _drop_all(dependents: list[Dependent]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(drop for dependent in dependents for drop in dependent.drops))


def _propose(cursor: Any, table: ExistingTable, shape: Shape, fault: Fault, refusal: _Refusal) -> Fault:
    """Add a remedy: drop what refused, or else rename the whole table."""
    alter = f"ALTER TABLE {table.sql}"
    if refusal.table == shape.table:
        for constraint in table.constraints:
            if constraint.name == refusal.constraint and constraint.kind != "p":
                return replace(fault, remedy=(f"{alter} DROP CONSTRAINT IF EXISTS {constraint.sql}",))
        column = table.columns.get(refusal.column)
        if refusal.sqlstate == _NOT_NULL_VIOLATION and column is not None:
            return replace(fault, remedy=(f"{alter} ALTER COLUMN {column.sql} DROP NOT NULL",))
    if table.triggers:
        return replace(fault, remedy=(f"{alter} DISABLE TRIGGER USER",))
    # This always works: the table is kept under another name, and a new one is created.
    aside = f"ALTER TABLE IF EXISTS {table.sql} RENAME TO {find_free_name(cursor, shape.table)}"
    return replace(fault, remedy=(aside,), is_last_resort=True)
