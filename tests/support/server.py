"""The real service for tests: gunicorn as in production, with its own environment, and a simple HTTP client."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPMessage
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import psutil

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0
STOP_SECONDS = 30.0
# All variables that the settings read. A developer's .env fills in unset ones, but not empty ones.
VARIABLES = (
    "ALLOWED_HOSTS",
    "APP_ENV",
    "CORS_ALLOWED_ORIGINS",
    "DATABASE_DIRECT_URL",
    "DATABASE_URL",
    "GOLIVE_CLOSE_ON_FAILOVER",
    "GOLIVE_ENVIRONMENT",
    "GOLIVE_EXEMPT_PREFIXES",
    "GOLIVE_FOUR_EYES",
    "GOLIVE_PUBLIC_DETAILS",
    "GOLIVE_READ_TOKEN_REQUIRED",
    "GOLIVE_REQUIRE_TOTP",
    "GOLIVE_SAFE_MIGRATE",
    "GOLIVE_TRUSTED_PROXIES",
    "GO_LIVE_ENFORCE",
    "LOG_LEVEL",
    "PORT",
    "RENDER_EXTERNAL_HOSTNAME",
    "RENDER_GIT_COMMIT",
    "SECRET_KEY",
    "WEB_CONCURRENCY",
)


class ServerError(RuntimeError):
    """The service did not start or did not answer; the message contains its log."""


@dataclass(frozen=True)
class Response:
    """A response. `headers` is case-insensitive; `get_all("Set-Cookie")` returns all headers of a name."""

    status: int
    headers: HTTPMessage
    body: bytes
    seconds: float

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | str | None = None,
    timeout: float = 60,
) -> Response:
    """Send one request on a new connection. 4xx and 5xx do not raise, redirects are not followed.

    `timeout` is in seconds per socket operation; generous, for a busy machine. Raises OSError or
    http.client.HTTPException if there is no response.
    """
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    began = time.monotonic()
    with contextlib.closing(kind(parts.netloc, timeout=timeout)) as connection:
        connection.request(method, target, body.encode() if isinstance(body, str) else body, dict(headers or {}))
        answer = connection.getresponse()
        content = answer.read()
        return Response(answer.status, answer.headers, content, time.monotonic() - began)


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment(overrides: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment for a process of the project, independent of the shell, the tests and any `.env` file.

    For development, with a new secret key and SQLite; `overrides` take precedence.
    """
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {
        **dict.fromkeys(VARIABLES, ""),
        "PATH": programs,
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "APP_ENV": "development",
        "SECRET_KEY": secrets.token_urlsafe(48),
        **(overrides or {}),
    }


@dataclass
class GunicornServer:
    """gunicorn with the project's own configuration, serving `application` in `clean_environment(env)` on 127.0.0.1.

    Use it as a context manager, or call `start()` and `stop()`.
    """

    env: Mapping[str, str]
    workers: int = field(default=2, kw_only=True)
    application: str = field(default="valhalla.wsgi:application", kw_only=True)
    health_path: str = field(default="/health", kw_only=True)
    folder: Path = field(default=ROOT, kw_only=True)
    port: int = field(default_factory=find_free_port, kw_only=True)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _logs: tempfile.TemporaryDirectory[str] | None = field(default=None, init=False, repr=False)
    _last_log: str = field(default="", init=False, repr=False)

    def start(self) -> Self:
        """Start, and wait until every worker answers. Raises ServerError with the log if that takes too long."""
        if self._process is not None:
            raise ServerError("already running")
        environment = clean_environment({"WEB_CONCURRENCY": str(self.workers), **self.env, "PORT": str(self.port)})
        command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", self.application]
        self._logs = tempfile.TemporaryDirectory(prefix="valhalla-gunicorn-")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C must reach only the tests, which stop the server
            )
        try:
            self._await_workers()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop gracefully, as a deploy does; kill it if that takes too long. Idempotent."""
        if self._process is not None:
            workers = self._children()
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(STOP_SECONDS)
            for worker in workers:
                # Normally gone by now. psutil also checks the start time, so this cannot hit another process.
                with contextlib.suppress(psutil.NoSuchProcess):
                    worker.kill()
        if self._logs is not None:
            self._last_log = self.log_text()
            self._logs.cleanup()
        self._process, self._logs = None, None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def log_text(self) -> str:
        """The output of gunicorn, its workers and the application; after stop(), that of the last run."""
        return self._log.read_text(errors="replace") if self._logs is not None else self._last_log

    @property
    def pid(self) -> int:
        """The process id of the arbiter. Raises ServerError when it is not running."""
        if self._process is None:
            raise ServerError("not running")
        return self._process.pid

    def worker_pids(self) -> list[int]:
        """The process ids of the workers, in order."""
        return sorted(child.pid for child in self._children())

    @property
    def _log(self) -> Path:
        if self._logs is None:
            raise ServerError("not running")
        return Path(self._logs.name) / "log"

    def _children(self) -> list[psutil.Process]:
        if self._process is None or self._process.poll() is not None:
            return []
        return psutil.Process(self._process.pid).children()

    def _await_workers(self) -> None:
        """Wait until enough requests in a row succeed that almost certainly every worker has answered.

        Each worker listens on its own socket, and the kernel picks one at random by the client's port.
        """
        deadline, answers = time.monotonic() + START_SECONDS, 0
        while answers < 8 * self.workers:
            if self._process is None or self._process.poll() is not None:
                raise ServerError(f"gunicorn ended while starting:\n{self.log_text()}")
            if time.monotonic() > deadline:
                raise ServerError(f"{self.health_path} did not answer 200 in {START_SECONDS} s:\n{self.log_text()}")
            # Without workers it has not bound the port yet, so the answer would come from another process.
            if len(self._children()) >= self.workers and self._is_healthy():
                answers += 1
            else:
                answers = 0
                time.sleep(0.05)

    def _is_healthy(self) -> bool:
        try:
            return request("GET", self.url(self.health_path)).status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
