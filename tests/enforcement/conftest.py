"""Two services on one database: the control plane, and the guarded project beside it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.api.service import SHORT_LEASE_MS, Service, running_service
from tests.support.server import ROOT, GunicornServer, Response, clean_environment, request


@dataclass(frozen=True)
class Shop:
    """The guarded project, and what it has done for real."""

    server: GunicornServer
    plane: Service
    deeds_file: Path

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> Response:
        return request(method, self.server.url(path), headers=headers, body=body)

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of the guarded project."""
        environment = {**clean_environment(self.server.env), "DJANGO_SETTINGS_MODULE": "tests.enforced.settings"}
        return subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def deeds(self) -> list[str]:
        return self.deeds_file.read_text().splitlines()

    def forget_deeds(self) -> None:
        self.deeds_file.write_text("")

    def allow(self) -> None:
        self.plane.allow_execution()
        self.forget_deeds()

    def stop(self, name: str = "engage") -> None:
        assert self.plane.call(name).status == 200
        self.forget_deeds()


@contextmanager
def running_shop(plane: Service, *, database_url: str | None = None, **variables: str) -> Iterator[Shop]:
    with tempfile.TemporaryDirectory(prefix="valhalla-shop-") as folder:
        deeds = Path(folder) / "deeds"
        deeds.touch()
        environment = {
            **plane.environment,
            "DATABASE_URL": database_url or plane.environment["DATABASE_URL"],
            "ENFORCED_DEEDS": str(deeds),
            **variables,
        }
        server = GunicornServer(
            environment, workers=1, application="tests.enforced.wsgi:application", health_path="/alive"
        )
        with server:
            yield Shop(server, plane, deeds)


@pytest.fixture(scope="package")
def plane() -> Iterator[Service]:
    with running_service(workers=1) as running:
        running.manage("golive", "lease", SHORT_LEASE_MS)
        yield running


@pytest.fixture(scope="package")
def running(plane: Service) -> Iterator[Shop]:
    with running_shop(plane) as shop:
        yield shop


@pytest.fixture
def shop(running: Shop) -> Shop:
    """Stopped; nothing was done yet."""
    running.stop()
    return running
