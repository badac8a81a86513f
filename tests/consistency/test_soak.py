"""A short soak in the suite: stops by every channel, a testbed that breaks, no wrong answer. `make soak` goes on."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.consistency.soak import Bounds, run_soak
from tests.support.server import ROOT

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]

SECONDS = 20.0


def test_plant__stopped_again_and_again_while_it_breaks__gives_no_wrong_answer() -> None:
    """Not vacuous: each way to ask, each worker and each channel was watched around a stop (`gaps`)."""
    result = run_soak(Bounds(seconds=SECONDS), seed=secrets.randbelow(10**6), pause_seconds=1.0)

    print(result.describe())
    assert result.wrong == [], result.describe()
    assert result.gaps == [], result.describe()
    assert len(result.troubles) >= 3
    assert result.figures.sharp.total() > 100


def test_command_line__sabotaged__prints_what_it_found_and_where_it_is_written() -> None:
    """As `make soak` calls it; it ends at the first wrong answers."""
    arguments = ["--seed", "7", "--minutes", "1", "--sabotage", "wait-removed"]

    done = subprocess.run(
        [sys.executable, "-m", "tests.consistency.soak", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.startswith("Soak with seed 7\n")
    assert "after the acknowledgement of" in done.stdout
    path = done.stdout.split("written to")[1].strip()
    kinds = {json.loads(line)["kind"] for line in Path(path).read_text().splitlines()}
    shutil.rmtree(Path(path).parent)
    assert kinds >= {"change", "read", "violation"}
