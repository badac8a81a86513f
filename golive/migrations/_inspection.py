"""What stands in the database before the first migration: one table of PostgreSQL, as its catalogue describes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_TABLE = """
SELECT c.oid, c.relkind, pg_has_role(c.relowner, 'USAGE'), pg_get_userbyid(c.relowner), n.nspname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)
"""
_COLUMNS = """
SELECT a.attname, a.attnum, format_type(a.atttypid, NULL), a.atttypmod, a.attnotnull,
       pg_get_expr(d.adbin, d.adrelid), a.attidentity <> '', a.attgenerated <> ''
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_CONSTRAINTS = """
SELECT conname, contype, conkey, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s ORDER BY conname
"""
# A view's rule depends on the columns that it reads; the table's own rules are among them.
_RULES = """
SELECT DISTINCT a.attname, v.relname, r.rulename, v.oid = %s
FROM pg_depend p JOIN pg_rewrite r ON r.oid = p.objid JOIN pg_class v ON v.oid = r.ev_class
JOIN pg_attribute a ON a.attrelid = p.refobjid AND a.attnum = p.refobjsubid
WHERE p.classid = 'pg_rewrite'::regclass AND p.refclassid = 'pg_class'::regclass AND p.refobjid = %s
"""
# Before, for each row, on INSERT or UPDATE: such a trigger can store something else than what was written.
_TRIGGERS = """
SELECT tgname FROM pg_trigger WHERE tgrelid = %s AND NOT tgisinternal AND tgenabled <> 'D'
AND (tgtype & 1) <> 0 AND (tgtype & 2) <> 0 AND (tgtype & 20) <> 0 ORDER BY tgname
"""


@dataclass(frozen=True)
class StandingColumn:
    """A column as it stands. `modifier` is the length or precision of its type, -1 for none."""

    name: str
    number: int
    type: str
    modifier: int
    is_not_null: bool
    default: str | None
    is_identity: bool
    is_generated: bool


@dataclass(frozen=True)
class Constraint:
    """`kind` is PostgreSQL's letter (p primary key, c check, ...), `columns` are names."""

    name: str
    kind: str
    columns: tuple[str, ...]
    definition: str


@dataclass(frozen=True)
class StandingTable:
    """A table as it stands. `readers` maps a column to the views and rules that depend on it."""

    kind: str
    schema: str
    owner: str
    is_ours_to_alter: bool
    columns: dict[str, StandingColumn]
    constraints: tuple[Constraint, ...]
    readers: dict[str, tuple[str, ...]]
    triggers: tuple[str, ...]

    @property
    def primary_key(self) -> Constraint | None:
        return next((constraint for constraint in self.constraints if constraint.kind == "p"), None)


def inspect_table(cursor: Any, table: str) -> StandingTable | None:
    """Describe the table of that name which the search path finds, or None."""
    cursor.execute(_TABLE, [table])
    found = cursor.fetchone()
    if found is None:
        return None
    oid, kind, is_ours_to_alter, owner, schema = found
    cursor.execute(_COLUMNS, [oid])
    columns = {row[0]: StandingColumn(*row) for row in cursor.fetchall()}
    names = {column.number: column.name for column in columns.values()}
    cursor.execute(_CONSTRAINTS, [oid])
    constraints = tuple(
        Constraint(name, kind, tuple(names[number] for number in numbers or ()), definition)
        for name, kind, numbers, definition in cursor.fetchall()
    )
    cursor.execute(_RULES, [oid, oid])
    readers: dict[str, tuple[str, ...]] = {}
    for column, relation, rule, is_own in cursor.fetchall():
        described = f"rule {rule}" if is_own else f"view {relation}"
        readers[column] = (*readers.get(column, ()), described)
    cursor.execute(_TRIGGERS, [oid])
    triggers = tuple(name for (name,) in cursor.fetchall())
    return StandingTable(kind, schema, owner, is_ours_to_alter, columns, constraints, readers, triggers)
