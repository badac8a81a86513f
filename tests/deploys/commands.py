"""`manage.py` as people and deploys run it: a process of its own, with an environment of its own."""

from __future__ import annotations

import subprocess
import sys

from tests.support.server import ROOT, clean_environment


def manage(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    key = "for-the-test-only-0123456789-0123456789"
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=clean_environment({"APP_ENV": "development", "SECRET_KEY": key, "DATABASE_URL": url}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def assert_refused(done: subprocess.CompletedProcess[str]) -> str:
    """One clear message, no traceback, an exit code; the message."""
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr.startswith("CommandError: ")
    return done.stderr.removeprefix("CommandError: ").rstrip("\n")
