"""The peers: what installs and starts them. One that cannot be had is said so, never left out in silence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.load import BenchError
from tests.support.server import ROOT, find_free_port, request

# Kept between runs, and ignored by git.
CACHE = ROOT / ".bench"
PYTHON_PEERS = CACHE / "python"
NODE_PEERS = CACHE / "node"
REQUIREMENTS = ROOT / "requirements-bench.txt"
UNLEASH = Path(__file__).with_name("unleash")
FLAG = "execution-allowed"
ADMIN_TOKEN = "*:*.bench-admin"
READER_TOKEN = "default:development.bench-reader"
INSTALL_SECONDS = 600
START_SECONDS = 120


def install_python_peers() -> None:
    """Raises BenchError if pip cannot have them."""
    command = [*(sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check"), "--no-deps"]
    _install(
        [*command, "--upgrade", "--target", str(PYTHON_PEERS), "-r", str(REQUIREMENTS)], REQUIREMENTS, PYTHON_PEERS
    )


def install_unleash() -> None:
    """Raises BenchError if there is no node and npm, or npm cannot have it."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise BenchError(f"no {program} on the PATH. On Debian: apt-get install nodejs npm")
    wanted = UNLEASH / "package.json"
    NODE_PEERS.mkdir(parents=True, exist_ok=True)
    shutil.copy(wanted, NODE_PEERS)
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
    _install([*command, "--prefix", str(NODE_PEERS)], wanted, NODE_PEERS)


def _install(command: list[str], wanted: Path, folder: Path) -> None:
    """Once for what the file says."""
    stamp = folder / ".installed"
    if stamp.exists() and stamp.read_text() == wanted.read_text():
        return
    print(f"Installing what {wanted.name} names into {folder.relative_to(ROOT)}", flush=True)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(str(error)) from error
    if done.returncode != 0:
        told = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise BenchError(told[-1] if told else f"{command[0]} ended with exit code {done.returncode}")
    stamp.write_text(wanted.read_text())


class Unleash:
    """A running Unleash, with the flag in its environment `development`."""

    def __init__(self, port: int) -> None:
        self.port = port

    @property
    def reading_url(self) -> str:
        """The frontend API: the one that evaluates flags, as the others here do, and the fastest that it has."""
        return f"http://127.0.0.1:{self.port}/api/frontend"

    def ask(self, method: str, path: str, values: Any = None) -> bytes:
        headers = {"Content-Type": "application/json", "Authorization": ADMIN_TOKEN}
        body = None if values is None else json.dumps(values)
        answer = request(method, f"http://127.0.0.1:{self.port}/api/admin{path}", headers=headers, body=body)
        if answer.status >= 400:
            raise BenchError(f"Unleash answers {answer.status} to {method} {path}: {answer.text}")
        return answer.body

    def set_flag(self, to: str) -> None:
        """`on` or `off`; acknowledged when this returns."""
        self.ask("POST", f"/projects/default/features/{FLAG}/environments/development/{to}", {})

    def make_flag(self) -> None:
        self.ask("POST", "/projects/default/features", {"name": FLAG, "type": "kill-switch"})
        strategies = f"/projects/default/features/{FLAG}/environments/development/strategies"
        self.ask("POST", strategies, {"name": "default"})
        self.set_flag("on")


@contextmanager
def running_unleash(database_url: str, *, processes: int = 1) -> Iterator[Unleash]:
    """Unleash with its own migrations; one process is how it comes. Raises BenchError if it does not start."""
    port = find_free_port()
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "NODE_PATH": str(NODE_PEERS / "node_modules"),
        "NODE_ENV": "production",
        "BENCH_PROCESSES": str(processes),
        "DATABASE_URL": database_url,
        "DATABASE_SSL": "false",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_PORT": str(port),
        "INIT_ADMIN_API_TOKENS": ADMIN_TOKEN,
        "INIT_FRONTEND_API_TOKENS": READER_TOKEN,
        # Nothing leaves this machine.
        "CHECK_VERSION": "false",
        "SEND_TELEMETRY": "false",
    }
    process = subprocess.Popen(
        ["node", str(UNLEASH / "server.cjs")],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    watchdog = threading.Timer(START_SECONDS, process.terminate)
    watchdog.start()
    try:
        if process.stdout is None or process.stdout.readline() != b"ready\n":
            raise BenchError("Unleash did not start")
        watchdog.cancel()
        unleash = Unleash(port)
        unleash.make_flag()
        yield unleash
    finally:
        watchdog.cancel()
        process.terminate()
        process.wait()
