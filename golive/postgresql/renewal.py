"""A connection that is replaced regularly, so that a host name that has moved to another server is followed.

An open connection stays with the server that it was opened to, even if the name in DATABASE_URL now resolves to
another one (a DNS change, a forwarder that was switched over). The next connection is opened ahead of time on a thread
of its own; until it is ready, reads use the existing one.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from golive.database.deadline import READ_SECONDS, database_deadline

logger = logging.getLogger(__name__)

# At this age the next connection is opened, with a pause before each retry; at MAX_AGE_SECONDS the old one is no longer
# used. That leaves room for the longest lease (5 s) and a read within a minute.
RENEW_AFTER_SECONDS = 30.0
RETRY_SECONDS = 5.0
MAX_AGE_SECONDS = 50.0

T = TypeVar("T")


class RenewedConnection:
    """The calling thread's connection to one database, always used from that one thread.

    `clock` counts seconds, including while the machine is suspended. `on_ready` is called, on another thread, when the
    next connection is ready to be used.
    """

    def __init__(self, alias: str, *, clock: Callable[[], float], on_ready: Callable[[], object]) -> None:
        self._alias = alias
        self._clock = clock
        self._on_ready = on_ready
        # The driver connection in use, and a time just before it was opened.
        self._current: object = None
        self._opened_at = self._tried_at = -math.inf
        self._lock = threading.Lock()
        self._opener: threading.Thread | None = None
        self._next: tuple[BaseDatabaseWrapper, float] | None = None
        self._is_closed = False

    def use(self, read: Callable[[], T]) -> T:
        """`read()`, on a connection no older than MAX_AGE_SECONDS."""
        began_at = self._clock()
        self._replace(began_at)
        try:
            return read()
        finally:
            # `read` may have opened a connection itself.
            current = connections[self._alias].connection
            if current is not self._current:
                self._current, self._opened_at = current, began_at
            self._open_ahead()

    def close(self) -> None:
        """Close the next connection too, now or as soon as it is open."""
        with self._lock:
            self._is_closed = True
            following, self._next = self._next, None
        if following is not None:
            _close(following[0])

    def _replace(self, now: float) -> None:
        with self._lock:
            self._is_closed = False  # a new thread may take over from one that died
            following, self._next = self._next, None
        if following is not None:
            _close(connections[self._alias])
            connections[self._alias], self._opened_at = following
            self._current = following[0].connection
        if self._current is not None and now - self._opened_at >= MAX_AGE_SECONDS:
            _close(connections[self._alias])

    def _open_ahead(self) -> None:
        now = self._clock()
        if connections[self._alias].vendor != "postgresql" or self._current is None:
            return
        is_due = now - self._opened_at >= RENEW_AFTER_SECONDS and now - self._tried_at >= RETRY_SECONDS
        if not is_due or (self._opener is not None and self._opener.is_alive()):
            return
        self._tried_at = now
        opener = threading.Thread(target=self._open, args=(now,), name=f"golive-connect-{self._alias}", daemon=True)
        with suppress(RuntimeError):  # no thread can be started: retry later; at the maximum age reconnect without one
            opener.start()
            self._opener = opener

    def _open(self, opened_at: float) -> None:
        wrapper = connections[self._alias]
        # Hand the connection over to the reading thread.
        del connections[self._alias]
        wrapper.inc_thread_sharing()
        try:
            with database_deadline(READ_SECONDS):
                wrapper.ensure_connection()
        except Error as error:
            logger.warning("the next connection to %s could not be opened (%s)", self._alias, type(error).__name__)
            _close(wrapper)
            return
        with self._lock:
            is_closed = self._is_closed
            if not is_closed:
                self._next = wrapper, opened_at
        if is_closed:
            _close(wrapper)
        else:
            self._on_ready()


def _close(wrapper: BaseDatabaseWrapper) -> None:
    with suppress(Error):
        wrapper.close()
