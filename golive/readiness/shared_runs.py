"""The checks for whoever only reads: checklist, runbook, `/readyz` and the operator's pages share their runs.

At most one run is under way for all of them in a process, so that it costs one connection however many ask. A request
is answered by a result within its short lease, or by a run that started after the request came (as in
`golive.state.snapshots`). Who asks all the time waits for nobody, since a result is renewed ahead of its end.
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

# How long a result may answer, counted from the end of its run. It ends at once when a row changes or is not known.
LEASE_MS = 1000
# When a check could not run: it may be able to in a moment.
FAILURE_LEASE_MS = 100
# For whoever may not wait: a busy service whose checks have just passed is not one of which nothing is known.
CROWD_SECONDS = 10.0
# A little more than a run may take, so that one which uses all its time can still answer those who wait.
WAIT_SECONDS = runner.RUN_SECONDS + 0.1

TOO_MANY = "The check was not run: too many ask at this moment. Ask again in a second."
TOO_LATE = "The check did not end in time."
FAILED = "The check could not run."


def read_checklist(*, may_wait: bool = True) -> Checklist:
    """What must hold before going toward live, and the warnings. Never raises, as all of these."""
    ids = registry.all_checklist_ids()
    return Checklist.of(result for result in read_all(may_wait=may_wait).results if result.id in ids)


def read_named(*ids: str, may_wait: bool = True) -> Checklist:
    """The named checks, in that order."""
    results = {result.id: result for result in read_all(may_wait=may_wait).results}
    return Checklist.of(results[id] for id in ids)


def read_all(*, may_wait: bool = True) -> Checklist:
    """Every check. Without `may_wait` from a result that is there already; where there is none, each has failed."""
    return _shared.read(may_wait=may_wait)


@dataclass(frozen=True)
class _CachedRun:
    """A result that may go on answering until `expires_at` (`leases.boottime`), while the rows are as they were.

    Whoever may not wait is answered by it until `crowd_expires_at`.
    """

    checklist: Checklist
    rows: Any
    renew_at: float
    expires_at: float
    crowd_expires_at: float


class SharedRun:
    """Runs `source` in a thread of its own when somebody asks, once for all who wait."""

    def __init__(self, source: Callable[[], Checklist]) -> None:
        self._source = source
        self._condition = threading.Condition()
        self._is_wanted = self._is_running = False
        # Runs are numbered; `_outcome` is of run `_ended`.
        self._begun = self._ended = 0
        self._outcome = Checklist.of(())
        self._cached: _CachedRun | None = None

    def read(self, *, may_wait: bool = True) -> Checklist:
        cached, now = self._cached, leases.boottime()
        if cached is not None and _is_still_good(cached, now, is_strict=may_wait):
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
            # The run under way may have looked before this request came.
            ticket = self._begun + 1
            if not self._demand():
                return runner.fail_all(TOO_MANY)
            if self._condition.wait_for(lambda: self._ended >= ticket, max(0.0, gives_up_at - leases.boottime())):
                return self._outcome
        return runner.fail_all(TOO_LATE)

    def _demand(self) -> bool:
        """Have a run begun, with the lock held. False: no thread can be had for it."""
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
        """Run for as long as somebody asks; then end, so that nothing stays behind in a quiet process."""
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
        # Half of the lease before its end, or as long as two runs, for the next may take longer than this one.
        ahead = min(seconds, max(seconds / 2, 2 * (now - began_at)))
        # Rows that are not known may be known in a moment, and somebody waits for that.
        crowd_expires_at = now + (max(seconds, CROWD_SECONDS) if has_run else seconds)
        self._cached = (
            None if rows is None else _CachedRun(outcome, rows, now + seconds - ahead, now + seconds, crowd_expires_at)
        )


def _is_still_good(cached: _CachedRun, now: float, *, is_strict: bool) -> bool:
    """Whether it has not expired and the rows are as they were; for who may not wait it is enough that they are known.

    Not by the age of the run alone: without a database nothing is known, and everybody is told at once.
    """
    rows = _known_rows()
    if is_strict:
        return now < cached.expires_at and rows == cached.rows
    return now < cached.crowd_expires_at and rows is not None


def _known_rows() -> Any:
    """Both rows as they may be answered now; None where one of them is not known."""
    snapshot = snapshots.read_snapshot()
    if snapshot.go_live is None or snapshot.system is None:
        return None
    return snapshot.go_live, snapshot.system


def _start_anew() -> None:
    """A fork has no thread that runs the checks."""
    global _shared  # noqa: PLW0603 - one process, one run
    _shared = SharedRun(runner.run_all)


_shared = SharedRun(runner.run_all)
os.register_at_fork(after_in_child=_start_anew)
