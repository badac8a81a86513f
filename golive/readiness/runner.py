"""Runs the registered checks within a time limit."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, nullcontext

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from golive.database.deadline import database_deadline
from golive.domain.checklist import Checklist, CheckResult
from golive.domain.errors import StateUnknownError
from golive.readiness.registry import Check, all_checks
from golive.state import singletons

logger = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
RUN_SECONDS = 2.2
NO_DATABASE = "The check could not run: the database does not answer."
ANOTHER_CHANGE = "The check was not run: those for another change took all the time. Try again."


_stuck_lock = threading.Lock()
# The worker that hangs in a check, by the check's id.
_stuck: dict[str, threading.Thread] = {}
_change_slot = threading.Lock()


def _reset_after_fork() -> None:
    """A forked child has none of the threads that would release a lock or finish a check."""
    global _stuck_lock, _change_slot
    _stuck_lock, _change_slot = threading.Lock(), threading.Lock()
    _stuck.clear()


os.register_at_fork(after_in_child=_reset_after_fork)


def run_checklist() -> Checklist:
    """Run the checklist, warnings included, for a change that it guards.

    Always a new run that is not shared with readers or delayed by them; one at a time in this process, so that it needs
    only one connection. Never raises; takes at most RUN_SECONDS, including the wait for another change's run.
    """
    in_checklist = [check for check in all_checks() if check.is_in_checklist]
    ends_at = time.monotonic() + RUN_SECONDS
    if not _change_slot.acquire(timeout=RUN_SECONDS):
        return _fail_each(in_checklist, ANOTHER_CHANGE)
    try:
        return run_checks(in_checklist, run_seconds=max(0.0, ends_at - time.monotonic()))
    finally:
        _change_slot.release()


def run_all() -> Checklist:
    """Run every registered check. Never raises; takes at most RUN_SECONDS.

    Readers share runs through `golive.readiness.shared_runs`.
    """
    return run_checks(all_checks())


def fail_all(detail: str) -> Checklist:
    """A result for every registered check that says it was not run; `detail` is the reason."""
    return _fail_each(all_checks(), detail)


def run_checks(
    checks: Iterable[Check], *, run_seconds: float = RUN_SECONDS, each_seconds: float = CHECK_SECONDS
) -> Checklist:
    """Run checks one after the other; each may take `each_seconds`, all together `run_seconds`.

    A check that raises or does not end in time counts as failed, and its result says so.
    """
    order = list(checks)
    results: dict[str, CheckResult] = {}
    ends_at = time.monotonic() + run_seconds
    remaining = order
    while remaining and time.monotonic() < ends_at:
        hung = _Worker(remaining, each_seconds=each_seconds, ends_at=ends_at).gather(results)
        if hung is not None:
            results[hung.id] = _failed(hung, f"The check did not end within its {each_seconds:g} s.")
        remaining = [check for check in remaining if check.id not in results]
        if hung is None:
            break
    for check in remaining:
        results[check.id] = _failed(check, "There was no time left to run the check.")
    return Checklist.of(results[check.id] for check in order)


def _fail_each(checks: Iterable[Check], detail: str) -> Checklist:
    return Checklist.of(_failed(check, detail) for check in checks)


def _failed(check: Check, detail: str) -> CheckResult:
    return CheckResult(check.id, False, check.severity, check.message, detail, could_run=False)


class _Worker(threading.Thread):
    """A thread with its own connection that runs checks in order and reports each.

    Database waits end at their deadline. A check that hangs in anything else is abandoned with its thread and not
    started again while it hangs, so there is at most one such thread per check.
    """

    def __init__(self, checks: Sequence[Check], *, each_seconds: float, ends_at: float) -> None:
        super().__init__(name="golive-checks", daemon=True)
        self._checks = {check.id: check for check in checks}
        self._each_seconds = each_seconds
        self._ends_at = ends_at
        self._reports: queue.SimpleQueue[tuple[Check, CheckResult | None] | None] = queue.SimpleQueue()
        self._is_abandoned = False
        self._running = ""

    def gather(self, results: dict[str, CheckResult]) -> Check | None:
        """Start, and collect results until all are in (returns None) or a check hangs (returns that check)."""
        self.start()
        current: Check | None = None
        while True:
            limit = self._ends_at - time.monotonic()
            if current is not None:
                # Slightly more than the check's own deadline, so that a check that meets it can still report.
                limit = min(limit, self._each_seconds + 0.1)
            try:
                report = self._reports.get(timeout=max(0.0, limit))
            except queue.Empty:
                self._is_abandoned = True
                with _stuck_lock:
                    if current is not None and self._running == current.id:
                        _stuck[current.id] = self
                return current
            if report is None:
                return None
            current, result = report
            if result is not None:
                results[current.id] = result
                current = None

    def run(self) -> None:
        try:
            with ExitStack() as stack:
                is_up = self._open(stack)
                for check in self._checks.values():
                    if self._is_abandoned:
                        break
                    self._running = check.id
                    self._reports.put((check, None))
                    result = self._run_one(check, is_up=is_up)
                    is_up = is_up and connections[DEFAULT_DB_ALIAS].connection is not None
                    with _stuck_lock:
                        self._running = ""
                        if _stuck.get(check.id) is self:
                            del _stuck[check.id]
                    self._reports.put((check, result))
        except Exception:  # not only database errors: for a wrong parameter a driver may raise anything
            logger.warning("the checks lost the database", exc_info=True)
        finally:
            connections.close_all()
            self._reports.put(None)

    def _open(self, stack: ExitStack) -> bool:
        try:
            with database_deadline(self._ends_at - time.monotonic()):
                stack.enter_context(singletons.consistent_read())
        except Exception:
            logger.warning("the checks have no database", exc_info=True)
            return False
        return True

    def _run_one(self, check: Check, *, is_up: bool) -> CheckResult:
        with _stuck_lock:
            is_stuck = check.id in _stuck
        if is_stuck:
            return _failed(check, "The check is still running from an earlier call.")
        if check.needs_database and not is_up:
            return _failed(check, NO_DATABASE)
        connection = connections[DEFAULT_DB_ALIAS]
        try:
            savepoint = transaction.atomic() if connection.in_atomic_block else nullcontext()
            with database_deadline(min(self._each_seconds, self._ends_at - time.monotonic())), savepoint:
                finding = check.run()
            return CheckResult(check.id, finding.ok, check.severity, check.message, finding.detail)
        except StateUnknownError as error:
            return _failed(check, error.detail)
        except (Exception, SystemExit) as error:  # whatever the cause, a check that cannot run has failed
            logger.warning("check %s could not run", check.id, exc_info=True)
            return _failed(check, f"The check could not run ({type(error).__name__}).")
