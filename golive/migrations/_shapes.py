"""The shapes that both tables are brought to, and what each column may have been before.

A frozen copy: what a migration does must not change with the models. A test holds it to them.
"""

from __future__ import annotations

from dataclasses import dataclass

BOOLEAN, TEXT, TIMESTAMP, INTEGER, BIGINT = "boolean", "text", "timestamp with time zone", "integer", "bigint"
_INTEGERS = ("smallint", "integer", "bigint")
CONVERTIBLE: dict[str, tuple[str, ...]] = {
    BOOLEAN: ("boolean", *_INTEGERS),
    TEXT: ("text", "character varying", "character"),
    TIMESTAMP: ("timestamp with time zone", "timestamp without time zone"),
    INTEGER: _INTEGERS,
    BIGINT: _INTEGERS,
}


@dataclass(frozen=True)
class Column:
    """A column as it shall be. `default` is SQL; where it is given the column is NOT NULL, and NULL becomes it.

    `is_ours`: bookkeeping of this project, made if it is missing; any other column that is missing is refused, since
    its data cannot be invented.
    """

    name: str
    type: str
    default: str | None = None
    is_ours: bool = False


@dataclass(frozen=True)
class Shape:
    """A table: its columns without `id`, and its checks by name."""

    table: str
    columns: tuple[Column, ...]
    checks: tuple[tuple[str, str], ...]


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
    (("system_metadata_singleton", "id = 1"),),
)
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
    (("go_live_state_singleton", "id = 1"), ("go_live_state_lease_range", "lease_ms >= 0 AND lease_ms <= 5000")),
)
SHAPES = {shape.table: shape for shape in (SYSTEM_METADATA, GO_LIVE_STATE)}
