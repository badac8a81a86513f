"""Model fields that behave the same whatever the project's settings."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone


class UtcDateTimeField(models.DateTimeField):  # type: ignore[type-arg]  # at run time it takes no parameters
    """Aware times, stored as Django stores them with USE_TZ = True, whatever the project's setting.

    Without USE_TZ, Django's own field returns naive times in the project's zone, and SQLite refuses aware ones.
    Migrations see Django's own field.
    """

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.DateTimeField", list(args), kwargs

    def select_format(self, compiler: Any, sql: str, params: Any) -> tuple[str, Any]:
        if settings.USE_TZ or compiler.connection.vendor != "postgresql":
            return sql, params
        # Converted to UTC in SQL: in the session's time zone one hour each autumn would be ambiguous.
        return f"({sql} AT TIME ZONE 'UTC')", params

    def from_db_value(self, value: datetime | None, expression: Any, connection: Any) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and timezone.is_naive(value) else value

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        prepared_value = value if prepared else self.get_prep_value(value)
        if not settings.USE_TZ and connection.vendor == "sqlite" and isinstance(prepared_value, datetime):
            prepared_value = in_utc(prepared_value).replace(tzinfo=None)
        return super().get_db_prep_value(prepared_value, connection, prepared=True)


def in_utc(moment: datetime) -> datetime:
    """The same moment in UTC; a naive time is taken to be UTC."""
    return moment.replace(tzinfo=UTC) if timezone.is_naive(moment) else moment.astimezone(UTC)
