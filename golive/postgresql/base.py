"""Django's PostgreSQL backend with connections that keep `golive.database.deadline`. ENGINE = "golive.postgresql"."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from psycopg import OperationalError

from golive.database.deadline import database_deadline, remaining_seconds
from golive.postgresql.away import is_away, report_away
from golive.postgresql.search_path import drop_foreign_schemas

# How often the server looks whether whoever sent a statement is still there: one that waits for a lock must not go on
# waiting when its sender has given up (golive.database.deadline), or backends pile up until there are none left.
CLIENT_CHECK_MS = 500
# A server that is well answers SELECT 1 in a millisecond.
HEALTH_CHECK_SECONDS = 1.0
# The driver reads no times in another style than ISO, which a database or a role may have for its own.
_SET_FOR_SESSION = """
SELECT set_config(name, CASE name WHEN 'DateStyle' THEN 'ISO' ELSE %s END, false) FROM pg_settings
WHERE name = 'client_connection_check_interval' OR (name = 'DateStyle' AND setting NOT LIKE 'ISO%%')
"""
# What Django puts among the parameters of a connection for psycopg or for itself.
_NOT_FOR_LIBPQ = ("assume_role", "context", "cursor_factory", "pool", "prepare_threshold", "server_side_binding")


class DeadlineExceededError(OperationalError):
    """The database did not answer in time; the connection was given up."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection whose every wait, of whatever statement, ends with the current thread's deadline."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        remaining = remaining_seconds()
        if remaining is None:
            return super().wait(gen, interval, timeout)
        limit = remaining if timeout is None else min(remaining, timeout)
        try:
            return super().wait(gen, interval, limit)
        except OperationalError as error:
            if remaining_seconds() == 0 and error.sqlstate is None:
                # The protocol is in the middle of an answer that may still come: this connection is of no more use.
                self.pgconn.finish()
                raise DeadlineExceededError("the database did not answer in time") from error
            raise


class DatabaseWrapper(base.DatabaseWrapper):
    """As Django's own, but it neither connects when the time is up nor asks a database that hangs."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        if remaining_seconds() == 0:
            raise DeadlineExceededError("no time left to connect to the database")
        if is_away(self.alias):
            raise DeadlineExceededError("the database hangs")
        try:
            connection = super().get_new_connection(conn_params)
        except psycopg.errors.ConnectionTimeout:
            report_away(self.alias, libpq_parameters(conn_params))
            raise
        # Django offers no hook for the class of a connection, and the two differ in nothing but this method.
        connection.__class__ = BoundedConnection
        return connection

    def init_connection_state(self) -> None:
        super().init_connection_state()
        # Not by libpq's `options`, which poolers refuse; and only what the server knows (PostgreSQL 14).
        with self.cursor() as cursor:
            cursor.execute(_SET_FOR_SESSION, [str(CLIENT_CHECK_MS)])
            drop_foreign_schemas(cursor, is_local=False)

    def is_usable(self) -> bool:
        """The health check before a persistent connection is used again, bounded."""
        if is_away(self.alias):
            return False
        began = time.monotonic()
        with database_deadline(HEALTH_CHECK_SECONDS):
            is_usable: bool = super().is_usable()
        if not is_usable and time.monotonic() - began >= HEALTH_CHECK_SECONDS:
            report_away(self.alias, libpq_parameters(self.get_connection_params()))
        return is_usable


def libpq_parameters(conn_params: Mapping[str, Any]) -> dict[str, Any]:
    """What libpq needs for another connection to the same database."""
    return {name: value for name, value in conn_params.items() if name not in _NOT_FOR_LIBPQ}
