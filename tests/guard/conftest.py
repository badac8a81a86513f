"""The FastAPI application of docs/embed/guard.md under uvicorn, and the gate of the real service that it asks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest

from tests.api.service import SHORT_LEASE_MS, Service, running_service
from tests.support.faults import Proxy
from tests.support.patience import await_start
from tests.support.server import ROOT, Response, clean_environment, find_free_port, request


@dataclass(frozen=True)
class Guarded:
    """The application, the control plane, and the line between them, which can be cut."""

    port: int
    plane: Service
    line: Proxy

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> Response:
        return request(method, f"http://127.0.0.1:{self.port}{path}", headers=headers, body=body)

    def allow(self) -> None:
        self.plane.allow_execution()

    def stop(self) -> None:
        assert self.plane.call("engage").status == 200


@contextmanager
def running_application(gate_url: str) -> Iterator[int]:
    """The port of the application under uvicorn."""
    port = find_free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.guard.application:app", "--port", str(port)]
    environment = clean_environment({"GATE_URL": gate_url, "WEB_CONCURRENCY": "1"})
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    try:
        health = f"http://127.0.0.1:{port}/health"
        await_start(process, lambda: request("GET", health).status == 200, read_log=lambda: "its output is above")
        yield port
    finally:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
        process.wait(60)


@pytest.fixture(scope="package")
def running() -> Iterator[Guarded]:
    with running_service(workers=2) as plane:
        plane.manage("golive", "lease", SHORT_LEASE_MS)
        line = Proxy("127.0.0.1", plane.server.port)
        try:
            with running_application(f"http://127.0.0.1:{line.port}/gate/") as port:
                yield Guarded(port, plane, line)
        finally:
            line.close()


@pytest.fixture
def guarded(running: Guarded) -> Guarded:
    """Execution is allowed."""
    running.allow()
    return running
