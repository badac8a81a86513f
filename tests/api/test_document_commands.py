"""Every command in the documents does what it says, against the running service, in the order in which they come."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.service import Service, running_service
from tests.support.documents import Block, find_blocks, find_documents
from tests.support.server import ROOT, clean_environment

BLOCKS = {path: [block for block in find_blocks(path) if block.is_run_here] for path in find_documents()}
# What curl asks is asked on both databases, the rest on one: a shell's commands have tests of their own on both.
_ON_BOTH = ("docs/consumers/changes.md", "docs/consumers/status.md")
PATHS = [
    pytest.param(path, marks=() if path in _ON_BOTH else pytest.mark.sqlite_only)
    for path, blocks in BLOCKS.items()
    if blocks
]
SCOPES = {"PAGER_TOKEN": ("engage",), "DEPLOY_TOKEN": ("read", "complete", "release", "enable")}
_LOCAL = "http://127.0.0.1:8000"
# All others must exit with 0. `status` says by its exit code whether execution is allowed; both are right.
_EXIT_CODES = {"python manage.py golive status": (0, 1)}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_service() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, service: Service) -> Path:
    """Where somebody stands who copies a command: a checkout, an Alembic project in `backend`, and a kept head."""
    for name in ("manage.py", "golive", "valhalla"):
        (tmp_path / name).symlink_to(ROOT / name)
    versions = tmp_path / "backend" / "versions"
    versions.mkdir(parents=True)
    (versions / "a.py").write_text('revision = "a"\ndown_revision = None\n')
    (versions / "b.py").write_text('revision = "b"\ndown_revision = "a"\n')
    # What an installed package brings; tests/package runs the real one.
    audit = tmp_path / "bin" / "golive-audit"
    audit.parent.mkdir()
    audit.write_text('#!/bin/sh\nexec python -m golive.migration_graph "$@"\n')
    audit.chmod(0o755)
    (tmp_path / "heads.txt").write_text(json.dumps(service.state()))
    return tmp_path


def run(service: Service, command: str, folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command in a shell, as somebody who copies it, beside the service's database."""
    environment = clean_environment(service.environment)
    return subprocess.run(
        ["sh", "-euc", command.replace(_LOCAL, service.server.url("").rstrip("/"))],
        cwd=folder,
        env={**environment, "PATH": f"{folder / 'bin'}:{environment['PATH']}", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def run_curl(service: Service, command: str, folder: Path, variables: dict[str, str]) -> None:
    options = "--silent --show-error --max-time 10 --write-out '\\n%{http_code}'"
    done = run(service, f"{command} {options}", folder, variables)
    body, _, status = done.stdout.rpartition("\n")
    assert (done.returncode, status) == (0, "200"), f"{command}: {done.stdout}{done.stderr}"
    assert isinstance(json.loads(body), dict)


def run_program(service: Service, command: str, folder: Path, variables: dict[str, str]) -> None:
    done = run(service, command, folder, variables)
    expected = next((codes for start, codes in _EXIT_CODES.items() if command.startswith(start)), (0,))
    assert done.returncode in expected, f"{command}: {done.returncode} {done.stdout}{done.stderr}"


def run_block(service: Service, block: Block, folder: Path) -> None:
    tokens = {name: service.token(*scopes) for name, scopes in SCOPES.items() if name in block.variables}
    for command in block.commands():
        used = set(re.findall(r"\$([A-Z_]+)", command))
        assert used <= block.variables, f"the block does not name what it needs: {command}"
        # What somebody reads off the answer before it.
        known = {"VALHALLA": service.server.url("").rstrip("/"), "REVISION": str(service.state()["revision"]), **tokens}
        run_one = run_curl if command.startswith("curl ") else run_program
        run_one(service, command, folder, known)


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl. On Debian: apt-get install curl")
@pytest.mark.parametrize("path", PATHS)
def test_commands__of_a_document__all_work_in_their_order(path: str, service: Service, folder: Path) -> None:
    for block in BLOCKS[path]:
        run_block(service, block, folder)

    # A guard on the runner itself: after these two documents the state is what they say.
    if path in ("README.md", "docs/consumers/changes.md"):
        assert service.state()["execution_allowed"] is (path != "README.md")


def test_commands__curl__is_only_in_blocks_that_are_looked_at() -> None:
    """None is in a block of another language or in the text, where nobody would run it."""
    for path in find_documents():
        found = sum(command.count("curl ") for block in find_blocks(path) for command in block.commands())
        assert (ROOT / path).read_text().count("curl ") == found, path
