"""Whether the real tables are what the models say, as the database itself describes them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, models

from golive.models import Event, GoLiveState, SystemMetadata

MODELS: tuple[type[models.Model], ...] = (SystemMetadata, GoLiveState, Event)
TRIGGERS = {"postgresql": ("golive_event_append_only",), "sqlite": ("golive_event_no_UPDATE", "golive_event_no_DELETE")}

Description = dict[str, Any]

_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname
"""
_CONSTRAINTS = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = to_regclass(%s) AND contype IN ('c', 'p', 'u') AND convalidated ORDER BY conname
"""
_TRIGGERS = "SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND NOT tgisinternal AND tgenabled <> 'D'"


def describe(*, using: str = DEFAULT_DB_ALIAS) -> dict[str, Description]:
    """The three tables as they stand: `columns` by name with type, not null and default; `constraints`; `triggers`."""
    connection = connections[using]
    describe_table = _describe_postgresql if connection.vendor == "postgresql" else _describe_sqlite
    with connection.cursor() as cursor:
        return {model._meta.db_table: describe_table(cursor, model._meta.db_table) for model in MODELS}


def fingerprint(found: dict[str, Description]) -> str:
    """A short hash of a description, equal for equal schemas."""
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]


def find_faults(found: dict[str, Description], *, using: str = DEFAULT_DB_ALIAS) -> list[str]:
    """What is missing or other than the models say. More columns than they know are fine: a newer release made them."""
    connection = connections[using]
    faults: list[str] = []
    for model in MODELS:
        table = model._meta.db_table
        columns = found[table]["columns"]
        if not columns:
            faults.append(f"{table}: the table is missing")
            continue
        for field in model._meta.concrete_fields:
            standing = columns.get(field.column)
            wanted = _wanted(field, connection)
            if standing is None:
                faults.append(f"{table}.{field.column}: the column is missing")
            elif standing != wanted:
                differing = ", ".join(
                    f"{key} is {standing[key]}, not {wanted[key]}" for key in wanted if standing[key] != wanted[key]
                )
                faults.append(f"{table}.{field.column}: {differing}")
        names = found[table]["constraints"]
        faults += [f"{table}: the check {c.name} is missing" for c in model._meta.constraints if c.name not in names]
    triggers = found[Event._meta.db_table]["triggers"]
    faults += [
        f"golive_event: the trigger {name} is missing" for name in TRIGGERS[connection.vendor] if name not in triggers
    ]
    return faults


def _wanted(field: models.Field[Any, Any], connection: Any) -> Description:
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
    cursor.execute(_CONSTRAINTS, [table])
    constraints = dict(cursor.fetchall())
    cursor.execute(_TRIGGERS, [table])
    return {"columns": columns, "constraints": constraints, "triggers": sorted(name for (name,) in cursor.fetchall())}


def _plain(default: str | None) -> str | None:
    """`'1.0.0'::text` as `1.0.0`: a default without its quotes and cast."""
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
    cursor.execute("SELECT type, name, sql FROM sqlite_master WHERE tbl_name = %s", [table])
    objects = cursor.fetchall()
    sql = " ".join(text or "" for kind, _, text in objects if kind == "table")
    names = [c.name for model in MODELS if model._meta.db_table == table for c in model._meta.constraints]
    return {
        "columns": columns,
        "constraints": {name: "" for name in names if f'"{name}"' in sql},
        "triggers": sorted(name for kind, name, _ in objects if kind == "trigger"),
    }
