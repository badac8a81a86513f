"""Retry what failed because of a table lock, and report who held it if retrying does not help."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from django.core.management.base import CommandError
from django.db import Error, OperationalError

from golive.deploys.connection import Limits
from golive.deploys.executor import UnderWay
from golive.deploys.lock import MigrationLock
from golive.domain.errors import UnavailableError
from golive.text import make_visible

PAUSE_SECONDS = 2.0
_LOCK_NOT_AVAILABLE, _DEADLOCK, _QUERY_CANCELED = "55P03", "40P01", "57014"
_CONNECTION_LOST = ("08", "57P")


@dataclass
class Attempts:
    """Runs a step until it succeeds, at most `limits.ddl_tries` times; without a `lock` (SQLite) only once."""

    lock: MigrationLock | None
    limits: Limits
    under_way: UnderWay
    report: Callable[[str], None]

    def run(self, step: Callable[[], None]) -> None:
        """Raises CommandError with the remedy, LockError if the lock is lost, and any other error of the step."""
        if self.lock is None:
            step()
            return
        attempt = 0
        while True:
            attempt += 1
            self.lock.forget_blockers()
            self.under_way.migration, self.under_way.is_atomic = None, True
            try:
                step()
                return
            except (Error, UnavailableError) as error:
                self.lock.check()
                refusal = self._classify(error, attempt, self.lock.blockers)
                if refusal is None:
                    raise
                if refusal:
                    raise CommandError(refusal) from error
            time.sleep(PAUSE_SECONDS)

    def _classify(self, error: Exception, attempt: int, blockers: tuple[str, ...]) -> str | None:
        """Why not to retry; empty if a retry may help; None if the error has nothing to do with locks."""
        sqlstate, message, is_operational = _describe(error)
        where = f"{self.under_way.migration}: " if self.under_way.migration else ""
        blocked = "\n".join(["Blocked by:", *(f"  {blocker}" for blocker in blockers or ("unknown",))])
        if sqlstate.startswith(_CONNECTION_LOST) or (not sqlstate and is_operational):
            is_atomic = self.under_way.is_atomic
            rest = "is rolled back, or done if it was at its COMMIT" if is_atomic else "is not atomic and stays in part"
            return f"{where}The connection was lost: {message}. The migration in progress {rest}. Run migrate again."
        if sqlstate not in (_LOCK_NOT_AVAILABLE, _DEADLOCK, _QUERY_CANCELED):
            return None
        if not self.under_way.is_atomic:
            return (
                f"{where}{message}. This migration is not atomic: what it did before stays, perhaps with an invalid "
                f"index. Look, and put it right before migrating again. {blocked}"
            )
        if sqlstate == _QUERY_CANCELED:
            limit = f"--ddl-statement-timeout is {self.limits.ddl_statement_ms} ms"
            return f"{where}{message} ({limit}); it was rolled back. {blocked}"
        if attempt >= self.limits.ddl_tries:
            return (
                f"{where}A lock was not acquired in {attempt} tries (--ddl-tries) of {self.limits.ddl_lock_ms} ms "
                f"(--ddl-lock-timeout); what was applied before stays, this is rolled back. {blocked}\n"
                "Let them end, or end them (SELECT pg_terminate_backend(PID)), and run migrate again."
            )
        self.report(f"\n{where}{message}. Trying again ({attempt} of {self.limits.ddl_tries}). {blocked}")
        return ""


def _describe(error: Exception) -> tuple[str, str, bool]:
    """SQLSTATE (may be empty), the first line of the database's message, and whether it is an OperationalError."""
    links: list[BaseException] = [error]
    while links[-1].__cause__ is not None:
        links.append(links[-1].__cause__)
    sqlstate: str = next(filter(None, (getattr(link, "sqlstate", None) for link in links)), "")
    text = next(iter(str(links[-1]).strip().splitlines()), type(error).__name__)
    return sqlstate, make_visible(text.rstrip(".")), any(isinstance(link, OperationalError) for link in links)
