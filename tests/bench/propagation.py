"""How long after an acknowledged stop somebody is still let through: here, and with the peers."""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from golive.domain.changes import CHANGES
from tests.api.service import manage
from tests.bench import peers, servers
from tests.bench.load import FAILURES, BenchError
from tests.bench.readers import Question, Readers
from tests.support.postgres import PostgresServer
from tests.support.server import GunicornServer, request

SERVICES = 2
READERS_EACH = 4
PEER_STOPS = 20
# One that does not see a stop in its window is not waited for: so few are enough to say so.
STALE_STOPS = 5
START_SECONDS, START_TRIES = 3.0, 20
# What an acknowledgement may take beyond the lease, at the median.
ACKNOWLEDGED_WITHIN_MS = 50
Json = dict[str, Any]


@dataclass(frozen=True)
class System:
    """Something that can be started and stopped. `stop` returns when the stop is acknowledged.

    After each stop the readers are watched for `window_seconds`.
    """

    name: str
    label: str
    questions: Sequence[Question]
    start: Callable[[], None]
    stop: Callable[[], None]
    stops: int
    window_seconds: float = 0.4


@dataclass
class Outcome:
    """Of all stops: milliseconds from the acknowledgement to the last request that was let through (negative: before),
    and milliseconds that the acknowledgement took. `unseen` stops had not reached everybody when the window ended."""

    delays_ms: list[float] = field(default_factory=list)
    acknowledged_ms: list[float] = field(default_factory=list)
    unseen: int = 0
    answers: int = 0

    @property
    def violations(self) -> int:
        return sum(delay > 0 for delay in self.delays_ms)

    def summarize(self) -> Json:
        return {
            "stops": len(self.delays_ms),
            "answers": self.answers,
            "violations": self.violations,
            "unseen": self.unseen,
            "delay_ms": _describe(self.delays_ms),
            "acknowledged_ms": _describe(self.acknowledged_ms),
            "delays_ms": [round(delay, 1) for delay in sorted(self.delays_ms)],
        }


