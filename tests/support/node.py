"""Node.js with the packages of tests/openfeature_js, at the versions in its lock file."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.run import NO_NODE
from tests.support.server import ROOT

FOLDER = ROOT / "tests" / "openfeature_js"
# Only ends a hang; nothing is measured by it.
_PATIENCE_SECONDS = 600


def install_packages() -> Path:
    """The folder of the installed packages, which are installed once per lock file. Raises RuntimeError."""
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError(NO_NODE)
    lock = (FOLDER / "package-lock.json").read_bytes()
    packages = FOLDER / "node_modules"
    installed = packages / ".installed"
    if not installed.exists() or installed.read_bytes() != lock:
        # Run no package scripts, and make no requests other than for the packages.
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(
            command, cwd=FOLDER, capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} in {FOLDER}: {done.stderr}")
        installed.write_bytes(lock)
    return packages
