"""A streaming standby of a PostgresServer, whose replay can be held up."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.postgres import PostgresError, PostgresServer


@dataclass
class StandbyServer(PostgresServer):
    """Starts as a copy of `primary`, which must be running, and follows it."""

    primary: PostgresServer = field(default_factory=PostgresServer, kw_only=True)

    def _initialize(self) -> None:
        command = [self._bin / "pg_basebackup", "--pgdata", self._path / "data", "--dbname", self.primary.url()]
        command += ["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]
        run: Callable[..., subprocess.CompletedProcess[str]] = subprocess.run
        options = self._account.process_options
        done = run(command, capture_output=True, text=True, timeout=120, check=False, **options)
        if done.returncode != 0:
            raise PostgresError(f"pg_basebackup failed: {done.stderr.strip()}")

    def hold_replay(self) -> None:
        """From now on it shows what it has replayed, as if it lagged behind."""
        self.execute("SELECT pg_wal_replay_pause()")
        # The request is asynchronous.
        while self.execute("SELECT pg_get_wal_replay_pause_state()") != [("paused",)]:
            pass

    def resume_replay(self) -> None:
        self.execute("SELECT pg_wal_replay_resume()")
