"""All that is measured, running at once: the service, what it could be at best, and the peers."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from golive.api.ofrep import FLAGS_PATH
from tests.api.service import manage
from tests.bench import peers
from tests.bench.load import FAILURES, BenchError, Subject
from tests.support.postgres import PostgresServer
from tests.support.server import ROOT, GunicornServer, clean_environment, request

WORKERS = 2
PROJECT = "tests.bench.project.wsgi:application"
STATE_PATH = "/api/governance/go-live/state"
SECRET_KEY = "only-for-the-benchmark-" + "0" * 40
# Headers that gunicorn sets by itself, whatever the application.
_OF_GUNICORN = {"server", "date", "connection"}
PYTHON_PEERS = {
    "waffle": "django-waffle, default cache",
    "waffle-uncached": "django-waffle, no cache",
    "constance": "django-constance, database",
}
UNLEASH = {1: ("unleash", "Unleash, as it comes"), WORKERS: ("unleash-2", "Unleash, two processes")}


@dataclass
class Field:
    """What runs, and, in `not_run`, what does not, with the reason."""

    subjects: list[Subject] = field(default_factory=list)
    not_run: dict[str, str] = field(default_factory=dict)


@contextmanager
def running_field(*, with_peers: bool = True) -> Iterator[Field]:
    """Everything on one PostgreSQL server, in a state that allows execution. Raises BenchError, ServerError."""
    found = Field()
    with ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer())
        environment = make_environment(postgres, "service")
        go_live(environment)
        service = stack.enter_context(GunicornServer(environment, workers=WORKERS))
        found.subjects += [
            Subject("gate", "the gate", service.url("/gate")),
            Subject("state", "the state", service.url(STATE_PATH)),
            Subject("status", "/api/status", service.url("/api/status")),
            Subject("ofrep", "OFREP, one flag", service.url(f"{FLAGS_PATH}/execution-allowed"), body='{"context": {}}'),
        ]
        found.subjects.append(Subject("bare", "bare WSGI", stack.enter_context(_running_bare(service)).url("/gate")))
        views = stack.enter_context(
            GunicornServer(environment | {"BENCH_PEER": ""}, workers=WORKERS, application=PROJECT, health_path="/empty")
        )
        found.subjects.append(Subject("empty", "empty Django view", views.url("/empty")))
        found.subjects.append(Subject("empty-endpoint", "empty endpoint", views.url("/empty-endpoint")))
        found.subjects.append(Subject("orm", "the row by the ORM", views.url("/orm")))
        if with_peers:
            _add_peers(found, stack, postgres)
        yield found


def make_environment(postgres: PostgresServer, name: str) -> dict[str, str]:
    return {"DATABASE_URL": postgres.create_database(name), "SECRET_KEY": SECRET_KEY}


def go_live(environment: dict[str, str]) -> None:
    """Migrate, and allow execution."""
    manage(environment, "migrate", "--noinput")
    for change in ("complete", "release", "enable"):
        manage(environment, "golive", change, "--reason", "To be measured")


@contextmanager
def _running_bare(service: GunicornServer) -> Iterator[GunicornServer]:
    """An application that always answers what the gate answers now: the same bytes, the same headers."""
    answer = request("GET", service.url("/gate"))
    if answer.status != 200:
        raise BenchError(f"the gate answers {answer.status}")
    headers = [[name, value] for name, value in answer.headers.items() if name.lower() not in _OF_GUNICORN]
    with tempfile.TemporaryDirectory(prefix="valhalla-bench-") as folder:
        path = Path(folder) / "answer.json"
        path.write_text(json.dumps({"headers": headers, "body": answer.text}))
        environment = {"BENCH_ANSWER": str(path)}
        with GunicornServer(environment, workers=WORKERS, application="tests.bench.bare:application") as server:
            yield server


def _add_peers(found: Field, stack: ExitStack, postgres: PostgresServer) -> None:
    for name, label in PYTHON_PEERS.items():
        try:
            server = stack.enter_context(running_python_peer(name, postgres))
            found.subjects.append(Subject(name, label, server.url("/decision")))
            found.subjects.append(Subject(f"{name}-1", f"{label}, one flag", server.url("/flag")))
        except FAILURES as error:
            found.not_run[name] = str(error)
    for processes, (name, label) in UNLEASH.items():
        try:
            peers.install_unleash()
            unleash = stack.enter_context(peers.running_unleash(postgres.create_database(name), processes=processes))
            reader = Subject(name, label, unleash.reading_url, authorization=peers.READER_TOKEN)
            found.subjects.append(reader)
        except FAILURES as error:
            found.not_run[name] = str(error)


@contextmanager
def running_python_peer(name: str, postgres: PostgresServer) -> Iterator[GunicornServer]:
    """The project with a peer's flag in it, turned on. Raises BenchError."""
    peers.install_python_peers()
    environment = make_environment(postgres, name) | {
        "BENCH_PEER": name,
        "PYTHONPATH": str(peers.PYTHON_PEERS),
        "DJANGO_SETTINGS_MODULE": "tests.bench.project.settings",
    }
    command = [sys.executable, "manage.py", "migrate", "--noinput"]
    done = subprocess.run(
        command, cwd=ROOT, env=clean_environment(environment), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BenchError(f"{name} cannot be migrated: {done.stderr.strip()}")
    with GunicornServer(environment, workers=WORKERS, application=PROJECT, health_path="/health") as server:
        if request("POST", server.url("/set/on")).status != 200:
            raise BenchError(f"{name} cannot be set")
        yield server
