"""Whether a stop could be written now: it is rehearsed, by the very transaction of a stop, and rolled back.

Reads go on where nothing can be written any more: a database that is read-only since its disk is full, a right that was
lost, a session that holds the row. Somebody has to know before the stop is needed.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.db import connections
from django.urls import NoReverseMatch, reverse

from golive.controls.apply import rehearse_stop
from golive.domain.errors import GoLiveError, NotAppliedError

logger = logging.getLogger(__name__)

# A rehearsal writes, so all that ask within so long get the same answer.
SHARED_SECONDS = 1.0
# How long anybody waits for it; a check may take one second.
WAIT_SECONDS = 0.95
PERIOD_SECONDS = 30.0
REPEAT_SECONDS = 60.0

POSSIBLE = "A stop was rehearsed and rolled back."
_LATE = "A rehearsal of the stop did not come to its end in time."


@dataclass(frozen=True)
class Result:
    """`detail` is for everybody, `cause` for the log."""

    ok: bool
    detail: str
    cause: str


class Rehearser:
    """Runs one rehearsal at a time, on a thread and a connection of its own, and shares what came of it."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self._work = work
        self._condition = threading.Condition()
        self._is_running = False
        self._ended = 0
        self._ended_at = float("-inf")
        self._latest = Result(False, _LATE, _LATE)

    def ask(self) -> Result:
        """The outcome of the rehearsal under way, or of a new one; of the last one within SHARED_SECONDS."""
        with self._condition:
            if time.monotonic() - self._ended_at < SHARED_SECONDS:
                return self._latest
            ticket = self._ended + 1
            if not self._is_running and not self._start():
                return Result(False, _LATE, "No thread can be had for a rehearsal of the stop.")
            if not self._condition.wait_for(lambda: self._ended >= ticket, WAIT_SECONDS):
                return Result(False, _LATE, _LATE)
            return self._latest

    def _start(self) -> bool:
        try:
            threading.Thread(target=self._run, name="golive-rehearsal", daemon=True).start()
        except RuntimeError:
            return False
        self._is_running = True
        return True

    def _run(self) -> None:
        result = Result(False, _LATE, _LATE)
        try:
            result = self._work()
        finally:
            with self._condition:
                self._latest, self._ended_at = result, time.monotonic()
                self._ended += 1
                self._is_running = False
                self._condition.notify_all()


def rehearse() -> Result:
    """Whether a stop could be written now, and why not. Never raises; at most WAIT_SECONDS."""
    return _rehearser.ask()


def _rehearse_stop() -> Result:
    try:
        rehearse_stop()
    except NotAppliedError as error:
        # Nobody has asked for anything that could be repeated.
        cause = error.describe().replace(" Repeat the request.", "")
        return Result(False, f"A stop cannot be written. {error.summary}", cause)
    except GoLiveError as error:
        return Result(False, f"A stop cannot be written. {error.detail}", str(error.detail))
    except Exception as error:
        logger.exception("the rehearsal of a stop failed")
        return Result(False, "A stop cannot be written.", type(error).__name__)
    finally:
        connections.close_all()
    return Result(True, POSSIBLE, "")


# -- the watch: a thread for each process that serves ------------------------------------------------------------------


class Watch:
    """Tells the log when a stop becomes impossible, every minute while it lasts, and when it is possible again."""

    def __init__(self, ask: Callable[[], Result]) -> None:
        self._ask = ask
        self._told_at: float | None = None

    def look(self, now: float) -> None:
        """One look, at the moment `now` in seconds of any clock."""
        result = self._ask()
        if result.ok:
            if self._told_at is not None:
                logger.info("a stop is possible again")
            self._told_at = None
        elif self._told_at is None or now - self._told_at >= REPEAT_SECONDS:
            logger.error("a stop is NOT possible: %s", result.cause)
            self._told_at = now


def start_watch() -> None:
    """Look at once and every PERIOD_SECONDS, for as long as this process lives; only where stops are asked for by HTTP.

    A project that only guards its own views may have a role that cannot write at all.
    """
    threading.Thread(target=_keep_looking, name="golive-watch", daemon=True).start()


def _keep_looking() -> None:
    try:
        reverse("golive:engage")
    except NoReverseMatch:
        return
    watch = Watch(rehearse)
    while True:
        try:
            watch.look(time.monotonic())
        except Exception:
            logger.exception("the watch over the stop failed; it goes on")
        time.sleep(PERIOD_SECONDS)


def _start_anew() -> None:
    """A fork has none of the threads, nor one that would let go of the lock."""
    global _rehearser  # noqa: PLW0603
    _rehearser = Rehearser(_rehearse_stop)


_rehearser = Rehearser(_rehearse_stop)
os.register_at_fork(after_in_child=_start_anew)
