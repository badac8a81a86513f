"""Find the objects that depend on a column and keep PostgreSQL from altering its type, and how to drop them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from golive.migrations.adoption.inspection import ExistingTable

# `refobjsubid` is a column number; without one, all columns.
_DEPENDENTS = """
SELECT DISTINCT d.classid::regclass::text, d.objid, i.type, i.identity
FROM pg_depend d, LATERAL pg_identify_object(d.classid, d.objid, d.objsubid) i
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = %(relation)s
AND d.refobjsubid = coalesce(%(column)s::integer, d.refobjsubid) AND d.deptype IN ('n', 'a') ORDER BY d.objid
"""
_RULE = """
SELECT r.rulename, r.ev_class, CASE c.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END,
       quote_ident(n.nspname) || '.' || quote_ident(c.relname)
FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace WHERE r.oid = %s
"""
_GENERATED = """
SELECT quote_ident(a.attname), a.attgenerated = 's'
FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
WHERE d.oid = %s AND d.adrelid = %s AND a.attgenerated <> ''
"""
_INDEX = "SELECT indexprs IS NOT NULL OR indpred IS NOT NULL FROM pg_index WHERE indexrelid = %s"
_PUBLICATION = """
SELECT quote_ident(p.pubname) FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid WHERE r.oid = %s
"""


@dataclass(frozen=True)
class Dependent:
    """`drops` are statements, in order. They can be repeated, since another fault may name the same ones.

    `is_rebuilt`: PostgreSQL rebuilds it for the new type, if it can.
    """

    words: str
    drops: tuple[str, ...]
    is_rebuilt: bool = False


def find_dependents(cursor: Any, table: ExistingTable, column: str) -> list[Dependent]:
    """Everything that depends on a column, except what works with any type (its default, plain indexes and keys)."""
    return _find(cursor, table, table.oid, table.columns[column].number, {table.oid})


def _find(cursor: Any, table: ExistingTable, relation: int, column: int | None, seen: set[int]) -> list[Dependent]:
    cursor.execute(_DEPENDENTS, {"relation": relation, "column": column})
    described = [
        _describe(cursor, table, catalogue, object_id, kind, identity, seen)
        for catalogue, object_id, kind, identity in cursor.fetchall()
    ]
    return [dependent for dependent in described if dependent is not None]


def _describe(
    cursor: Any, table: ExistingTable, catalogue: str, object_id: int, kind: str, identity: str, seen: set[int]
) -> Dependent | None:
    match catalogue:
        case "pg_rewrite":
            return _describe_rule(cursor, table, object_id, identity, seen)
        case "pg_trigger" | "pg_policy" | "pg_proc":
            return Dependent(f"{kind} {identity}", (f"DROP {kind.upper()} IF EXISTS {identity}",))
        case "pg_attrdef":
            cursor.execute(_GENERATED, [object_id, table.oid])
            for name, is_stored in cursor.fetchall():
                action = (
                    f"ALTER COLUMN {name} DROP EXPRESSION IF EXISTS" if is_stored else f"DROP COLUMN IF EXISTS {name}"
                )
                return Dependent(f"generated column {name}", (f"ALTER TABLE {table.sql} {action}",))
        case "pg_publication_rel":
            cursor.execute(_PUBLICATION, [object_id])
            (name,) = cursor.fetchone()
            return Dependent(f"publication {name}", (f"ALTER PUBLICATION {name} DROP TABLE {table.sql}",))
        case "pg_class" if kind == "index":
            cursor.execute(_INDEX, [object_id])
            if cursor.fetchone()[0]:
                return Dependent(f"index {identity}", (f"DROP INDEX IF EXISTS {identity}",), is_rebuilt=True)
        case "pg_constraint":
            name = identity.removesuffix(f" on {table.sql}")
            if any(check.sql == name for check in table.checks):
                drop = f"ALTER TABLE {table.sql} DROP CONSTRAINT IF EXISTS {name}"
                return Dependent(f"constraint {name}", (drop,), is_rebuilt=True)
    return None


def _describe_rule(
    cursor: Any, table: ExistingTable, object_id: int, identity: str, seen: set[int]
) -> Dependent | None:
    cursor.execute(_RULE, [object_id])
    name, relation, kind, sql = cursor.fetchone()
    if name != "_RETURN":
        return Dependent(f"rule {identity}", (f"DROP RULE IF EXISTS {identity}",))
    if relation in seen:
        return None
    seen.add(relation)
    # Drop what depends on the view first.
    further = [drop for dependent in _find(cursor, table, relation, None, seen) for drop in dependent.drops]
    return Dependent(f"{kind} {sql}", (*further, f"DROP {kind.upper()} IF EXISTS {sql}"))
