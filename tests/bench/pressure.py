"""Load on what is open to everybody, beside the gate and a stop, on a long record: `python -m tests.bench.pressure`.

64 anonymous readers of checklist, runbook and `/readyz` and 32 wrong sign-ins ask all the time. Figures are printed and
held against nothing but the goals beside them: they depend on the machine.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import statistics
import subprocess
import sys
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any

import django
import psycopg

import tests.support.environment  # noqa: F401 - no developer's .env decides

os.environ["DJANGO_SETTINGS_MODULE"] = "valhalla.settings"
django.setup()

from golive.domain.changes import ENGAGE  # noqa: E402 - after Django's start
from tests.api.service import Service, manage, running_service  # noqa: E402 - after Django's start
from tests.support.postgres import PostgresServer  # noqa: E402
from tests.support.server import ROOT, clean_environment  # noqa: E402
from valhalla.environment import SERVER_THREADS  # noqa: E402

READERS, SIGN_INS, WORKERS = 64, 32, 2
BOUND = WORKERS * (SERVER_THREADS + 6)
PATHS = (
    "/api/governance/go-live/checklist",
    "/api/governance/runbook/status",
    "/api/governance/runbook/markdown",
    "/readyz",
)
CSRF = "c" * 32
# Events by the product, so that the chain holds where the checks look; each by another, so that none are gathered.
REAL_EVENTS = 510

_FILL = """
INSERT INTO golive_event (sequence, at, actor, channel, subject, action, reason, changed, override, after,
    hash_version, previous_hash, hash)
SELECT newest.sequence + n, now(), 'bench', 'api', 'go_live_state', 'engage', '', false, false, newest.after,
    1, CASE n WHEN 1 THEN newest.hash ELSE md5((n - 1)::text) END, md5(n::text)
FROM generate_series(1, {count}) AS n, (SELECT head.sequence, head.hash, row.after
    FROM (SELECT * FROM golive_event ORDER BY sequence DESC LIMIT 1) AS head,
    (SELECT * FROM golive_event WHERE subject = 'go_live_state' ORDER BY sequence DESC LIMIT 1) AS row) AS newest
"""
_WRITE = """
import django; django.setup()
from golive import controls
from golive.domain.changes import ENGAGE, Actor, Channel
for number in range({count}):
    actor = Actor(name=f"bench-{{number}}", permissions=frozenset({{ENGAGE.permission}}))
    controls.apply_change(ENGAGE, actor=actor, reason="To be measured", channel=Channel.CLI)
