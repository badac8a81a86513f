"""What stands behind a proxy: an application that counts what reaches it and says what it got, and a sign-in."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from websockets.utils import accept_key


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that goes away in the middle is none."""


class _Server:
    """Serves a handler on a free port of 127.0.0.1 while it is entered."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = _QuietServer(("127.0.0.1", 0), handler)
        self.port = self._server.server_port

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass


class _Application(_Handler):
    reached: list[str]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):  # whatever the method
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        self.reached.append(f"{self.command} {self.path}")
        if protocol := self.headers.get("Upgrade", ""):
            self._talk(protocol)
            return
        body = self._read()
        content = json.dumps({"length": len(body), "hash": hashlib.sha256(body).hexdigest()}).encode()
        self.send_response(int(self.headers.get("X-Answer", 200)))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while length := int(self.rfile.readline(), 16):
            body += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _talk(self, protocol: str) -> None:
        """Enough of a WebSocket, or of a tunnel: each line is noted and sent back."""
        self.send_response(101)
        self.send_header("Upgrade", protocol)
        self.send_header("Connection", "Upgrade")
        if key := self.headers.get("Sec-WebSocket-Key"):
            self.send_header("Sec-WebSocket-Accept", accept_key(key))
        self.end_headers()
        self.wfile.flush()
        while line := self.rfile.readline():
            self.reached.append(f"{protocol}: {line.decode().strip()}")
            self.wfile.write(line)
        self.close_connection = True


class Backend(_Server):
    """`reached` has the method and target of every request that came through, and every line that came in a tunnel.

    It agrees to any `Upgrade`, as a server that knows h2c does: what follows is nothing that a proxy looks into.
    """

    def __init__(self) -> None:
        self.reached: list[str] = []
        super().__init__(type("Handler", (_Application,), {"reached": self.reached}))


class SignIn(_Server):
    """202 for who shows the cookie `signed_in=yes`, 401 for others, as oauth2-proxy answers."""

    def __init__(self) -> None:
        class Handler(_Handler):
            def do_GET(self) -> None:
                self.send_response(202 if "signed_in=yes" in self.headers.get("Cookie", "") else 401)
                self.send_header("Content-Length", "0")
                self.end_headers()

        super().__init__(Handler)
