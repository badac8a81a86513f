"""Rehearses a stop: runs a stop's own transaction and rolls it back, to prove that a stop could be written now.

Reads keep working when writes no longer do: the database is read-only because its disk is full, a grant was lost, a
session holds the row. Operators have to know before they need the stop.
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

# A rehearsal writes, so all callers within this time share one result.
SHARED_SECONDS = 1.0
# How long a caller waits for it; a check may take one second.
WAIT_SECONDS = 0.95
PERIOD_SECONDS = 30.0
REPEAT_SECONDS = 60.0

POSSIBLE = "A stop was rehearsed and rolled back."
_TIMED_OUT = "The rehearsal of a stop did not finish in time."


@dataclass(frozen=True)
class Result:
    """The result of a rehearsal. `detail` is public, `cause` is for the log."""

    ok: bool
    detail: str
    cause: str


class Rehearser:
    """Runs one rehearsal at a time, on a thread and connection of its own, and shares its result."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self._work = work
        self._condition = threading.Condition()
        self._is_running = False
        self._ended = 0
        self._ended_at = float("-inf")
        self._latest = Result(False, _TIMED_OUT, _TIMED_OUT)

    def ask(self) -> Result:
        """The last result within SHARED_SECONDS, or else that of the rehearsal in progress or of a new one."""
        with self._condition:
            if time.monotonic() - self._ended_at < SHARED_SECONDS:
                return self._latest
            ticket = self._ended + 1
            if not self._is_running and not self._start():
                return Result(False, _TIMED_OUT, "No thread could be started to rehearse the stop.")
            if not self._condition.wait_for(lambda: self._ended >= ticket, WAIT_SECONDS):
                return Result(False, _TIMED_OUT, _TIMED_OUT)
            return self._latest

    def _start(self) -> bool:
        try:
            threading.Thread(target=self._run, name="golive-rehearsal", daemon=True).start()
        except RuntimeError:
            return False
        self._is_running = True
        return True

    def _run(self) -> None:
        result = Result(False, _TIMED_OUT, _TIMED_OUT)
        try:
            result = self._work()
        finally:
            with self._condition:
                self._latest, self._ended_at = result, time.monotonic()
                self._ended += 1
                self._is_running = False
                self._condition.notify_all()


def rehearse() -> Result:
    """Whether a stop could be written now, and if not, why. Never raises; takes at most WAIT_SECONDS."""
    return _rehearser.ask()


def _rehearse_stop() -> Result:
    try:
        rehearse_stop()
    except NotAppliedError as error:
        # There is no request that could be repeated.
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


# -- the watch: one thread in each serving process ---------------------------------------------------------------------


class Watch:
    """Logs when a stop becomes impossible, every minute while that lasts, and when it is possible again."""

    def __init__(self, ask: Callable[[], Result]) -> None:
        self._ask = ask
        self._logged_at: float | None = None

    def look(self, now: float) -> None:
        """Check once; `now` is in seconds of any clock."""
        result = self._ask()
        if result.ok:
            if self._logged_at is not None:
                logger.info("a stop is possible again")
            self._logged_at = None
        elif self._logged_at is None or now - self._logged_at >= REPEAT_SECONDS:
            logger.error("a stop is NOT possible: %s", result.cause)
            self._logged_at = now


def start_watch() -> None:
    """Check now and every PERIOD_SECONDS while this process lives, but only if it serves the endpoints for stops.

    A project that only guards its own views may use a role that cannot write at all.
    """
    threading.Thread(target=_run_watch, name="golive-watch", daemon=True).start()


def _run_watch() -> None:
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


def _reset_after_fork() -> None:
    """A forked child has none of the threads, and none that would release the lock."""
    global _rehearser  # noqa: PLW0603
    _rehearser = Rehearser(_rehearse_stop)


_rehearser = Rehearser(_rehearse_stop)
os.register_at_fork(after_in_child=_reset_after_fork)
