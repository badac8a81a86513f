"""Compares the actual tables, as the database describes them, with the models.

A database whose tables were created here and one whose tables were adopted have equal fingerprints: whatever else
another tool's tables hold (more columns, indexes and checks, other names of keys) is ignored.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, models

from golive.models import Event, GoLiveState, SystemMetadata

MODELS: tuple[type[models.Model], ...] = (SystemMetadata, GoLiveState, Event)
TRIGGERS = {
    "postgresql": ("golive_event_append_only",),
    "sqlite": ("golive_event_no_UPDATE", "golive_event_no_DELETE", "golive_event_no_REPLACE"),
}

Description = dict[str, Any]

_IS_TABLE = "SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass(%s)"
_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod)
       || CASE WHEN a.attcollation <> t.typcollation THEN ' with a collation' ELSE '' END,
       a.attnotnull AND NOT EXISTS (SELECT FROM pg_constraint n WHERE n.conrelid = a.attrelid AND n.contype = 'n'
                                    AND n.conkey = ARRAY[a.attnum] AND NOT n.convalidated),
       CASE WHEN a.attidentity <> '' THEN 'an identity' WHEN a.attgenerated <> '' THEN 'generated'
            ELSE pg_get_expr(d.adbin, d.adrelid) END
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname
"""
_CHECKS = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = to_regclass(%s) AND contype = 'c' AND convalidated ORDER BY conname
"""
_TRIGGERS = (
    "SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND NOT tgisinternal AND tgenabled IN ('O', 'A')"
)


def describe(*, using: str = DEFAULT_DB_ALIAS) -> dict[str, Description]:
    """The three tables as they are, each with `is_table`, `columns` by name (type, not null, default), `checks` by
    name, `key` (columns of the primary key), `unique` (of unique constraints and indexes) and `triggers`.
    """
    connection = connections[using]
    describe_table = _describe_postgresql if connection.vendor == "postgresql" else _describe_sqlite
    described = {}
    with connection.cursor() as cursor:
        for model in MODELS:
            table = model._meta.db_table
            constraints = connection.introspection.get_constraints(cursor, table).values()
            keys = {
                "key": next((list(each["columns"]) for each in constraints if each["primary_key"]), []),
                # Expressions have the column None.
                "unique": sorted(
                    list(each["columns"]) for each in constraints if each["unique"] and None not in each["columns"]
                ),
            }
            described[table] = {**describe_table(cursor, table), **keys}
    return described


def fingerprint(tables: dict[str, Description]) -> str:
    """A short hash of the parts of a description that the models define; equal for equal schemas."""
    known = {}
    for model in MODELS:
        described, fields = tables[model._meta.db_table], {field.column for field in model._meta.concrete_fields}
        known[model._meta.db_table] = {
            **described,
            "columns": {name: column for name, column in described["columns"].items() if name in fields},
            "checks": {str(c.name): described["checks"].get(str(c.name)) for c in model._meta.constraints},
            "triggers": [name for names in TRIGGERS.values() for name in names if name in described["triggers"]],
            "unique": [columns for columns in described["unique"] if columns in _unique_columns(model)],
        }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]


def find_faults(tables: dict[str, Description], *, using: str = DEFAULT_DB_ALIAS) -> list[str]:
    """What is missing or differs from the models. Extra columns are fine: a newer release may have made them."""
    connection = connections[using]
    faults: list[str] = []
    for model in MODELS:
        table = model._meta.db_table
        described = tables[table]
        if not described["columns"]:
            faults.append(f"{table}: the table is missing")
            continue
        if not described["is_table"]:
            faults.append(f"{table}: it is not a table")
        faults += _find_column_faults(model, described["columns"], connection)
        faults += _find_constraint_faults(model, described, connection)
    triggers = tables[Event._meta.db_table]["triggers"]
    faults += [
        f"golive_event: the trigger {name} is missing" for name in TRIGGERS[connection.vendor] if name not in triggers
    ]
    return faults


def find_missing_triggers(*, using: str = DEFAULT_DB_ALIAS) -> list[str]:
    """The append-only triggers of the event log that are missing or disabled. Costs one catalogue query."""
    connection = connections[using]
    table = Event._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_TRIGGERS, [table])
        else:
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s", [table])
        existing = {name for (name,) in cursor.fetchall()}
    return [name for name in TRIGGERS[connection.vendor] if name not in existing]


def _find_column_faults(model: type[models.Model], columns: dict[str, Description], connection: Any) -> list[str]:
    faults = []
    for field in model._meta.concrete_fields:
        existing, expected = columns.get(str(field.column)), _expected(field, connection)
        name = f"{model._meta.db_table}.{field.column}"
        if existing is None:
            faults.append(f"{name}: the column is missing")
        elif existing != expected:
            differing = ", ".join(
                f"{key} is {existing[key]}, not {expected[key]}" for key in expected if existing[key] != expected[key]
            )
            faults.append(f"{name}: {differing}")
    return faults


def _find_constraint_faults(model: type[models.Model], described: Description, connection: Any) -> list[str]:
    table = model._meta.db_table
    faults = []
    key = [str(model._meta.pk.column)]
    if described["key"] != key:
        faults.append(f"{table}: the primary key is on {described['key']}, not on {key}")
    for columns in _unique_columns(model):
        if columns not in described["unique"]:
            faults.append(f"{table}: {', '.join(columns)} is not unique")
    editor = connection.schema_editor(collect_sql=True)
    for constraint in model._meta.constraints:
        existing = described["checks"].get(str(constraint.name))
        _, _, expected = _normalize(str(constraint.constraint_sql(model, editor))).partition(
            f"{constraint.name} ".lower()
        )
        if existing is None:
            faults.append(f"{table}: the check {constraint.name} is missing")
        elif existing != expected:
            faults.append(f"{table}: the check {constraint.name} is another ({existing}, not {expected})")
    return faults


def _unique_columns(model: type[models.Model]) -> list[list[str]]:
    return [[str(field.column)] for field in model._meta.concrete_fields if field.unique and not field.primary_key]


def _normalize(sql: str) -> str:
    """A check constraint in a normal form that both databases' spellings of it share."""
    text = " ".join(re.sub(r"[\"'`()]", " ", sql.lower()).split())
    return re.sub(r"(\w+) between (\d+) and (\d+)", r"\1 >= \2 and \1 <= \3", text)


