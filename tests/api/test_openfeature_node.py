"""What a program in Node.js decides that asks with OpenFeature's own client: it asks at every evaluation."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from golive.domain.flags import SAFE_VALUES
from tests.api.service import Service, running_service
from tests.support.node import FOLDER, install_packages

pytestmark = [pytest.mark.slow, pytest.mark.node]

ALLOWED = "execution-allowed"


class Program:
    """tests/openfeature_js/server.mjs, running: one provider for all that is asked."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, key: str = ALLOWED, *, default: bool = False) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{key} {str(default).lower()}\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@contextmanager
def running_program(url: str) -> Iterator[Program]:
    install_packages()
    command = [shutil.which("node") or "node", str(FOLDER / "server.mjs"), url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Program(process)  # it ends with its input


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_service() as running:
        yield running


def test_server_provider__acknowledged_stop__is_seen_by_the_next_evaluation(service: Service) -> None:
    with running_program(service.server.url("")) as program:
        service.allow_execution()
        before = program.ask(default=True)
        assert service.call("engage").status == 200
        after = program.ask(default=True)

    assert (before["value"], before["flagMetadata"]["code"]) == (True, "ALLOWED")
    assert (after["value"], after["variant"], after["reason"]) == (False, "off", "TARGETING_MATCH")
    assert after["flagMetadata"]["code"] == "KILL_SWITCH_ENGAGED"
    assert after["flagMetadata"]["lease_ms"] == service.state()["lease_ms"]


def test_server_provider__every_flag__says_what_the_state_says(service: Service) -> None:
    with running_program(service.server.url("")) as program:
        service.allow_execution()
        live = {key: program.ask(key, default=safe)["value"] for key, safe in SAFE_VALUES.items()}

    assert live == {key: not safe for key, safe in SAFE_VALUES.items()}


@pytest.mark.parametrize("default", [False, True])
def test_server_provider__service_away__takes_the_default_of_the_call(service: Service, default: bool) -> None:
    with running_program(service.server.url("")) as program:
        service.allow_execution()
        assert program.ask(default=default)["value"] is True
        service.server.stop()
        try:
            away = program.ask(default=default)
        finally:
            service.server.start()

    assert (away["value"], away["errorCode"]) == (default, "GENERAL")
