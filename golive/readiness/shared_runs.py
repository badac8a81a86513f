"""Check runs shared by all readers: checklist, runbook, `/readyz` and the operator console.

At most one run is in progress per process, so that it costs one connection however many readers there are. A request
gets a result within its short lease, or that of a run that started after the request arrived (as in
`golive.state.snapshots`). A frequent reader never waits, since a result is refreshed before it expires.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from golive.database.deadline import remaining_seconds
from golive.domain.checklist import Checklist
from golive.readiness import registry, runner
from golive.state import leases, snapshots

logger = logging.getLogger(__name__)

# How long a result may be served, from the end of its run. It expires at once if a row changes or becomes unknown.
LEASE_MS = 1000
# After a check that could not run: it may be able to in a moment.
FAILURE_LEASE_MS = 100
# For readers that may not wait: when the service is busy, a recent result is better than none.
MAX_STALE_SECONDS = 10.0
# Slightly more than a run may take, so that a run that uses all its time still reaches those who wait.
WAIT_SECONDS = runner.RUN_SECONDS + 0.1

TOO_MANY = "The check was not run: too many requests. Try again in a second."
TOO_LATE = "The check did not end in time."
FAILED = "The check could not run."


def read_checklist(*, may_wait: bool = True) -> Checklist:
    """The checklist, warnings included. Never raises, like all functions here."""
    ids = registry.all_checklist_ids()
    return Checklist.of(result for result in read_all(may_wait=may_wait).results if result.id in ids)


def read_named(*ids: str, may_wait: bool = True) -> Checklist:
    """The named checks, in that order."""
    results = {result.id: result for result in read_all(may_wait=may_wait).results}
    return Checklist.of(results[id] for id in ids)


def read_all(*, may_wait: bool = True) -> Checklist:
    """Every check. Without `may_wait` only from an existing result; if there is none, every check has failed."""
    return _shared.read(may_wait=may_wait)


@dataclass(frozen=True)
class _CachedRun:
    """A result that may be served until `expires_at` (`leases.boottime`) while the rows are unchanged.

    Readers that may not wait may get it until `stale_expires_at`.
    """

    checklist: Checklist
    rows: Any
    renew_at: float
    expires_at: float
    stale_expires_at: float


class SharedRun:
    """Runs `source` on a thread of its own on demand, once for all who wait."""

    def __init__(self, source: Callable[[], Checklist]) -> None:
        self._source = source
        self._condition = threading.Condition()
        self._is_wanted = self._is_running = False
        # Runs are numbered; `_outcome` is the outcome of run `_ended`.
        self._begun = self._ended = 0
        self._outcome = Checklist.of(())
        self._cached: _CachedRun | None = None

    def read(self, *, may_wait: bool = True) -> Checklist:
        cached, now = self._cached, leases.boottime()
        if cached is not None and _is_valid(cached, now, is_strict=may_wait):
            if now >= cached.renew_at and self._begun == self._ended:
                with self._condition:
                    self._demand()
            return cached.checklist
        if not may_wait:
            return runner.fail_all(TOO_MANY)
        return self._await_run(now)

    def _await_run(self, arrived_at: float) -> Checklist:
        remaining = remaining_seconds()
        gives_up_at = arrived_at + (WAIT_SECONDS if remaining is None else min(WAIT_SECONDS, remaining))
        with self._condition:
            # The run in progress may have made its checks before this request arrived.
            ticket = self._begun + 1
            if not self._demand():
                return runner.fail_all(TOO_MANY)
            if self._condition.wait_for(lambda: self._ended >= ticket, max(0.0, gives_up_at - leases.boottime())):
                return self._outcome
        return runner.fail_all(TOO_LATE)

    def _demand(self) -> bool:
        """Request a run; call with the lock held. False: no thread could be started."""
        self._is_wanted = True
        if self._is_running:
            return True
        try:
            threading.Thread(target=self._work, name="golive-shared-run", daemon=True).start()
        except RuntimeError:
            self._is_wanted = False
            return False
        self._is_running = True
        return True

    def _work(self) -> None:
        """Run while runs are requested, then end, so that an idle process has no thread or connection left over."""
        while True:
            with self._condition:
                if not self._is_wanted:
                    self._is_running = False
                    return
                self._is_wanted = False
                self._begun += 1
            began_at = leases.boottime()
            rows = _known_rows()
            outcome = self._run()
            with self._condition:
                self._store(outcome, rows, began_at)
                self._ended, self._outcome = self._begun, outcome
                self._condition.notify_all()

    def _run(self) -> Checklist:
        try:
            return self._source()
        except Exception:
            logger.exception("the checks could not be run")
            return runner.fail_all(FAILED)

    def _store(self, outcome: Checklist, rows: Any, began_at: float) -> None:
        has_run = all(result.could_run for result in outcome.results)
        now, seconds = leases.boottime(), leases.lease_seconds(LEASE_MS if has_run else FAILURE_LEASE_MS)
        # Half the lease before it expires, or the time of two runs: the next run may take longer than this one.
        ahead = min(seconds, max(seconds / 2, 2 * (now - began_at)))
        # If a check could not run, it may be able to in a moment: do not serve the result for longer.
        stale_expires_at = now + (max(seconds, MAX_STALE_SECONDS) if has_run else seconds)
        self._cached = (
            None if rows is None else _CachedRun(outcome, rows, now + seconds - ahead, now + seconds, stale_expires_at)
        )


def _is_valid(cached: _CachedRun, now: float, *, is_strict: bool) -> bool:
    """Whether it has not expired and the rows are unchanged; if not `is_strict`, the rows need only be known.

    Age alone is not enough: without a database nothing is known, and readers must see that at once.
    """
    rows = _known_rows()
    if is_strict:
        return now < cached.expires_at and rows == cached.rows
    return now < cached.stale_expires_at and rows is not None


def _known_rows() -> Any:
    """Both rows of the current snapshot; None if either is unknown."""
    snapshot = snapshots.read_snapshot()
    if snapshot.go_live is None or snapshot.system is None:
        return None
    return snapshot.go_live, snapshot.system


def _reset_after_fork() -> None:
    """A forked child has no thread that runs the checks."""
    global _shared  # noqa: PLW0603 - one per process
    _shared = SharedRun(runner.run_all)


_shared = SharedRun(runner.run_all)
os.register_at_fork(after_in_child=_reset_after_fork)
