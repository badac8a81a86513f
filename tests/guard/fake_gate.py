"""A gate that misbehaves as it is told, and counts what it is asked."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

Behaviour = Callable[[socket.socket], None]


def answer(
    code: str = "ALLOWED", *, status: str = "200 OK", lease_ms: object = 0, more: str = "", body: str = ""
) -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nX-GoLive-Code: {code}\r\nX-GoLive-Lease-Ms: {lease_ms}\r\n{more}"
        f"Content-Length: 43\r\n\r\n{body}"
    ).encode()


DENIED = answer("KILL_SWITCH_ENGAGED", status="403 Forbidden")


class FakeGate:
    """Listens, and for each question that arrives does what `behaviour` says: bytes to send, or a call.

    `asked_at` has the moments of the questions (monotonic seconds), `connections` how many were made.
    """

    def __init__(self, behaviour: bytes | Behaviour = b"") -> None:
        self.behaviour: bytes | Behaviour = behaviour
        self.asked_at: list[float] = []
        self.questions: list[bytes] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = [self._listener]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/gate/"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):
            while question := self._read(connection):
                self.asked_at.append(time.monotonic())
                self.questions.append(question)
                if isinstance(self.behaviour, bytes):
                    connection.sendall(self.behaviour)
                else:
                    self.behaviour(connection)

    def _read(self, connection: socket.socket) -> bytes:
        received = b""
        while not received.endswith(b"\r\n\r\n"):
            data = connection.recv(4096)
            if not data:
                return b""
            received += data
        return received


def hang(connection: socket.socket) -> None:
    time.sleep(30)


def close(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)
    raise OSError


def answer_and_close(connection: socket.socket) -> None:
    """As a server that thinks the connection was idle for too long, and does not say so."""
    connection.sendall(answer())
    close(connection)


def drip(connection: socket.socket) -> None:
    """A good answer, so slowly that no single wait is long."""
    for byte in answer(lease_ms=5000):
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def pour(connection: socket.socket) -> None:
    """Headers without end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-GoLive-Code: ALLOWED\r\n")
    while True:
        connection.sendall(b"X-More: " + b"x" * 1000 + b"\r\n")


class Held:
    """A behaviour that answers when the test lets it: of a question that is under way."""

    def __init__(self, said: bytes) -> None:
        self._said = said
        self._is_asked = threading.Event()
        self._may_go = threading.Event()

    def __call__(self, connection: socket.socket) -> None:
        self._is_asked.set()
        if not self._may_go.wait(30):
            close(connection)
        connection.sendall(self._said)

    def await_question(self) -> None:
        assert self._is_asked.wait(60), "nobody asks"

    def let_go(self) -> None:
        self._may_go.set()