def _expected(field: models.Field[Any, Any], connection: Any) -> Description:
    default: str | None = None
    if field.has_db_default():
        value: Any = field.db_default
        default = str(value).lower() if isinstance(value, bool) else str(value)
    return {"type": field.db_type(connection), "not_null": not field.null, "default": default}


def _describe_postgresql(cursor: Any, table: str) -> Description:
    cursor.execute(_COLUMNS, [table])
    columns = {
        name: {"type": type_, "not_null": not_null, "default": _plain(default)}
        for name, type_, not_null, default in cursor.fetchall()
    }
    cursor.execute(_CHECKS, [table])
    checks = {name: _normalize(definition) for name, definition in cursor.fetchall()}
    cursor.execute(_TRIGGERS, [table])
    triggers = sorted(name for (name,) in cursor.fetchall())
    cursor.execute(_IS_TABLE, [table])
    return {"is_table": cursor.fetchone() == (True,), "columns": columns, "checks": checks, "triggers": triggers}


def _plain(default: str | None) -> str | None:
    """A default without its quotes and cast: `'1.0.0'::text` becomes `1.0.0`."""
    if default is None:
        return None
    text = default.split("::")[0]
    return text[1:-1] if text.startswith("'") else text.lower()


def _describe_sqlite(cursor: Any, table: str) -> Description:
    cursor.execute(f"PRAGMA table_info({table})")
    columns = {}
    for _, name, type_, not_null, default, is_key in cursor.fetchall():
        plain = _plain(default)
        if type_ == "bool" and plain in ("0", "1"):
            plain = "true" if plain == "1" else "false"
        columns[name] = {"type": type_.lower(), "not_null": bool(not_null or is_key), "default": plain}
    cursor.execute("SELECT type, name, sql FROM sqlite_master WHERE lower(tbl_name) = %s", [table])
    objects = cursor.fetchall()
    text = _normalize(" ".join(sql or "" for kind, _, sql in objects if kind == "table"))
    checks = {}
    for model in MODELS:
        for constraint in model._meta.constraints:
            # Up to the next constraint, or the end of the table.
            match = re.search(rf"constraint {constraint.name.lower()} (check [^,]*?)(?: ?,| constraint|$)", text)
            if match is not None:
                checks[constraint.name] = match[1]
    return {
        "is_table": any(kind == "table" for kind, _, _ in objects),
        "columns": columns,
        "checks": checks,
        "triggers": sorted(name for kind, name, _ in objects if kind == "trigger"),
    }
