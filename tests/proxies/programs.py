"""nginx, Caddy and HAProxy, run as docs/consumers/proxies says: its files, and its README's examples on other ports."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.run import find_server_program
from tests.support.patience import await_start
from tests.support.server import ROOT, find_free_port

FOLDER = ROOT / "docs/consumers/proxies"
_GATE, _BACKEND, _SIGN_IN = "127.0.0.1:8000", "127.0.0.1:9000", "127.0.0.1:4180"
_MAIN, _TWO_SERVERS = "8080", "8081"
_STOP_SECONDS = 60


@dataclass(frozen=True)
class Behind:
    """The ports of what a proxy talks to. `sign_in` says 202 to who is signed in, and 401 to others."""

    gate: int
    backend: int
    sign_in: int = 9


class Proxy(Protocol):
    """Run one; the ports by name: `main` of the README's example, and those of `sites`.

    `sites` are more of them, by name, in the proxy's own language; LISTEN and BACKEND in one stand for its port and for
    the application's address, FOLDER for one that holds page.html.
    """

    def __call__(
        self, behind: Behind, sites: Mapping[str, str] | None = None
    ) -> AbstractContextManager[dict[str, int]]: ...


def read_examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)


def _place(text: str, behind: Behind, ports: Mapping[str, int], folder: str) -> str:
    """An example with the ports of this run in the place of its own."""
    addresses = {_GATE: behind.gate, _BACKEND: behind.backend, _SIGN_IN: behind.sign_in}
    for address, port in addresses.items():
        text = text.replace(address, f"127.0.0.1:{port}")
    for written, name in ((_MAIN, "main"), (_TWO_SERVERS, "two servers")):
        if name in ports:
            text = re.sub(rf"\b{written}\b", str(ports[name]), text)
    return text.replace("/run/golive.sock", f"{folder}/golive.sock").replace(
        "include golive.nginx.conf", f"include {FOLDER}/golive.nginx.conf"
    )


def _place_sites(sites: Mapping[str, str], behind: Behind, ports: Mapping[str, int], folder: str) -> str:
    placed = [
        _place(text, behind, {}, folder)
        .replace("LISTEN", str(ports[name]))
        .replace("BACKEND", f"127.0.0.1:{behind.backend}")
        .replace("FOLDER", folder)
        for name, text in sites.items()
    ]
    return "\n".join(placed)


@contextmanager
def running_nginx(behind: Behind, sites: Mapping[str, str] | None = None) -> Iterator[dict[str, int]]:
    sites = sites or {}
    ports = {name: find_free_port() for name in ("main", "two servers", *sites)}
    with _folder("nginx") as folder:
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
        text = _place("\n".join(read_examples("nginx")), behind, ports, folder)
        text += _place_sites(sites, behind, ports, folder)
        (Path(folder) / "nginx.conf").write_text(
            f"daemon off; pid {folder}/pid; error_log stderr; worker_processes 1; events {{}}\n"
            "http { access_log off; client_max_body_size 50m; large_client_header_buffers 4 32k;\n"
            f"{temporary}\n{text}}}\n"
        )
        program = find_server_program("nginx") or "nginx"
        command = [program, "-e", "stderr", "-c", f"{folder}/nginx.conf", "-p", folder]
        with _running(command, {}, folder, ports):
            yield ports


@contextmanager
def running_caddy(behind: Behind, sites: Mapping[str, str] | None = None) -> Iterator[dict[str, int]]:
    sites = sites or {}
    ports = {name: find_free_port() for name in ("main", *sites)}
    with _folder("caddy") as folder:
        (example,) = read_examples("caddy")
        # Global options of this run beside those of the example: there is one block of them.
        options = "\tadmin off\n\tauto_https off\n\tgrace_period 1s\n"
        assert example.count("\n{\n") == 1
        text = _place(example, behind, ports, folder).replace("\n{\n", "\n{\n" + options)
        text += _place_sites(sites, behind, ports, folder)
        (Path(folder) / "golive.caddy").write_bytes((FOLDER / "golive.caddy").read_bytes())
        (Path(folder) / "Caddyfile").write_text(text)
        command = [find_server_program("caddy") or "caddy", "run", "--config", f"{folder}/Caddyfile"]
        variables = {"GOLIVE_GATE": f"127.0.0.1:{behind.gate}", "GOLIVE_EXEMPT": "/health /healthz", "HOME": folder}
        with _running(command, variables, folder, ports):
            yield ports


@contextmanager
def running_haproxy(behind: Behind, sites: Mapping[str, str] | None = None) -> Iterator[dict[str, int]]:
    sites = sites or {}
    ports = {name: find_free_port() for name in ("main", *sites)}
    with _folder("haproxy") as folder:
        (example,) = read_examples("haproxy")
        text = _place(example, behind, ports, folder) + _place_sites(sites, behind, ports, folder)
        (Path(folder) / "haproxy.cfg").write_text(
            text.replace("/etc/haproxy/golive.lua", str(FOLDER / "golive.lua")).replace("bind :", "bind 127.0.0.1:")
        )
        # -db: stay in the foreground, as one process.
        command = [find_server_program("haproxy") or "haproxy", "-db", "-f", f"{folder}/haproxy.cfg"]
        with _running(command, {"GOLIVE_GATE": f"127.0.0.1:{behind.gate}"}, folder, ports):
            yield ports


PROGRAMS: dict[str, Proxy] = {"nginx": running_nginx, "caddy": running_caddy, "haproxy": running_haproxy}


@contextmanager
def _folder(name: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix=f"valhalla-{name}-") as folder:
        # Workers of nginx are somebody else when root starts it, and keep large bodies in files.
        Path(folder).chmod(0o755)
        (Path(folder) / "page.html").write_text("<p>a page")
        yield folder


@contextmanager
def _running(command: list[str], variables: dict[str, str], folder: str, ports: Mapping[str, int]) -> Iterator[None]:
    log = Path(folder) / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env={**os.environ, **variables}, stdout=output, stderr=output)
    try:
        await_start(process, lambda: all(map(_is_open, ports.values())), read_log=log.read_text)
        yield
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)


def _is_open(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
