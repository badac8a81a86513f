"""Every curl in the README does what it says, against the running service, in the order in which they stand there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.api.service import Service, running_service
from tests.support.server import ROOT, clean_environment

README = (ROOT / "README.md").read_text()
# A comment before a block names the variables that it needs.
_BLOCK = re.compile(r"(?:<!-- run with ([A-Z_, ]+) -->\n)?```sh\n(.*?)```", re.DOTALL)
_LOCAL = "http://127.0.0.1:8000"


def find_curls() -> list[tuple[str, str]]:
    """Every curl command, its continued lines joined, with the variables that its block names."""
    return [
        (line, variables)
        for variables, block in _BLOCK.findall(README)
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("curl")
    ]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_service() as running:
        yield running


def run(service: Service, command: str, variables: dict[str, str]) -> tuple[int, bytes]:
    """Run a command in a shell, as somebody who copies it; the status and the body that curl got."""
    command = command.replace(_LOCAL, service.server.url("").rstrip("/"))
    done = subprocess.run(
        ["sh", "-euc", f"{command} --silent --show-error --max-time 10 --write-out '\\n%{{http_code}}'"],
        env={**clean_environment(), **variables},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stderr.decode()}"
    body, _, status = done.stdout.rpartition(b"\n")
    return int(status), body


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl. On Debian: apt-get install curl")
def test_curls__all_work_in_the_order_of_the_readme(service: Service) -> None:
    scopes = {"PAGER_TOKEN": ("engage",), "DEPLOY_TOKEN": ("read", "complete", "release", "enable")}
    known = {"VALHALLA": service.server.url("").rstrip("/")}
    known |= {name: service.token(*each) for name, each in scopes.items()}
    curls = find_curls()
    assert len(curls) >= 8

    for command, names in curls:
        # What somebody reads off the answer before it.
        known["REVISION"] = str(service.state()["revision"])
        used = set(re.findall(r"\$([A-Z_]+)", command))
        assert used <= set(names.replace(",", " ").split()), f"the block does not name what it needs: {command}"
        status, body = run(service, command, known)
        assert status == 200, f"{command}: {status} {body.decode()}"
        assert isinstance(json.loads(body), dict)

    assert service.state()["execution_allowed"] is True


def test_curls__everywhere_else_in_the_readme__there_are_none() -> None:
    assert README.count("curl ") == len(find_curls())
