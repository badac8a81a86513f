"""A guard for programs that do not use Django: asks the gate before each request and denies unless it is allowed.

This file is self-contained and needs only the standard library of Python 3.9 or newer: import it, or copy it into the
program to be guarded.

    app.add_middleware(GateGuard, url="http://valhalla:8000/gate/", exempt=["/health"])    # FastAPI, Starlette
    app.wsgi_app = WsgiGateGuard(app.wsgi_app, url="http://valhalla:8000/gate/")           # Flask
    GateClient("http://valhalla:8000/gate/").check() == ALLOWED                            # a job
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import json
import logging
import os
import re
import secrets
import selectors
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from concurrent.futures import Future
from functools import partial
from http import HTTPStatus
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

logger = logging.getLogger(__name__)

ALLOWED, STATE_UNKNOWN = "ALLOWED", "STATE_UNKNOWN"
MESSAGES = {
    STATE_UNKNOWN: "The go-live state cannot be known. Execution is not allowed.",
    "KILL_SWITCH_ENGAGED": "The kill switch is engaged. Execution is not allowed.",
    "GO_LIVE_DISABLED": "Go-live is disabled. Execution is not allowed.",
}
TIMEOUT_SECONDS = 2.0
# The longest lease that one of our gates can grant; longer ones are capped.
MAX_LEASE_MS = 5_000
MAX_HEAD_BYTES = 16_384
TRY_AGAIN_LATER = 1013  # WebSocket close code (IANA registry)

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApplication = Callable[[Scope, Receive, Send], Awaitable[None]]


class GateClient:
    """A client of one gate. `check` and `check_async` return ALLOWED or the denial's code, in time, and never raise.

    A response is reused for the lease that the gate grants, counted from before the request was sent. One thread asks,
    over one connection, on behalf of all callers: it collects those waiting, asks once, and gives them all the result.
    So no caller gets a result that was requested before the caller arrived, except within its lease.
    """

    def __init__(self, url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._make_connection = partial(_Connection, url, timeout_seconds)
        self._make_connection()  # validates the URL
        self._timeout_seconds = timeout_seconds
        self._cached = (STATE_UNKNOWN, 0.0)
        self._reset()
        _clients.add(self)

    def _reset(self) -> None:
        """A fresh lock and no thread: after a fork, a thread that held the old lock is not there to release it."""
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._waiting: SimpleQueue[Future[str]] = SimpleQueue()

    def check(self) -> str:
        """The code of the decision. Blocks until it is known."""
        code = self._read_cache()
        if code is not None:
            return code
        try:
            return self._ask().result(self._timeout_seconds)
        except Exception:  # noqa: BLE001 - no answer is a denial, whatever the cause
            return STATE_UNKNOWN

    async def check_async(self) -> str:
        """The code of the decision. Does not block the event loop."""
        code = self._read_cache()
        if code is not None:
            return code
        try:
            return await asyncio.wait_for(asyncio.wrap_future(self._ask()), self._timeout_seconds)
        except Exception:  # noqa: BLE001 - no answer is a denial, whatever the cause
            return STATE_UNKNOWN

    def _read_cache(self) -> str | None:
        code, expires_at = self._cached
        return code if _now() < expires_at else None

    def _ask(self) -> Future[str]:
        answer: Future[str] = Future()
        with self._lock:
            # A forked process has no thread, and must not share its parent's connection.
            if self._thread is None or not self._thread.is_alive():
                self._waiting = SimpleQueue()
                self._thread = threading.Thread(target=self._run, args=(self._waiting,), name="gate", daemon=True)
                self._thread.start()
            self._waiting.put(answer)
        return answer

    def _run(self, waiting: SimpleQueue[Future[str]]) -> None:
        connection = self._make_connection()
        while True:
            answers = [waiting.get()]
            while not waiting.empty():
                answers.append(waiting.get())
            code = self._read_cache()
            if code is None:
                # Taken before sending: a stop that the request misses may be acknowledged one lease from now.
                sent_at = _now()
                code, lease_seconds = connection.ask()
                self._cached = (code, sent_at + lease_seconds)
            for answer in answers:
                # Skip callers that have given up.
                if answer.set_running_or_notify_cancel():
                    answer.set_result(code)


def _now() -> float:
    """Seconds on the clock used for leases, which keeps running while the machine sleeps."""
    return time.clock_gettime(_CLOCK)


_clients: weakref.WeakSet[GateClient] = weakref.WeakSet()


def _reset_all() -> None:
    for client in list(_clients):
        client._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)


class _Connection:
    """A keep-alive connection to the gate; used by one thread."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError(f"{url!r} is not the http(s) address of a gate")
        self._context = ssl.create_default_context() if parts.scheme == "https" else None
        self._address = (parts.hostname, parts.port or (80 if self._context is None else 443))
        # HEAD: the decision is in the headers, and there is no body that could be long or late.
        self._request = f"HEAD {parts.path or '/gate/'} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
        self._timeout_seconds = timeout_seconds
        self._socket: socket.socket | None = None
        self._last_address: Any = None

    def ask(self) -> tuple[str, float]:
        """The code, and its lease in seconds. Anything but a clear answer is STATE_UNKNOWN with no lease."""
        ends_at = time.monotonic() + self._timeout_seconds
        is_reused = self._socket is not None
        try:
            try:
                return self._exchange(ends_at)
            except OSError:
                if not is_reused:
                    raise
                # The gate may close an idle connection just as it is reused.
                self._close()
                return self._exchange(ends_at)
        except Exception as error:  # noqa: BLE001 - a gate that cannot be reached is a denial
            logger.warning("the gate cannot be asked: %s: %s", type(error).__name__, error)
            self._close()
            return STATE_UNKNOWN, 0.0

    def _exchange(self, ends_at: float) -> tuple[str, float]:
        if self._socket is not None and _is_readable(self._socket):
            # Before anything was sent: it is closed, or the data would be taken for the next response.
            self._close()
        if self._socket is None:
            self._socket = self._connect(ends_at)
        self._socket.settimeout(_remaining(ends_at))
        self._socket.sendall(self._request)
        received = b""
        while b"\r\n\r\n" not in received:
            # Recomputed each time: the limit covers the whole response, however slowly it trickles in.
            self._socket.settimeout(_remaining(ends_at))
            data = self._socket.recv(MAX_HEAD_BYTES)
            if not data:
                raise ConnectionResetError("it closed the connection")
            received += data
            if len(received) > MAX_HEAD_BYTES:
                raise ValueError("its answer has no end")
        head, _, rest = received.partition(b"\r\n\r\n")
        code, seconds, is_reusable = _parse_head(head)
        if rest or not is_reusable:
            self._close()
        return code, seconds

    def _connect(self, ends_at: float) -> socket.socket:
        """Try the host's addresses in turn. Each gets a share of the time, so that one that drops packets cannot use
        it all.
        """
        addresses = socket.getaddrinfo(*self._address, type=socket.SOCK_STREAM)
        # The one that worked last comes first.
        addresses.sort(key=lambda each: each[4] != self._last_address)
        for index, (family, kind, protocol, _, address) in enumerate(addresses):
            share = _remaining(ends_at) / (len(addresses) - index)
            try:
                connection = self._connect_to(socket.socket(family, kind, protocol), address, share)
            except OSError:
                if index + 1 == len(addresses):
                    raise
            else:
                self._last_address = address
                return connection
        raise OSError("the name of the gate has no address")

    def _connect_to(self, connection: socket.socket, address: Any, seconds: float) -> socket.socket:
        try:
            ends_at = time.monotonic() + seconds
            connection.settimeout(seconds)
            connection.connect(address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                connection.settimeout(_remaining(ends_at))
                connection = self._context.wrap_socket(connection, server_hostname=self._address[0])
        except BaseException:
            connection.close()
            raise
        return connection

    def _close(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
        self._socket = None


def _remaining(ends_at: float) -> float:
    remaining = ends_at - time.monotonic()
    if remaining <= 0:
        raise TimeoutError("it does not answer in time")
    return remaining


def _is_readable(connection: socket.socket) -> bool:
    """Whether it is closed or has unread data. Uses poll: `select.select` fails for descriptors above 1,023."""
    if isinstance(connection, ssl.SSLSocket) and connection.pending():
        return True
    with getattr(selectors, "PollSelector", selectors.SelectSelector)() as selector:
        selector.register(connection, selectors.EVENT_READ)
        return bool(selector.select(0))


def _parse_head(head: bytes) -> tuple[str, float, bool]:
    """The code, its lease in seconds, and whether the connection may be reused.

    It may be reused only after a clear answer. An interim response (100, 102, 103) is not one: the final response that
    follows it would be taken for the answer to the next request.
    """
    first, _, fields = head.partition(b"\r\n")
    version, status, *_ = first.decode("latin-1").split(" ")
    headers = http.client.parse_headers(io.BytesIO(fields + b"\r\n\r\n"))
    codes = headers.get_all("X-GoLive-Code", [])
    code = codes[0] if len(codes) == 1 else ""
    # Allowed only by status 200 with the code ALLOWED, which only our gate sends; a denial needs one of our codes.
    is_clear = code == ALLOWED if status == "200" else code in MESSAGES and status in ("403", "503")
    if not is_clear or not version.startswith("HTTP/1."):
        return STATE_UNKNOWN, 0.0, False
    lease = headers.get("X-GoLive-Lease-Ms", "")
    lease_ms = min(int(lease), MAX_LEASE_MS) if _WHOLE_NUMBER.fullmatch(lease) else 0
    closes = "close" in ",".join(headers.get_all("Connection", [])).lower()
    return code, lease_ms / 1000, version == "HTTP/1.1" and not closes


class GateGuard:
    """ASGI middleware. A stop does not interrupt what has begun: a long-lived WebSocket has to check for itself."""

    def __init__(
        self, app: AsgiApplication, url: str, *, exempt: Sequence[str] = (), timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self.app = app
        self.client = GateClient(url, timeout_seconds=timeout_seconds)
        self._exempt = _check_paths(exempt)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or _is_exempt(_path_of(scope), self._exempt):
            await self.app(scope, receive, send)
            return
        code = await self.client.check_async()
        if code == ALLOWED:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await _deny(scope, send, code, "http.response")
        elif "websocket.http.response" in scope.get("extensions", {}):
            await _deny(scope, send, code, "websocket.http.response")
        else:
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": code})


class WsgiGateGuard:
    """WSGI middleware."""

    def __init__(
        self, app: WSGIApplication, url: str, *, exempt: Sequence[str] = (), timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self.app = app
        self.client = GateClient(url, timeout_seconds=timeout_seconds)
        self._exempt = _check_paths(exempt)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "").encode("latin-1", "replace").decode(errors="replace")
        code = ALLOWED if _is_exempt(path, self._exempt) else self.client.check()
        if code == ALLOWED:
            return self.app(environ, start_response)
        body, headers = _describe(code, path, environ.get("HTTP_X_REQUEST_ID", ""))
        start_response(f"{HTTPStatus.SERVICE_UNAVAILABLE} {HTTPStatus.SERVICE_UNAVAILABLE.phrase}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


async def _deny(scope: Scope, send: Send, code: str, kind: str) -> None:
    offered = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    body, headers = _describe(code, scope["path"], offered)
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers]
    await send({"type": f"{kind}.start", "status": int(HTTPStatus.SERVICE_UNAVAILABLE), "headers": encoded})
    await send({"type": f"{kind}.body", "body": b"" if scope.get("method") == "HEAD" else body})


def _describe(code: str, path: str, offered_id: str) -> tuple[bytes, list[tuple[str, str]]]:
    """The body and headers of a denial: the same problem (RFC 9457) that the control plane and its middleware send."""
    request_id = offered_id if _SANE_ID.fullmatch(offered_id) else secrets.token_hex(16)
    values = {
        "type": f"urn:valhalla:problem:{code.lower().replace('_', '-')}",
        "title": "Execution is not allowed",
        "status": int(HTTPStatus.SERVICE_UNAVAILABLE),
        "detail": MESSAGES[code],
        "instance": path,
        "code": code,
        "error": code,
        "execution_allowed": False,
        "request_id": request_id,
    }
    body = json.dumps(values).encode()
    headers = {
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "Retry-After": "1",
        "X-Request-ID": request_id,
    }
    return body, list(headers.items())


def _check_paths(paths: Sequence[str]) -> tuple[str, ...]:
    if isinstance(paths, str) or not all(path.startswith("/") for path in paths):
        raise ValueError("exempt is a list of paths, each beginning with /")
    bad = [path for path in paths if not path.strip("/") or _is_ambiguous(path)]
    if bad:
        raise ValueError(
            f"exempt holds {', '.join(map(repr, bad))}: / alone would exempt every path, and a path that holds "
            r"//, /., \ or % may be read as another one, so it is never exempt; name plain paths below /"
        )
    return tuple(paths)


def _path_of(scope: Scope) -> str:
    """The path without the mount prefix, as Starlette's routes see it."""
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path


def _is_exempt(path: str, exempt: tuple[str, ...]) -> bool:
    """`/health` matches that path, `/static/` everything below it. An ambiguous path is never exempt."""
    return not _is_ambiguous(path) and any(
        path.startswith(entry) if entry.endswith("/") else path == entry for entry in exempt
    )


def _is_ambiguous(path: str) -> bool:
    """Whether another component may normalise this decoded path to a different one."""
    return any(part in path for part in ("//", "/.", "\\", "%"))
