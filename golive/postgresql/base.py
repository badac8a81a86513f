"""Django's PostgreSQL backend, with connections that obey `golive.database.deadline`. ENGINE = "golive.postgresql"."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from psycopg import OperationalError

from golive.database.deadline import database_deadline, remaining_seconds
from golive.postgresql import circuit_breaker
from golive.postgresql.search_path import drop_foreign_schemas

# How often the server checks that the client of a running statement is still connected: one that waits for a lock must
# not keep waiting after its client has given up (golive.database.deadline), or backends pile up until none are left.
CLIENT_CHECK_MS = 500
# A healthy server answers SELECT 1 within a millisecond.
HEALTH_CHECK_SECONDS = 1.0
# The driver supports only the date style ISO, but a database or role may default to another.
_SET_FOR_SESSION = """
SELECT set_config(name, CASE name WHEN 'DateStyle' THEN 'ISO' ELSE %s END, false) FROM pg_settings
WHERE name = 'client_connection_check_interval' OR (name = 'DateStyle' AND setting NOT LIKE 'ISO%%')
"""
# What Django puts among the parameters of a connection for psycopg or for itself.
_NOT_FOR_LIBPQ = ("assume_role", "context", "cursor_factory", "pool", "prepare_threshold", "server_side_binding")


class DeadlineExceededError(OperationalError):
    """The database did not answer in time; the connection was abandoned."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection on which every wait, for any statement, ends at the current thread's deadline."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        remaining = remaining_seconds()
        if remaining is None:
            return super().wait(gen, interval, timeout)
        limit = remaining if timeout is None else min(remaining, timeout)
        try:
            return super().wait(gen, interval, limit)
        except OperationalError as error:
            if remaining_seconds() == 0 and error.sqlstate is None:
                # A response may still arrive, so the protocol state is lost and the connection cannot be reused.
                self.pgconn.finish()
                raise DeadlineExceededError("the database did not answer in time") from error
            raise


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's own, but does not connect once the time is up, or to a database whose circuit is open."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        if remaining_seconds() == 0:
            raise DeadlineExceededError("no time left to connect to the database")
        if circuit_breaker.is_open(self.alias):
            raise DeadlineExceededError("the database hangs")
        try:
            connection = super().get_new_connection(conn_params)
        except psycopg.errors.ConnectionTimeout:
            circuit_breaker.open_circuit(self.alias, libpq_parameters(conn_params))
            raise
        # Django has no hook for the connection class, and the two classes differ only in this method.
        connection.__class__ = BoundedConnection
        return connection

    def init_connection_state(self) -> None:
        super().init_connection_state()
        # Not through libpq's `options`, which poolers refuse; and only settings that the server has (PostgreSQL 14).
        with self.cursor() as cursor:
            cursor.execute(_SET_FOR_SESSION, [str(CLIENT_CHECK_MS)])
            drop_foreign_schemas(cursor, is_local=False)

    def is_usable(self) -> bool:
        """The health check before a persistent connection is reused, bounded in time."""
        if circuit_breaker.is_open(self.alias):
            return False
        began = time.monotonic()
        with database_deadline(HEALTH_CHECK_SECONDS):
            is_usable: bool = super().is_usable()
        if not is_usable and time.monotonic() - began >= HEALTH_CHECK_SECONDS:
            circuit_breaker.open_circuit(self.alias, libpq_parameters(self.get_connection_params()))
        return is_usable


def libpq_parameters(conn_params: Mapping[str, Any]) -> dict[str, Any]:
    """What libpq needs for another connection to the same database."""
    return {name: value for name, value in conn_params.items() if name not in _NOT_FOR_LIBPQ}
