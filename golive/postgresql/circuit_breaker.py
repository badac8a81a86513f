"""A circuit breaker for a database that hangs, so that not every thread finds out by waiting.

A server that is down refuses connections at once and needs none of this. One that hangs (frozen, or behind a network
that drops packets) costs each request its whole time limit; with all threads waiting, even responses that need no
database would queue. The first thread to notice opens the circuit; from then on connections are refused at once, while
one thread of this process probes the database.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any

import psycopg

logger = logging.getLogger(__name__)

# psycopg allows no less than 2 s to connect.
PROBE_TIMEOUT_SECONDS = 2
PROBE_PAUSE_SECONDS = 0.2

_lock = threading.Lock()
# The aliases of the databases whose circuit is open.
_open: set[str] = set()


def is_open(alias: str) -> bool:
    """Whether the database of this alias hung and has not responded since, so that it must not be used."""
    return alias in _open


def open_circuit(alias: str, parameters: dict[str, Any]) -> None:
    """Open the circuit of a database that hangs, until a probe gets a response; `parameters` are libpq's."""
    with _lock:
        if alias in _open:
            return
        _open.add(alias)
    logger.error("the database %s hangs; it is not asked again until it answers", alias)
    probe = threading.Thread(target=_probe, args=(alias, parameters), name="golive-probe", daemon=True)
    try:
        probe.start()
    except RuntimeError:  # no thread can be started: every request finds out by itself, as without a circuit breaker
        _close_circuit(alias)
        raise


def _probe(alias: str, parameters: dict[str, Any]) -> None:
    """Connect until there is a response, then close the circuit. A refusal is a response too: it costs no waiting."""
    try:
        while not _responds(parameters):
            time.sleep(PROBE_PAUSE_SECONDS)
    finally:
        _close_circuit(alias)
    logger.warning("the database %s answers again", alias)


def _responds(parameters: dict[str, Any]) -> bool:
    try:
        psycopg.connect(**{**parameters, "connect_timeout": PROBE_TIMEOUT_SECONDS}).close()
    except psycopg.errors.ConnectionTimeout:
        return False
    except psycopg.Error:
        return True
    return True


def _close_circuit(alias: str) -> None:
    with _lock:
        _open.discard(alias)


def _reset_after_fork() -> None:
    """A forked child has no probing thread, and none that would release the lock: it starts with closed circuits."""
    global _lock  # noqa: PLW0603 - a lock held by a thread of the parent is never released
    _lock = threading.Lock()
    _open.clear()


os.register_at_fork(after_in_child=_reset_after_fork)
