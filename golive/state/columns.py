"""The columns of the singletons, and how each is read out of a database that may hold anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from golive.domain.errors import StateUnknownError
from golive.domain.rows import GO_LIVE_STATE, SYSTEM_METADATA, GoLiveRow, SystemRow

Columns = Mapping[str, Callable[[Any, str], Any]]


def read_go_live_row(values: Sequence[Any] | None) -> GoLiveRow:
    """The row from the values of GO_LIVE_COLUMNS, in that order; None: there is no row.

    Raises StateUnknownError for a missing row and for a value that the column cannot hold.
    """
    if values is None:
        raise _missing(GO_LIVE_STATE)
    return GoLiveRow(**_read(GO_LIVE_COLUMNS, values))


def read_system_row(values: Sequence[Any] | None) -> SystemRow:
    """As `read_go_live_row`, of SYSTEM_COLUMNS."""
    if values is None:
        raise _missing(SYSTEM_METADATA)
    return SystemRow(**_read(SYSTEM_COLUMNS, values))


def _read(columns: Columns, values: Sequence[Any]) -> dict[str, Any]:
    return {name: read(value, name) for (name, read), value in zip(columns.items(), values, strict=True)}


def _missing(table: str) -> StateUnknownError:
    return StateUnknownError(f"Row 1 of {table} is missing. Run `manage.py migrate`.")


def _unreadable(column: str) -> StateUnknownError:
    return StateUnknownError(f"The column {column} holds a value that cannot be read.")


def _boolean(value: Any, column: str) -> bool:
    if value is True or (type(value) is int and value == 1):
        return True
    if value is False or (type(value) is int and value == 0):
        return False
    raise _unreadable(column)


def _number(value: Any, column: str) -> int:
    if type(value) is not int:
        raise _unreadable(column)
    return value


def _text(value: Any, column: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise _unreadable(column)
    return value


def _text_or_empty(value: Any, column: str) -> str:
    return _text(value, column) or ""


def _moment(value: Any, column: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise _unreadable(column) from None
    if moment is None:
        return None
    if not isinstance(moment, datetime):
        raise _unreadable(column)
    # SQLite stores times without a zone, in UTC.
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


GO_LIVE_COLUMNS: Columns = {
    "go_live_enabled": _boolean,
    "kill_switch_engaged": _boolean,
    "changed_by": _text,
    "reason": _text,
    "updated_at": _moment,
    "revision": _number,
    "lease_ms": _number,
    "event_head": _text,
}
SYSTEM_COLUMNS: Columns = {
    "version": _text_or_empty,
    "backend_complete": _boolean,
    "notes": _text,
    "updated_at": _moment,
    "completed_at": _moment,
    "revision": _number,
}
