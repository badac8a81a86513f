"""Find what prevents the adoption of a table by its catalogue and its rows; the rest is tried (see `attempt`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from golive.migrations.adoption import remedies
from golive.migrations.adoption.dependents import find_dependents
from golive.migrations.adoption.inspection import ExistingColumn, ExistingTable, find_free_name, find_type
from golive.migrations.adoption.shapes import BOOLEAN, CONVERTIBLE, ID, LEASE_MS, TIMESTAMP, Column, Shape

_KINDS = {
    "v": ("a view", "VIEW"),
    "m": ("a materialized view", "MATERIALIZED VIEW"),
    "f": ("a foreign table", "FOREIGN TABLE"),
    "p": ("a partitioned table", "TABLE"),
    "S": ("a sequence", "SEQUENCE"),
    "c": ("a type", "TYPE"),
    "i": ("an index", "INDEX"),
    "I": ("an index", "INDEX"),
}
# The range of Python's datetime, less a day for time zones.
_FIRST_MOMENT, _LAST_MOMENT = "0001-01-02", "9999-12-30"


@dataclass(frozen=True)
class Fault:
    """Something that prevents the adoption of a table. The remedy is ready-to-run SQL for a role that may run it."""

    table: str
    column: str | None
    problem: str
    remedy: tuple[str, ...]
    is_last_resort: bool = False

    def __str__(self) -> str:
        subject = f"{self.table}.{self.column}" if self.column else f"{self.table}:"
        return f"{subject} {self.problem}. Remedy: {'; '.join(self.remedy)};"


def judge_absent(cursor: Any, shape: Shape) -> list[Fault]:
    """What prevents creating a table that does not exist."""
    existing_type = find_type(cursor, shape.table)
    if existing_type is None:
        return []
    remedy = (f"ALTER {existing_type} RENAME TO {shape.table}_type",)
    return [Fault(shape.table, None, "a type with this name prevents creating the table", remedy)]


def judge_relation(cursor: Any, table: ExistingTable, shape: Shape) -> list[Fault]:
    """What must be right before the table can be locked and its rows read."""
    if table.kind != "r":
        words, keyword = _KINDS.get(table.kind, ("no table", "TABLE"))
        remedy = f"ALTER {keyword} {table.sql} RENAME TO {find_free_name(cursor, shape.table)}"
        return [Fault(shape.table, None, f"{words} has this name, and only a plain table can be adopted", (remedy,))]
    if not table.is_ours_to_alter:
        problem = f"belongs to {table.owner}, so that {table.user} may not alter it; a superuser can hand it over"
        return [Fault(shape.table, None, problem, (f"ALTER TABLE {table.sql} OWNER TO {table.user}",))]
    faults = []
    if table.missing_rights:
        rights = ", ".join(table.missing_rights)
        grant = f"GRANT {rights} ON {table.sql} TO {table.user}"
        faults.append(Fault(shape.table, None, f"{table.user} lacks {rights} on it", (grant,)))
    if table.is_row_secured:
        release = f"ALTER TABLE {table.sql} NO FORCE ROW LEVEL SECURITY"
        faults.append(Fault(shape.table, None, f"row security hides rows from {table.user}", (release,)))
    return faults


def judge(cursor: Any, table: ExistingTable, shape: Shape) -> list[Fault]:
    """All faults of a readable table: those of the table itself before those of its columns."""
    faults = [*_judge_family(table, shape), *_judge_writes(table, shape), *_judge_names(table, shape)]
    faults += _judge_id(cursor, table, shape)
    for column in shape.columns:
        existing = table.columns.get(column.name)
        if existing is not None:
            faults += _judge_column(cursor, table, shape, column, existing)
        elif not column.is_ours:
            faults.append(Fault(shape.table, column.name, "is missing", remedies.add_column(table, column)))
    return faults


def _judge_family(table: ExistingTable, shape: Shape) -> list[Fault]:
    faults = []
    if table.is_typed:
        faults.append(Fault(shape.table, None, "is a table of a type", (f"ALTER TABLE {table.sql} NOT OF",)))
    for parent in table.parents:
        if table.is_partition:
            problem, remedy = f"is a partition of {parent}", f"ALTER TABLE {parent} DETACH PARTITION {table.sql}"
        else:
            problem, remedy = f"inherits from {parent}", f"ALTER TABLE {table.sql} NO INHERIT {parent}"
        faults.append(Fault(shape.table, None, problem, (remedy,)))
    for child in table.children:
        remedy = f"ALTER TABLE {child} NO INHERIT {table.sql}"
        faults.append(Fault(shape.table, None, f"has the rows of {child}, which inherits from it", (remedy,)))
    return faults


def _judge_writes(table: ExistingTable, shape: Shape) -> list[Fault]:
    faults = []
    for name in table.altering_triggers:
        problem = f"has the trigger {name}, which may store something else than what is written"
        faults.append(Fault(shape.table, None, problem, (f"DROP TRIGGER {name} ON {table.sql}",)))
    for name in table.altering_rules:
        problem = f"has the rule {name}, which does something else instead of what is written"
        faults.append(Fault(shape.table, None, problem, (f"DROP RULE {name} ON {table.sql}",)))
    return faults


def _judge_names(table: ExistingTable, shape: Shape) -> list[Fault]:
    ours = {check.name for check in shape.checks}
    faults = []
    for constraint in table.constraints:
        if constraint.name in ours and constraint.kind != "c":
            problem = f"has a constraint {constraint.name} that is not a check; a check with this name must be made"
            rename = f"ALTER TABLE {table.sql} RENAME CONSTRAINT {constraint.sql} TO {constraint.name}_old"
            faults.append(Fault(shape.table, None, problem, (rename,)))
    return faults


def _judge_id(cursor: Any, table: ExistingTable, shape: Shape) -> list[Fault]:
    faults = []
    key = table.primary_key
    if key is not None and key.columns != ("id",):
        remedy = (*key.references, f"ALTER TABLE {table.sql} DROP CONSTRAINT {key.sql}")
        faults.append(Fault(shape.table, None, f"has its primary key on {', '.join(key.columns)}", remedy))
    elif key is None and not table.can_make_indexes:
        grant = f"GRANT CREATE ON SCHEMA {table.schema} TO {table.user}"
        problem = f"has no primary key, and {table.user} may not make one in the schema {table.schema}"
        faults.append(Fault(shape.table, None, problem, (grant,)))
    existing = table.columns.get("id")
    if existing is None:
        return [*faults, Fault(shape.table, "id", "is missing", remedies.add_column(table, ID))]
    if existing.generated:
        return [*faults, Fault(shape.table, "id", "is a generated column", remedies.make_plain(table, existing))]
    if existing.type not in CONVERTIBLE[ID.type]:
        return [*faults, _make_inconvertible_fault(cursor, table, shape, ID, existing)]
    cursor.execute(f"SELECT count(*) FILTER (WHERE id = 1), count(*) FROM {table.sql}")
    ones, rows = cursor.fetchone()
    keep = remedies.keep_one_row(table, rows=rows, has_row_1=ones > 0)
    if rows > ones:
        others = _list_other_ids(cursor, table)
        faults.append(Fault(shape.table, "id", f"is not 1 in {rows - ones} of {rows} rows ({others})", keep))
    elif ones > 1:
        faults.append(Fault(shape.table, "id", f"is 1 in {ones} rows, but must be 1 in exactly one", keep))
    if not ones:
        faults += _judge_row_creation(table, shape)
    return faults


def _list_other_ids(cursor: Any, table: ExistingTable) -> str:
    cursor.execute(
        f"SELECT coalesce(id::text, 'NULL') FROM {table.sql} WHERE id IS DISTINCT FROM 1 ORDER BY id LIMIT 6"
    )
    ids = [text for (text,) in cursor.fetchall()]
    return ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")


def _judge_row_creation(table: ExistingTable, shape: Shape) -> list[Fault]:
    ours = {"id", *(column.name for column in shape.columns)}
    return [
        Fault(
            shape.table,
            column.name,
            "is NOT NULL without a default, so that row 1 cannot be made",
            (f"ALTER TABLE {table.sql} ALTER COLUMN {column.sql} DROP NOT NULL",),
        )
        for column in table.columns.values()
        if column.name not in ours
        and column.is_not_null
        and not (column.has_default or column.identity or column.generated)
        and not (table.primary_key and column.name in table.primary_key.columns)
    ]


def _judge_column(
    cursor: Any, table: ExistingTable, shape: Shape, column: Column, existing: ExistingColumn
) -> list[Fault]:
    if existing.generated:
        return [Fault(shape.table, column.name, "is a generated column", remedies.make_plain(table, existing))]
    if existing.type not in CONVERTIBLE[column.type]:
        return [_make_inconvertible_fault(cursor, table, shape, column, existing)]
    name, requirement = column.name, ""
    if column.type == BOOLEAN and existing.type != BOOLEAN:
        unfit, requirement = f"{name} NOT IN (0, 1)", "neither 0 nor 1"
        fit = "1" if column.default == "true" else "0"
    elif name == "lease_ms":
        unfit, requirement = (
            "lease_ms NOT BETWEEN {} AND {}".format(*LEASE_MS),
            "not between {} and {}".format(*LEASE_MS),
        )
        fit = column.default or ""
    elif column.type == TIMESTAMP:
        unfit, requirement = (
            f"{name} NOT BETWEEN '{_FIRST_MOMENT}' AND '{_LAST_MOMENT}'",
            "not a time between years 1 and 9999",
        )
        fit = "now()" if existing.type == TIMESTAMP else "now() AT TIME ZONE 'UTC'"
    else:
        return []
    cursor.execute(f"SELECT min({name})::text FROM {table.sql} WHERE {unfit}")
    (value,) = cursor.fetchone()
    if value is None:
        return []
    repair = (f"UPDATE {table.sql} SET {name} = {fit} WHERE {unfit}",)
    return [Fault(shape.table, name, f"holds {value}, which is {requirement}", repair)]


def _make_inconvertible_fault(
    cursor: Any, table: ExistingTable, shape: Shape, column: Column, existing: ExistingColumn
) -> Fault:
    problem = f"is {existing.type}, which cannot be made {column.type} without knowing what it means"
    if column.is_ours:
        return Fault(shape.table, column.name, problem, remedies.rename_column(table, existing))
    dependents = find_dependents(cursor, table, column.name)
    return Fault(shape.table, column.name, problem, remedies.convert(table, column, existing, dependents))
