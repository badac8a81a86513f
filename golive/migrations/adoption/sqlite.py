"""Existing tables on SQLite: used only if they have our shape, since they cannot be altered safely in place."""

from __future__ import annotations

import re
from typing import Any

from golive.migrations.adoption.judgement import Fault
from golive.migrations.adoption.shapes import BIGINT, BOOLEAN, ID, INTEGER, TEXT, TIMESTAMP, Column, Shape

# As Django declares them, and picks converters by.
_TYPES = {BOOLEAN: "bool", TEXT: "text", TIMESTAMP: "datetime", INTEGER: "integer", BIGINT: "bigint"}
_DEFAULTS = {"true": "1", "false": "0"}


def find_object(cursor: Any, name: str) -> tuple[str, str, str] | None:
    """The object of this name as (kind, name as spelled there, SQL), or None."""
    cursor.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master WHERE lower(name) = %s", [name])
    row = cursor.fetchone()
    return (row[0], row[1], row[2]) if row else None


def judge_sqlite(cursor: Any, shape: Shape) -> list[Fault]:
    """Why the existing object of the table's name cannot be used; empty if it can, or if there is none."""
    existing = find_object(cursor, shape.table)
    if existing is None:
        return []
    kind, name, sql = existing
    if kind != "table":
        problem = f"the {kind} {name} has this name"
        return [Fault(shape.table, None, problem, (f'DROP {kind.upper()} "{name}"',))]
    differences = _find_differences(cursor, shape, name, sql)
    remedy = (f'ALTER TABLE "{name}" RENAME TO {_find_free_name(cursor, shape.table)}',)
    return [
        Fault(shape.table, column, f"{problem}, and on SQLite a table cannot be brought to our shape", remedy)
        for column, problem in differences
    ]


def _find_differences(cursor: Any, shape: Shape, name: str, sql: str) -> list[tuple[str | None, str]]:
    differences: list[tuple[str | None, str]] = []
    cursor.execute(f'PRAGMA table_info("{name}")')
    existing = {row[1]: row[2:] for row in cursor.fetchall()}
    for column in (ID, *shape.columns):
        if column.name not in existing:
            differences.append((column.name, "is missing"))
            continue
        described, wanted = _describe(column, *existing.pop(column.name)), _describe_wanted(column)
        if described != wanted:
            differences.append((column.name, f"is {described}, not {wanted}"))
    for column_name, (_, not_null, default, is_key) in existing.items():
        if is_key or (not_null and default is None):
            differences.append((column_name, "is one of its own that must be given a value"))
    text = _normalize(sql)
    for check in shape.checks:
        if f"constraint {check.name} check {_normalize(check.condition)}" not in text:
            differences.append((check.column, f"lacks CONSTRAINT {check.name} CHECK ({check.condition})"))
    return differences


def _describe(column: Column, type_: str, not_null: int, default: str | None, is_key: int) -> str:
    # An INTEGER PRIMARY KEY is never NULL, declared so or not.
    is_required = bool(not_null or (is_key and column is ID))
    parts = [type_.lower(), "NOT NULL" if is_required else "NULL", "" if default is None else f"DEFAULT {default}"]
    return " ".join(part for part in (*parts, "PRIMARY KEY" if is_key else "") if part)


def _describe_wanted(column: Column) -> str:
    default = None if column.default is None else _DEFAULTS.get(column.default, column.default)
    return _describe(column, _TYPES[column.type], int(default is not None), default, int(column is ID))


def _normalize(sql: str) -> str:
    return " ".join(re.sub(r"[\"'`\[\]()]", " ", sql.lower()).split())


def _find_free_name(cursor: Any, wanted: str) -> str:
    name = f"{wanted}_old"
    while find_object(cursor, name) is not None:
        name += "_old"
    return name
