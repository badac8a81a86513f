"""What goes wrong in a testbed while it is watched, one entry of `TROUBLES` each. All of it ends by itself."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import psutil
import psycopg

from tests.consistency.testbed import Testbed

_CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


def pause_worker(testbed: Testbed, rng: random.Random) -> None:
    """For less than a lease, or for several."""
    worker = _choose_worker(testbed, rng)
    worker.suspend()
    try:
        time.sleep(rng.choice([0.1, 0.4, 1.5]))
    finally:
        worker.resume()


def kill_worker(testbed: Testbed, rng: random.Random) -> None:
    _choose_worker(testbed, rng).kill()


def restart_database(testbed: Testbed, rng: random.Random) -> None:
    testbed.postgres.stop(rng.choice(["fast", "immediate"]))
    testbed.postgres.start_again()


def kill_database(testbed: Testbed, rng: random.Random) -> None:
    testbed.postgres.kill()
    time.sleep(rng.uniform(0, 0.5))
    testbed.postgres.start_again()


def freeze_database(testbed: Testbed, rng: random.Random) -> None:
    testbed.postgres.freeze()
    try:
        time.sleep(rng.choice([0.2, 0.6, 3.0]))
    finally:
        testbed.postgres.thaw()


def cut_connections(testbed: Testbed, rng: random.Random) -> None:
    testbed.postgres.execute(_CUT)


def hang_permit(testbed: Testbed, rng: random.Random) -> None:
    """A job that hangs under a permit, for less time than a stop waits for it, or for more."""
    hold(testbed, rng, "SELECT pg_advisory_xact_lock_shared(x'706572'::int, x'6D6974'::int)")


def hold_row(testbed: Testbed, rng: random.Random) -> None:
    """Somebody at a prompt who has begun a transaction and gone for coffee."""
    hold(testbed, rng, "SELECT FROM go_live_state WHERE id = 1 FOR UPDATE")


def hold(testbed: Testbed, rng: random.Random, statement: str) -> None:
    with psycopg.connect(testbed.url, connect_timeout=5) as connection:
        connection.execute(statement.encode())
        time.sleep(rng.choice([0.5, 3.5]))
        connection.rollback()


def make_read_only(testbed: Testbed, rng: random.Random) -> None:
    """As a managed database does when its disk is full; sessions take it on when they begin."""
    setting = "default_transaction_read_only"
    # From another database, since in this one it could not be taken back.
    _while(
        testbed,
        rng,
        f"ALTER DATABASE valhalla SET {setting} = on",
        f"ALTER DATABASE valhalla RESET {setting}",
        dbname="postgres",
    )


def lose_grant(testbed: Testbed, rng: random.Random) -> None:
    """What the services can no longer do is what every change needs."""
    _while(
        testbed, rng, "REVOKE INSERT ON golive_event FROM valhalla_web", "GRANT INSERT ON golive_event TO valhalla_web"
    )


def _while(testbed: Testbed, rng: random.Random, fault: str, repair: str, *, dbname: str = "valhalla") -> None:
    try:
        for statement in (fault, _CUT):
            testbed.postgres.execute(statement, dbname)
        time.sleep(rng.uniform(0.3, 1.5))
    finally:
        for statement in (repair, _CUT):
            testbed.postgres.execute(statement, dbname)


def load_processors(testbed: Testbed, rng: random.Random) -> None:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(psutil.cpu_count() or 1)]
    try:
        time.sleep(rng.uniform(0.5, 1.5))
    finally:
        for process in busy:
            process.kill()
            process.wait()


TROUBLES: dict[str, Callable[[Testbed, random.Random], None]] = {
    "worker paused": pause_worker,
    "worker killed": kill_worker,
    "database restarted": restart_database,
    "database killed": kill_database,
    "database frozen": freeze_database,
    "connections cut": cut_connections,
    "processors busy": load_processors,
    "permit hung": hang_permit,
    "row held": hold_row,
    "database read-only": make_read_only,
    "grant lost": lose_grant,
}


class Chaos(threading.Thread):
    """One trouble after the other, all of them once before any comes again. `calm` is held while none may come."""

    def __init__(self, testbed: Testbed, rng: random.Random, *, pause_seconds: float) -> None:
        super().__init__(name="chaos", daemon=True)
        self._testbed, self._rng, self._pause = testbed, rng, pause_seconds
        self._stopping = threading.Event()
        self.calm = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.error: BaseException | None = None

    def run(self) -> None:
        deck: list[str] = []
        while not self._stopping.wait(self._rng.uniform(0.3, 1.7) * self._pause):
            if not deck:
                deck = sorted(TROUBLES)
                self._rng.shuffle(deck)
            name = deck.pop()
            with self.calm:
                try:
                    with suppress(psutil.NoSuchProcess, psycopg.OperationalError):
                        TROUBLES[name](self._testbed, self._rng)
                except Exception as error:  # noqa: BLE001
                    # For the director: a testbed that could not be repaired proves nothing.
                    self.error = error
                    return
            self.counts[name] += 1

    def stop(self) -> None:
        self._stopping.set()
        if self.is_alive():
            self.join(90)


def _choose_worker(testbed: Testbed, rng: random.Random) -> psutil.Process:
    service = rng.choice(testbed.services)
    pids = service.worker_pids()
    if not pids:
        raise psutil.NoSuchProcess(0)
    return psutil.Process(rng.choice(pids))
