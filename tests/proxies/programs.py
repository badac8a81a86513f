"""nginx and Caddy, run as docs/proxies tells: its own files, and the example of its README with other ports."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.run import find_server_program
from tests.server import ROOT, find_free_port

FOLDER = ROOT / "docs" / "proxies"
ADDRESSES = {"gate": "127.0.0.1:8000", "backend": "127.0.0.1:9000", "listen": "8080"}


def read_example(language: str, *, gate: int, backend: int, listen: int) -> str:
    """The example of the README, with these ports."""
    (text,) = re.findall(rf"```{language}\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
    assert isinstance(text, str)
    for name, port in (("gate", gate), ("backend", backend)):
        text = text.replace(ADDRESSES[name], f"127.0.0.1:{port}")
    return re.sub(rf"\b{ADDRESSES['listen']}\b", str(listen), text)


@contextmanager
def running_nginx(*, gate: int, backend: int) -> Iterator[int]:
    """The port that nginx listens on."""
    listen = find_free_port()
    example = read_example("nginx", gate=gate, backend=backend, listen=listen)
    with tempfile.TemporaryDirectory(prefix="valhalla-nginx-") as name:
        folder = Path(name)
        # Its workers are somebody else when root starts it, and keep large bodies in files.
        folder.chmod(0o755)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
        example = example.replace("golive.nginx.conf", str(FOLDER / "golive.nginx.conf"))
        (folder / "nginx.conf").write_text(
            f"daemon off; pid {folder}/pid; error_log stderr; worker_processes 1; events {{}}\n"
            f"http {{ access_log off; client_max_body_size 50m; {temporary}\n{example}}}\n"
        )
        command = [
            find_server_program("nginx") or "nginx",
            "-e",
            "stderr",
            "-c",
            str(folder / "nginx.conf"),
            "-p",
            name,
        ]
        with _running(command, {}, listen):
            yield listen


@contextmanager
def running_caddy(*, gate: int, backend: int) -> Iterator[int]:
    """The port that Caddy listens on."""
    listen = find_free_port()
    example = read_example("caddy", gate=gate, backend=backend, listen=listen)
    with tempfile.TemporaryDirectory(prefix="valhalla-caddy-") as name:
        (Path(name) / "golive.caddy").write_bytes((FOLDER / "golive.caddy").read_bytes())
        (Path(name) / "Caddyfile").write_text(f"{{\n\tadmin off\n\tauto_https off\n\tgrace_period 1s\n}}\n{example}")
        command = [find_server_program("caddy") or "caddy", "run", "--config", str(Path(name) / "Caddyfile")]
        with _running(command, {"GOLIVE_GATE": f"127.0.0.1:{gate}", "HOME": name}, listen):
            yield listen


@contextmanager
def _running(command: list[str], variables: dict[str, str], port: int) -> Iterator[None]:
    process = subprocess.Popen(
        command, env={**os.environ, **variables}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        ends_at = time.monotonic() + 20
        while True:
            if process.poll() is not None:
                assert process.stderr is not None
                raise AssertionError(f"{command[0]} ended: {process.stderr.read().decode()}")
            assert time.monotonic() < ends_at, f"{command[0]} does not listen"
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.communicate(timeout=20)
