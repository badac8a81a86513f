"""The restore of docs/deploy/backup.md, as it stands there: nothing executes in between, nor after it."""

from __future__ import annotations

import re
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deploys.project import Project
from tests.support.patience import wait_until
from tests.support.postgres import find_installation
from tests.support.server import ROOT, GunicornServer, request

pytestmark = pytest.mark.postgresql

LIVE = "UPDATE go_live_state SET go_live_enabled = true, kill_switch_engaged = false, lease_ms = 0"
STOP = "UPDATE go_live_state SET kill_switch_engaged = true"


def read_commands(word: str) -> str:
    """The one block of shell commands of docs/deploy/backup.md that begins with this word."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/deploy/backup.md").read_text(), re.DOTALL)
    (found,) = [block for block in blocks if block.startswith(word)]
    return str(found)


def run_shell(project: Project, commands: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """With the programs of the server's own version first in the path."""
    path = f"{find_installation() / 'bin'}:{project.environment['PATH']}"
    return subprocess.run(
        ["/bin/sh", "-ec", commands],
        cwd=folder,
        env={**project.environment, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def asking(server: GunicornServer) -> Iterator[Counter[str]]:
    """Inside, the gate is asked all the time; its answers."""
    answers: Counter[str] = Counter()
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            answers[request("GET", server.url("/gate/")).headers["X-GoLive-Code"]] += 1

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


@pytest.fixture
def stopped(project: Project, tmp_path: Path) -> Project:
    """Stopped after a backup was taken (`valhalla.dump` in the folder) that says execution is allowed."""
    project.query(LIVE)
    dumped = run_shell(project, read_commands("pg_dump"), tmp_path)
    assert dumped.returncode == 0, dumped.stderr
    project.query(STOP)
    return project


def test_restore__older_backup_says_allowed__nothing_is_allowed_during_or_after_it(
    stopped: Project, tmp_path: Path
) -> None:
    with GunicornServer(stopped.settings, workers=1) as server, asking(server) as answers:
        restored = run_shell(stopped, read_commands("pg_restore"), tmp_path)
        # It may have to notice first that the tables are there again.
        wait_until(lambda: request("GET", server.url("/gate/")).headers["X-GoLive-Code"] == "KILL_SWITCH_ENGAGED")
        after = Counter(request("GET", server.url("/gate/")).headers["X-GoLive-Code"] for _ in range(20))

    assert restored.returncode == 0, restored.stderr
    assert "ALLOWED" not in answers, answers
    assert answers["KILL_SWITCH_ENGAGED"] > 0
    assert "ALLOWED" not in after, after
    assert stopped.query("SELECT go_live_enabled, kill_switch_engaged, changed_by FROM go_live_state") == [
        (True, True, "restore")
    ]


def test_restore__then_as_documented__is_recorded_and_sound(stopped: Project, tmp_path: Path) -> None:
    assert run_shell(stopped, read_commands("pg_restore"), tmp_path).returncode == 0

    stopped.migrate()
    reconciled = stopped.run("golive", "reconcile", "--reason", "Restored the backup of 02:00")
    verified = stopped.run("golive", "history", "--verify")

    assert reconciled.returncode == 0, reconciled.stderr
    assert (verified.returncode, "0 problems" in verified.stdout) == (0, True), verified.stdout
    with pytest.raises(Exception, match="append"):
        stopped.query("DELETE FROM golive_event")


def test_restore__broken_backup__changes_nothing(stopped: Project, tmp_path: Path) -> None:
    """Also where what was read of it would run without an error."""
    dump = tmp_path / "valhalla.dump"
    dump.write_bytes(dump.read_bytes()[:-2000])
    before = stopped.query("SELECT xmin, * FROM go_live_state"), stopped.events()

    restored = run_shell(stopped, read_commands("pg_restore"), tmp_path)

    assert restored.returncode != 0
    assert (stopped.query("SELECT xmin, * FROM go_live_state"), stopped.events()) == before


def test_restore__statement_fails__changes_nothing(stopped: Project, tmp_path: Path) -> None:
    stopped.query("CREATE VIEW watching AS SELECT * FROM go_live_state")
    before = stopped.query("SELECT xmin, * FROM go_live_state")

    restored = run_shell(stopped, read_commands("pg_restore"), tmp_path)

    assert (restored.returncode != 0, "watching" in restored.stderr) == (True, True)
    assert stopped.query("SELECT xmin, * FROM go_live_state") == before
