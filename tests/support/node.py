"""Node.js with the packages of tests/openfeature_js, at the versions that its lock file names."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.run import NO_NODE
from tests.support.server import ROOT

FOLDER = ROOT / "tests" / "openfeature_js"
# Ends a hang. Nothing is measured with it.
_PATIENCE_SECONDS = 600


def install_packages() -> Path:
    """The folder of the installed packages; what the lock file names is installed once. Raises RuntimeError."""
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError(NO_NODE)
    lock = (FOLDER / "package-lock.json").read_bytes()
    packages = FOLDER / "node_modules"
    installed = packages / ".installed"
    if not installed.exists() or installed.read_bytes() != lock:
        # No script of a package runs, and nothing but the packages is asked for.
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(
            command, cwd=FOLDER, capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} in {FOLDER}: {done.stderr}")
        installed.write_bytes(lock)
    return packages