"""


@dataclass
class Question:
    """A request that is sent again and again, and how long each answer took."""

    name: str
    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = field(kw_only=True)
    goal: str = field(kw_only=True)
    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def ask_until(self, ends_at: float, port: int) -> None:
        while time.monotonic() < ends_at:
            began = time.monotonic()
            self.statuses[_request(port, self.method, self.path, self.headers)] += 1
            self.seconds.append(time.monotonic() - began)
            time.sleep(self.pause)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pressure", description=__doc__)
    parser.add_argument("--events", type=int, default=1_200_000, help="in the record (1200000)")
    parser.add_argument("--seconds", type=int, default=30, help="under load (30)")
    options = parser.parse_args(arguments)
    with PostgresServer() as postgres:
        url = postgres.create_database("pressure")
        with running_service(database_url=url, workers=WORKERS, GOLIVE_TRUSTED_PROXIES="1") as service:
            token = service.token("engage")
            _fill(postgres, service, options.events)
            print(f"{options.events:,} events; load of the machine before: {os.getloadavg()[0]:.1f}", flush=True)
            for title, is_loaded in (("quiet", False), ("under load", True)):
                print(f"\n{title}:")
                _measure(postgres, service, token, options.seconds if is_loaded else 5, is_loaded=is_loaded)
            print(f"\nload of the machine after: {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    return 0


def _fill(postgres: PostgresServer, service: Service, count: int) -> None:
    postgres.execute(_FILL.format(count=count), "pressure")
    postgres.execute(f"UPDATE go_live_state SET event_head = md5('{count}'), lease_ms = 0", "pressure")
    environment = clean_environment({**service.environment, "DJANGO_SETTINGS_MODULE": "valhalla.settings"})
    code = _WRITE.format(count=REAL_EVENTS)
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)
    manage(service.environment, "golive", "lease", "250", "--reason", "To be measured")
    postgres.execute("VACUUM ANALYZE golive_event", "pressure")


def _measure(postgres: PostgresServer, service: Service, token: str, seconds: float, *, is_loaded: bool) -> None:
    spawn = multiprocessing.get_context("spawn")
    is_over, counts = spawn.Event(), spawn.Queue()
    crowds = [
        spawn.Process(target=_crowd, args=(work, number, service.server.port, is_over, counts))
        for work, number in ((_read, READERS), (_sign_in, SIGN_INS))
        if is_loaded
    ]
    for crowd in crowds:
        crowd.start()
    time.sleep(3 if is_loaded else 0)
    stop = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    questions = [
        Question("gate", "GET", "/gate/", pause=0.02, goal="1 s"),
        Question("health", "GET", "/health", pause=0.1, goal="1 s"),
        Question("engage", "POST", ENGAGE.path, stop, pause=0.3, goal="2 s and the lease"),
    ]
    ends_at = time.monotonic() + seconds
    askers = [threading.Thread(target=each.ask_until, args=(ends_at, service.server.port)) for each in questions]
    for asker in askers:
        asker.start()
    most = _watch_connections(postgres, ends_at)
    for asker in askers:
        asker.join()
    is_over.set()
    answered: Counter[tuple[str, int]] = sum((counts.get() for _ in crowds), Counter())
    for crowd in crowds:
        crowd.join()
    for each in questions:
        taken = sorted(each.seconds)
        p50, p99 = statistics.median(taken), taken[int(len(taken) * 0.99)]
        figures = f"p50 {p50:.3f} s, p99 {p99:.3f} s, max {taken[-1]:.3f} s (goal: {each.goal})"
        print(f"  {each.name:8}{len(taken):6} answers: {figures}; {dict(each.statuses)}")
    print(f"  connections at most {most} (bound: {BOUND})")
    for (path, status), number in sorted(answered.items()):
        print(f"    {path} {status}: {number}")


def _request(port: int, method: str, path: str, headers: dict[str, str], body: str | None = None) -> int:
    """The status; 0 where no answer came."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    with suppress(OSError, HTTPException):
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status
    connection.close()
    return 0


def _watch_connections(postgres: PostgresServer, ends_at: float) -> int:
    most = 0
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as watcher:
        while time.monotonic() < ends_at:
            row = watcher.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = 'pressure'").fetchone()
            most = max(most, row[0] if row else 0)
            time.sleep(0.05)
    return most


def _crowd(work: Callable[[int, int], tuple[str, int]], size: int, port: int, is_over: Any, counts: Any) -> None:
    """So many that ask all the time, in a process of their own."""
    seen: Counter[tuple[str, int]] = Counter()

    def ask_always(number: int) -> None:
        for step in itertools.count(number):
            if is_over.is_set():
                return
            seen[work(port, step)] += 1

    threads = [threading.Thread(target=ask_always, args=(number * 1000,)) for number in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts.put(seen)


def _read(port: int, step: int) -> tuple[str, int]:
    path = PATHS[step % len(PATHS)]
    return path, _request(port, "GET", path, {})


def _sign_in(port: int, step: int) -> tuple[str, int]:
    """Each from an address of its own, so that no limit of an address helps."""
    headers = {
        "Cookie": f"csrftoken={CSRF}",
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Forwarded-For": f"10.{step >> 16 & 255}.{step >> 8 & 255}.{step & 255}",
    }
    form = {"username": f"user{step}", "password": "wrong", "csrfmiddlewaretoken": CSRF}
    return "/admin/login/", _request(port, "POST", "/admin/login/", headers, urllib.parse.urlencode(form))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
