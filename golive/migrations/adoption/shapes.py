"""The target shapes of both tables, and the types from which each column can be converted.

A frozen copy: a migration must not change with the models. A test checks it against them.
"""

from __future__ import annotations

from dataclasses import dataclass

BOOLEAN, TEXT, TIMESTAMP, INTEGER, BIGINT = "boolean", "text", "timestamp with time zone", "integer", "bigint"
INTEGERS = ("smallint", "integer", "bigint")
# The types that PostgreSQL converts to these without loss.
CONVERTIBLE: dict[str, tuple[str, ...]] = {
    BOOLEAN: ("boolean", *INTEGERS),
    TEXT: ("text", "character varying", "character"),
    TIMESTAMP: ("timestamp with time zone", "timestamp without time zone"),
    INTEGER: INTEGERS,
    BIGINT: INTEGERS,
}
LEASE_MS = (0, 5000)


@dataclass(frozen=True)
class Column:
    """A target column. `default` is SQL; if given, the column is NOT NULL, and existing NULLs become the default.

    `is_ours`: this project's bookkeeping, added if missing. Any other missing column is refused, since its data cannot
    be invented.
    """

    name: str
    type: str
    default: str | None = None
    is_ours: bool = False


@dataclass(frozen=True)
class Check:
    """A named CHECK constraint on `column`."""

    name: str
    column: str
    condition: str


@dataclass(frozen=True)
class Shape:
    """A table: its columns without `id`, and its checks.

    `stops` are the assignments of changes toward safe: nothing in the table may refuse them.
    """

    table: str
    columns: tuple[Column, ...]
    checks: tuple[Check, ...]
    stops: tuple[str, ...]


ID = Column("id", INTEGER)
SYSTEM_METADATA = Shape(
    "system_metadata",
    (
        Column("version", TEXT, "'1.0.0'"),
        Column("backend_complete", BOOLEAN, "false"),
        Column("notes", TEXT),
        Column("updated_at", TIMESTAMP),
        Column("completed_at", TIMESTAMP),
        Column("revision", BIGINT, "1", is_ours=True),
    ),
    (Check("system_metadata_singleton", "id", "id = 1"),),
    ("backend_complete = false, completed_at = NULL, updated_at = now(), revision = revision + 1",),
)
_STOP = "changed_by = repeat('x', 200), updated_at = now(), revision = revision + 1, event_head = repeat('0', 64)"
GO_LIVE_STATE = Shape(
    "go_live_state",
    (
        Column("go_live_enabled", BOOLEAN, "false"),
        Column("kill_switch_engaged", BOOLEAN, "true"),
        Column("changed_by", TEXT),
        Column("reason", TEXT),
        Column("updated_at", TIMESTAMP),
        Column("revision", BIGINT, "1", is_ours=True),
        Column("lease_ms", INTEGER, "250", is_ours=True),
        Column("event_head", TEXT, is_ours=True),
    ),
    (
        Check("go_live_state_singleton", "id", "id = 1"),
        Check("go_live_state_lease_range", "lease_ms", "lease_ms BETWEEN {} AND {}".format(*LEASE_MS)),
    ),
    (
        f"go_live_enabled = true, kill_switch_engaged = true, reason = NULL, {_STOP}",
        f"go_live_enabled = false, kill_switch_engaged = true, reason = repeat('x', 1000), {_STOP}",
        f"go_live_enabled = false, kill_switch_engaged = false, reason = 'x', {_STOP}",
    ),
)
# In the order in which every writer locks them.
SHAPES = {shape.table: shape for shape in (SYSTEM_METADATA, GO_LIVE_STATE)}
