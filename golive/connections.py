"""Recovery outside of requests: Django looks after a broken connection only when a request begins or ends."""

from __future__ import annotations

from django.db import connections


def drop_dead_connection(using: str) -> None:
    """Forget the thread's connection if it is closed, so that the next use makes a new one. Waits for nothing."""
    connection = connections[using]
    if connection.vendor != "postgresql" or connection.connection is None or connection.in_atomic_block:
        return
    if connection.connection.closed:
        connection.close()
