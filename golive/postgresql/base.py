"""Django's PostgreSQL backend with connections that keep `golive.deadline`. ENGINE = "golive.postgresql"."""

from __future__ import annotations

from typing import Any

import psycopg
from django.db.backends.postgresql import base
from psycopg import OperationalError

from golive.deadline import remaining_seconds


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
    """As Django's own, but it does not begin to connect when the time is already up."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        if remaining_seconds() == 0:
            raise DeadlineExceededError("no time left to connect to the database")
        connection = super().get_new_connection(conn_params)
        # Django offers no hook for the class of a connection, and the two differ in nothing but this method.
        connection.__class__ = BoundedConnection
        return connection
