"""A proxy before the application, and what is sent to it: by a client that behaves, or byte by byte."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tests.api.service import Service
from tests.proxies.backend import Backend, SignIn
from tests.proxies.programs import PROGRAMS, Behind
from tests.support.server import Response, request

# Ends a hang. Nothing is measured with it.
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Site:
    """`ports` by name: `main` is that of the example in the README."""

    name: str
    ports: Mapping[str, int]
    backend: Backend
    plane: Service

    def ask(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        *,
        at: str = "main",
    ) -> Response:
        url = f"http://127.0.0.1:{self.ports[at]}{path}"
        return request(method, url, headers=headers, body=body, timeout=PATIENCE_SECONDS)

    def connect(self, at: str = "main") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.ports[at]), PATIENCE_SECONDS)

    def send(self, head: bytes, *, at: str = "main") -> bytes:
        """Send a request as these bytes, without a body; what came back until the connection was closed."""
        received = b""
        with self.connect(at) as connection:
            connection.sendall(head)
            try:
                while data := connection.recv(65536):
                    received += data
            except ConnectionResetError:
                pass
        return received

    def allow(self) -> None:
        self.plane.allow_execution()
        self.backend.reached.clear()

    def stop(self, name: str = "engage") -> None:
        assert self.plane.call(name, timeout=PATIENCE_SECONDS).status == 200
        self.backend.reached.clear()

    def execute(self, statement: str) -> None:
        with sqlite3.connect(self.plane.environment["DATABASE_URL"].removeprefix("sqlite:///")) as database:
            database.execute(statement)
        database.close()


@contextmanager
def running_site(name: str, plane: Service, sites: Mapping[str, str] | None = None) -> Iterator[Site]:
    """The proxy of this name, with the example of the README and `sites`."""
    with (
        Backend() as backend,
        SignIn() as sign_in,
        PROGRAMS[name](Behind(plane.server.port, backend.port, sign_in.port), sites) as ports,
    ):
        yield Site(name, ports, backend, plane)


def assert_denied(site: Site, answer: Response, code: str) -> None:
    assert answer.status == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-GoLive-Code"] == code
    said = answer.json()
    assert said["code"] == said["error"] == code
    assert said["execution_allowed"] is False
    assert site.backend.reached == []


def open_tunnel(site: Site, upgrade: bytes, *, at: str = "main", path: bytes = b"/socket") -> tuple[bool, list[str]]:
    """Ask for an upgrade with these header lines, and say hello in it: whether it came about, and what got through."""
    head = b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n" + upgrade + b"\r\n"
    extra = b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nSec-WebSocket-Version: 13\r\n"
    site.backend.reached.clear()
    with site.connect(at) as connection, connection.makefile("rb") as answers:
        connection.sendall(head + extra + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        is_open = answers.readline().split()[1] == b"101"
        if is_open:
            while answers.readline().strip():
                pass
            connection.sendall(b"hello\n")
            assert answers.readline() == b"hello\n"
    return is_open, site.backend.reached.copy()
