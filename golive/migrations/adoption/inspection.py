"""Describe an existing PostgreSQL relation from the system catalogue, before the first migration.

Every name that goes into SQL is quoted by the server, which alone knows its reserved words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_TABLE = """
SELECT c.oid, c.relkind::text, quote_ident(n.nspname), quote_ident(n.nspname) || '.' || quote_ident(c.relname),
       quote_ident(pg_get_userbyid(c.relowner)), quote_ident(current_user), pg_has_role(c.relowner, 'USAGE'),
       ARRAY(SELECT right_ FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS right_
             WHERE NOT has_table_privilege(c.oid, right_)),
       has_schema_privilege(n.oid, 'CREATE'), row_security_active(c.oid), c.relpersistence = 'u', c.reloftype <> 0,
       c.relispartition
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)
"""
_FACTS = (
    *("oid", "kind", "schema", "sql", "owner", "user", "is_ours_to_alter", "missing_rights", "can_make_indexes"),
    *("is_row_secured", "is_unlogged", "is_typed", "is_partition"),
)
# A NOT NULL that is not validated (PostgreSQL 18) tolerates existing NULLs.
_COLUMNS = """
SELECT a.attname, quote_ident(a.attname), a.attnum, format_type(a.atttypid, NULL),
       format_type(a.atttypid, a.atttypmod), a.atttypmod <> -1 OR a.attcollation <> t.typcollation, a.attnotnull,
       a.attnotnull AND NOT EXISTS (SELECT FROM pg_constraint n WHERE n.conrelid = a.attrelid AND n.contype = 'n'
                                    AND n.conkey = ARRAY[a.attnum] AND NOT n.convalidated),
       d.oid IS NOT NULL, a.attidentity::text, a.attgenerated::text
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_CONSTRAINTS = """
SELECT conname, quote_ident(conname), contype::text, coalesce(conkey, '{}'), pg_get_expr(conbin, conrelid),
       condeferrable, ARRAY(SELECT 'ALTER TABLE ' || f.conrelid::regclass || ' DROP CONSTRAINT ' || quote_ident(conname)
                            FROM pg_constraint f WHERE c.contype = 'p' AND f.contype = 'f' AND f.conindid = c.conindid)
FROM pg_constraint c WHERE conrelid = %s ORDER BY conname
"""
_FAMILY = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), i.inhrelid = %s
FROM pg_inherits i JOIN pg_class c ON c.oid = CASE WHEN i.inhrelid = %s THEN i.inhparent ELSE i.inhrelid END
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE %s IN (i.inhrelid, i.inhparent) ORDER BY 1
"""
# Whether it is a BEFORE ROW trigger on INSERT or UPDATE, which can store something else than what was written.
_TRIGGERS = """
SELECT quote_ident(tgname), (tgtype & 1) <> 0 AND (tgtype & 2) <> 0 AND (tgtype & 20) <> 0
FROM pg_trigger WHERE tgrelid = %s AND NOT tgisinternal AND tgenabled IN ('O', 'A') ORDER BY tgname
"""
# INSTEAD rules on INSERT or UPDATE: what is written goes elsewhere, or nowhere.
_RULES = """
SELECT quote_ident(rulename) FROM pg_rewrite
WHERE ev_class = %s AND is_instead AND ev_type IN ('2', '3') AND ev_enabled IN ('O', 'A') ORDER BY rulename
"""
# Such as an enum or a domain. A table defines a type of its own name, so it could not be created beside it.
_TYPE = """
SELECT CASE typtype WHEN 'd' THEN 'DOMAIN ' ELSE 'TYPE ' END || quote_ident(nspname) || '.' || quote_ident(typname)
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE typname = %s AND nspname = current_schema() AND typrelid = 0
"""


@dataclass(frozen=True)
class ExistingColumn:
    """An existing column. `type` is without length or precision, `full_type` with; `sql` is the quoted name.

    `is_qualified`: it has a length, a precision or a collation of its own. `identity` and `generated` are PostgreSQL's
    letters, empty for none.
    """

    name: str
    sql: str
    number: int
    type: str
    full_type: str
    is_qualified: bool
    is_not_null: bool
    is_surely_not_null: bool
    has_default: bool
    identity: str
    generated: str


@dataclass(frozen=True)
class Constraint:
    """`kind` is PostgreSQL's letter (p primary key, c check, ...), `columns` are names, `*` for the whole row.

    `references` are the statements that drop the foreign keys that depend on it.
    """

    name: str
    sql: str
    kind: str
    columns: tuple[str, ...]
    expression: str | None
    is_deferrable: bool
    references: tuple[str, ...]


@dataclass(frozen=True)
class ExistingTable:
    """An existing relation. All names are quoted for SQL, except the keys of `columns`."""

    oid: int
    kind: str
    schema: str
    sql: str
    owner: str
    user: str
    is_ours_to_alter: bool
    missing_rights: list[str]
    can_make_indexes: bool
    is_row_secured: bool
    is_unlogged: bool
    is_typed: bool
    is_partition: bool
    columns: dict[str, ExistingColumn]
    constraints: tuple[Constraint, ...]
    parents: tuple[str, ...]
    children: tuple[str, ...]
    triggers: tuple[str, ...]
    altering_triggers: tuple[str, ...]
    altering_rules: tuple[str, ...]

    @property
    def primary_key(self) -> Constraint | None:
        return next((constraint for constraint in self.constraints if constraint.kind == "p"), None)

    @property
    def checks(self) -> tuple[Constraint, ...]:
        return tuple(constraint for constraint in self.constraints if constraint.kind == "c")


def inspect_table(cursor: Any, name: str) -> ExistingTable | None:
    """Describe the relation of that name in the search path; None: there is none."""
    cursor.execute(_TABLE, [name])
    facts = cursor.fetchone()
    if facts is None:
        return None
    oid = facts[0]
    cursor.execute(_COLUMNS, [oid])
    columns = {row[0]: ExistingColumn(*row) for row in cursor.fetchall()}
    names = {0: "*", **{column.number: column.name for column in columns.values()}}
    cursor.execute(_CONSTRAINTS, [oid])
    constraints = tuple(
        Constraint(name, sql, kind, tuple(names[key] for key in keys), expression, is_deferrable, tuple(references))
        for name, sql, kind, keys, expression, is_deferrable, references in cursor.fetchall()
    )
    cursor.execute(_FAMILY, [oid, oid, oid])
    family = cursor.fetchall()
    cursor.execute(_TRIGGERS, [oid])
    triggers = cursor.fetchall()
    cursor.execute(_RULES, [oid])
    return ExistingTable(
        **dict(zip(_FACTS, facts, strict=True)),
        columns=columns,
        constraints=constraints,
        parents=tuple(relative for relative, is_parent in family if is_parent),
        children=tuple(relative for relative, is_parent in family if not is_parent),
        triggers=tuple(trigger for trigger, _ in triggers),
        altering_triggers=tuple(trigger for trigger, alters in triggers if alters),
        altering_rules=tuple(rule for (rule,) in cursor.fetchall()),
    )


def find_type(cursor: Any, name: str) -> str | None:
    """A type of that name in the schema where the table would be created, as `TYPE schema.name`, or None."""
    cursor.execute(_TYPE, [name])
    row = cursor.fetchone()
    return row[0] if row else None


def find_free_name(cursor: Any, wanted: str) -> str:
    """The name with the suffix `_old`, `_old2` and so on, whichever no relation in the search path has."""
    for ending in ("_old", *(f"_old{number}" for number in range(2, 100))):
        cursor.execute("SELECT to_regclass(%s) IS NULL", [wanted + ending])
        if cursor.fetchone()[0]:
            return wanted + ending
    return f"{wanted}_old100"