def _describe(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    found = {
        "min": ordered[0],
        "median": statistics.median(ordered),
        "p99": ordered[min(len(ordered) - 1, round(0.99 * (len(ordered) - 1)))],
        "max": ordered[-1],
    }
    return {name: round(value, 1) for name, value in found.items()}


def run_propagation(*, stops: int, with_peers: bool) -> Json:
    """Measure one after the other, so that none disturbs another. The result."""
    sys.setswitchinterval(0.0005)  # the readers share this process, and their times count
    result: Json = {"systems": {}, "not_run": {}}
    with PostgresServer() as postgres:
        makers: dict[str, AbstractContextManager[System]] = {"service": running_service(postgres, stops)}
        if with_peers:
            makers |= {name: running_python_peer(postgres, name) for name in servers.PYTHON_PEERS}
            makers["unleash"] = running_unleash(postgres)
        for name, maker in makers.items():
            try:
                with maker as system:
                    print(f"{system.label}: {system.stops} stops", flush=True)
                    outcome = watch(system)
                result["systems"][name] = {"label": system.label, **outcome.summarize()}
            except FAILURES as error:
                if name == "service":
                    raise
                result["not_run"][name] = str(error)
        result["lease_ms"] = LEASE_MS
    _print(result)
    return result


def watch(system: System) -> Outcome:
    """Start and stop, again and again, while readers ask. Raises BenchError."""
    outcome = Outcome()
    for _ in range(system.stops):
        with Readers(system.questions) as readers:
            _start(system, readers)
            time.sleep(random.uniform(0, 0.05))
            asked_at = time.monotonic()
            system.stop()
            acknowledged_at = time.monotonic()
            time.sleep(system.window_seconds)
            outcome.unseen += readers.is_any_allowed
            outcome.delays_ms.append((readers.find_last_allowed() - acknowledged_at) * 1000)
            outcome.acknowledged_ms.append((acknowledged_at - asked_at) * 1000)
            outcome.answers += readers.count
    return outcome


def _start(system: System, readers: Readers) -> None:
    """Again until every reader sees it: a peer may tell only the worker that was asked."""
    for _ in range(START_TRIES):
        system.start()
        if readers.await_allowed(START_SECONDS / 10):
            return
    if not readers.await_allowed(START_SECONDS):
        readers.find_last_allowed()
        raise BenchError(f"{system.label} does not start")


# -- what is started and stopped ---------------------------------------------------------------------------------------

LEASE_MS = 250


@contextmanager
def running_service(postgres: PostgresServer, stops: int) -> Iterator[System]:
    """Two services on one database; the stops go to each in turn, the readers ask gate and state of both."""
    environment = servers.make_environment(postgres, "service")
    servers.go_live(environment)
    scopes = [part for scope in ("engage", "release") for part in ("--scope", scope)]
    token = manage(environment, "golive", "token", "create", "bench", *scopes).strip()
    with ExitStack() as stack:
        running = [stack.enter_context(GunicornServer(environment, workers=servers.WORKERS)) for _ in range(SERVICES)]
        turns = [0]

        def change(name: str) -> None:
            turns[0] += 1
            url = running[turns[0] // 2 % SERVICES].url(CHANGES[name].path)
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            _expect_200(request("POST", url, headers=headers, body='{"reason": "To be measured"}').status, name)

        questions = [
            question
            for server in running
            for question in (
                Question(server.url("/gate"), lambda status, _: status == 200),
                Question(server.url(servers.STATE_PATH), lambda _, body: bool(json.loads(body)["execution_allowed"])),
            )
        ]
        yield System(
            "service",
            f"Valhalla, {SERVICES} services",
            questions * (READERS_EACH // 2),
            lambda: change("release"),
            lambda: change("engage"),
            stops,
        )


@contextmanager
def running_python_peer(postgres: PostgresServer, name: str) -> Iterator[System]:
    is_stale = name == "waffle"
    with servers.running_python_peer(name, postgres) as server:
        question = Question(server.url("/decision"), lambda _, body: bool(json.loads(body)["allowed"]))

        def turn(to: str) -> None:
            _expect_200(request("POST", server.url(f"/set/{to}")).status, name)

        yield System(
            name,
            servers.PYTHON_PEERS[name],
            [question] * READERS_EACH,
            lambda: turn("on"),
            lambda: turn("off"),
            STALE_STOPS if is_stale else PEER_STOPS,
            window_seconds=2.0 if is_stale else 0.4,
        )


@contextmanager
def running_unleash(postgres: PostgresServer) -> Iterator[System]:
    """By its frontend API, asked over HTTP: a client of its SDK would poll every 15 s on top of that."""
    peers.install_unleash()
    with peers.running_unleash(postgres.create_database("unleash")) as unleash:
        question = Question(
            unleash.reading_url,
            lambda _, body: any(toggle["name"] == peers.FLAG for toggle in json.loads(body)["toggles"]),
            {"Authorization": peers.READER_TOKEN},
        )
        yield System(
            "unleash",
            servers.UNLEASH[1][1],
            [question] * READERS_EACH,
            lambda: unleash.set_flag("on"),
            lambda: unleash.set_flag("off"),
            PEER_STOPS,
            window_seconds=2.0,
        )


def _expect_200(status: int, what: str) -> None:
    if status != 200:
        raise BenchError(f"{what} answers {status}")


def _print(result: Json) -> None:
    print("\nMilliseconds from the acknowledged stop to the last request that was let through (negative: before it)\n")
    print(f"{'':<34}{'stops':>6}{'min':>9}{'median':>9}{'p99':>9}{'max':>9}  let through after it")
    for found in result["systems"].values():
        delay = found["delay_ms"]
        numbers = "".join(f"{delay[name]:>9.1f}" for name in ("min", "median", "p99", "max"))
        unseen = f", {found['unseen']} of them for longer than was watched" if found["unseen"] else ""
        print(f"{found['label']:<34}{found['stops']:>6}{numbers}  {found['violations']} of {found['stops']}{unseen}")
    for name, reason in result["not_run"].items():
        print(f"NOT RUN: {name}: {reason}")
    if "service" in result["systems"]:
        median, limit = result["systems"]["service"]["acknowledged_ms"]["median"], LEASE_MS + ACKNOWLEDGED_WITHIN_MS
        told = "met" if median <= limit else "NOT MET"
        print(f"\nA stop is acknowledged in {median:.0f} ms at the median; at most {limit} ms (the lease + 50): {told}")
