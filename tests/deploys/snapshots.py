"""All that a PostgreSQL database holds, to be compared: what people made in the catalogue, and every row.

More sensitive than a dump: an object that was dropped and made again, a table that was rewritten and a row that was
updated to what it was before all show (by oid, file, transaction and place).
"""

from __future__ import annotations

import re
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

# The catalogue, each with the column that tells what people made: oids from 16,384 on.
_CATALOGUES = {
    "pg_attrdef": "oid",
    "pg_attribute": "attrelid",
    "pg_class": "oid",
    "pg_constraint": "oid",
    "pg_depend": "objid",
    "pg_description": "objoid",
    "pg_foreign_table": "ftrelid",
    "pg_index": "indexrelid",
    "pg_inherits": "inhrelid",
    "pg_namespace": "oid",
    "pg_policy": "oid",
    "pg_proc": "oid",
    "pg_publication": "oid",
    "pg_publication_rel": "oid",
    "pg_rewrite": "oid",
    "pg_sequence": "seqrelid",
    "pg_statistic_ext": "oid",
    "pg_trigger": "oid",
    "pg_type": "oid",
}
# What autovacuum writes by itself, and `relhasindex`: it says "has or had an index", and no rollback takes it back.
_RESTLESS = [
    *("relpages", "reltuples", "relallvisible", "relallfrozen", "relfrozenxid", "relminmxid", "indcheckxmin"),
    "relhasindex",
]
_RELATIONS = """
SELECT c.oid, n.nspname, c.relname, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid >= 16384 AND c.relkind IN ('r', 'm', 'S') AND n.nspname NOT LIKE 'pg\\_%' ORDER BY c.oid
"""

_ROW = sql.SQL("t.ctid || ' ' || t.xmin || ' ' || t::text")
_SEQUENCE = sql.SQL("t.last_value || ' ' || t.is_called")

Snapshot = dict[str, list[str]]


def take_snapshot(connection: psycopg.Connection[Any]) -> Snapshot:
    """By catalogue and by relation, each row as text. Two are equal if nothing was changed in between."""
    found: Snapshot = {}
    with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
        for catalogue, key in _CATALOGUES.items():
            query = sql.SQL("SELECT (to_jsonb(c) - %s::text[])::text || c.xmin FROM {} c WHERE {} >= 16384 ORDER BY 1")
            rows = cursor.execute(query.format(sql.Identifier(catalogue), sql.Identifier(key)), [_RESTLESS])
            found[catalogue] = [row[0] for row in rows.fetchall()]
        for _, schema, name, kind in cursor.execute(_RELATIONS).fetchall():
            shown = _SEQUENCE if kind == "S" else _ROW
            rows = cursor.execute(sql.SQL("SELECT {} FROM {} t ORDER BY 1").format(shown, sql.Identifier(schema, name)))
            found[f"{schema}.{name}"] = [row[0] for row in rows.fetchall()]
    return found


def find_differences(before: Snapshot, after: Snapshot) -> list[str]:
    """What was changed, in words that are short enough to read."""
    told = []
    for name in sorted(before.keys() | after.keys()):
        old, new = set(before.get(name, ())), set(after.get(name, ()))
        told += [f"{name} - {_shorten(row)}" for row in sorted(old - new)]
        told += [f"{name} + {_shorten(row)}" for row in sorted(new - old)]
    return told


def _shorten(row: str) -> str:
    named = re.search(r'"(?:relname|attname|conname|tgname|typname)": "([^"]*)"', row)
    return f"{named.group(1) if named else ''} {row[:160]}"
