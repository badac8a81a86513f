"""The application behind a proxy: counts what reaches it, and says what it got."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class Backend:
    """`reached` has the method and path of every request that came through."""

    def __init__(self) -> None:
        self.reached: list[str] = []
        reached = self.reached

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                reached.append(f"{self.command} {self.path}")
                if self.headers.get("Upgrade", "").lower() == "websocket":
                    self._talk()
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                content = json.dumps({"length": len(body), "hash": hashlib.sha256(body).hexdigest()}).encode()
                self.send_response(int(self.headers.get("X-Answer", 200)))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = answer  # noqa: N815

            def _talk(self) -> None:
                """Enough of a WebSocket for a proxy: after the handshake, what comes is sent back."""
                self.send_response(101)
                self.send_header("Upgrade", "websocket")
                self.send_header("Connection", "Upgrade")
                self.end_headers()
                self.wfile.flush()
                self.wfile.write(self.rfile.read(5))
                self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
