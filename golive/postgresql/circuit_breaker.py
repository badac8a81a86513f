"""Remembers that a database hangs, so that not every thread has to find out by waiting.

A server that is down refuses at once and needs none of this. One that hangs (frozen, or behind a network that swallows
packets) takes each asker's whole time; with all threads waiting, even answers that need no database would queue. The
first to notice reports it; from then on everybody else is refused at once, while one thread of this process asks
whether it is back.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any

import psycopg

logger = logging.getLogger(__name__)

# psycopg goes no lower than 2 s for a connection.
PROBE_TIMEOUT_SECONDS = 2
PROBE_PAUSE_SECONDS = 0.2

_lock = threading.Lock()
_away: set[str] = set()


def is_away(alias: str) -> bool:
    """Whether the database of this alias was found hanging and has not answered since."""
    return alias in _away


def report_away(alias: str, parameters: dict[str, Any]) -> None:
    """The database hangs; `parameters` are libpq's, for asking whether it is back."""
    with _lock:
        if alias in _away:
            return
        _away.add(alias)
    logger.error("the database %s hangs; it is not asked again until it answers", alias)
    probe = threading.Thread(target=_probe, args=(alias, parameters), name="golive-probe", daemon=True)
    try:
        probe.start()
    except RuntimeError:  # no more threads to be had: everybody finds out by themselves, as without this
        _forget(alias)
        raise


def _probe(alias: str, parameters: dict[str, Any]) -> None:
    """Ask until there is an answer; a refusal is one too, since then nobody has to wait to be refused."""
    try:
        while not _answers(parameters):
            time.sleep(PROBE_PAUSE_SECONDS)
    finally:
        _forget(alias)
    logger.warning("the database %s answers again", alias)


def _answers(parameters: dict[str, Any]) -> bool:
    try:
        psycopg.connect(**{**parameters, "connect_timeout": PROBE_TIMEOUT_SECONDS}).close()
    except psycopg.errors.ConnectionTimeout:
        return False
    except psycopg.Error:
        return True
    return True


def _forget(alias: str) -> None:
    with _lock:
        _away.discard(alias)


def _start_anew() -> None:
    """A fork has no thread that asks, nor one that would let go of the lock: it finds out by itself."""
    global _lock  # noqa: PLW0603 - one that a thread of the parent holds cannot be let go of
    _lock = threading.Lock()
    _away.clear()


os.register_at_fork(after_in_child=_start_anew)
