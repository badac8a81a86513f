"""A TCP proxy before PostgreSQL that can cut a connection at COMMIT: before the server has it, or before its answer."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Literal

Cut = Literal["before", "after"]


class CuttingProxy:
    """`arm("before")`: the next COMMIT never reaches the server. `arm("after")`: it does, and its answer is lost."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._cut: Cut | None = None
        self.answered = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, cut: Cut) -> None:
        self.answered.clear()
        self._cut = cut

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                is_cut = threading.Event()
                for arguments in ((client, server, is_cut), (server, client, is_cut)):
                    target = self._pass_requests if arguments[0] is client else self._pass_answers
                    threading.Thread(target=target, args=arguments, daemon=True).start()

    def _pass_requests(self, client: socket.socket, server: socket.socket, is_cut: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if self._cut is not None and b"COMMIT" in data:
                    cut, self._cut = self._cut, None
                    is_cut.set()
                    if cut == "before":
                        break
                server.sendall(data)
        _close(client, server)

    def _pass_answers(self, server: socket.socket, client: socket.socket, is_cut: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if is_cut.is_set():
                    self.answered.set()
                    break
                client.sendall(data)
        _close(client, server)


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            each.close()
