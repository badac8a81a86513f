"""Real proxies with the configurations of docs/proxies, the real gate, and an application behind them."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psutil
import pytest

from tests.api.service import SHORT_LEASE_MS, Service, running_service
from tests.patience import SLACK
from tests.proxies.backend import Backend
from tests.proxies.programs import running_caddy, running_nginx
from tests.server import Response, find_free_port, request

pytestmark = [pytest.mark.proxy, pytest.mark.slow]

PROGRAMS = {"nginx": running_nginx, "caddy": running_caddy}
LIMIT_SECONDS = 5.0
BIG = os.urandom(3_000_000)
PREFLIGHT = {"Origin": "https://shop.example.com", "Access-Control-Request-Method": "POST"}


@dataclass(frozen=True)
class Site:
    """A proxy before the application."""

    name: str
    port: int
    backend: Backend
    plane: Service

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> Response:
        return request(method, f"http://127.0.0.1:{self.port}{path}", headers=headers, body=body)

    def allow(self) -> None:
        self.plane.allow_execution()
        self.backend.reached.clear()

    def stop(self, name: str = "engage") -> None:
        assert self.plane.call(name).status == 200
        self.backend.reached.clear()

    def execute(self, statement: str) -> None:
        with sqlite3.connect(self.plane.environment["DATABASE_URL"].removeprefix("sqlite:///")) as database:
            database.execute(statement)
        database.close()


@pytest.fixture(scope="module")
def plane() -> Iterator[Service]:
    with running_service() as running:
        running.manage("golive", "lease", SHORT_LEASE_MS)
        yield running


@pytest.fixture(scope="module", params=PROGRAMS)
def running(request: pytest.FixtureRequest, plane: Service) -> Iterator[Site]:
    with Backend() as backend, PROGRAMS[request.param](gate=plane.server.port, backend=backend.port) as port:
        yield Site(request.param, port, backend, plane)


@pytest.fixture
def site(running: Site) -> Site:
    """Execution is allowed, and nothing has reached the application."""
    running.allow()
    return running


def assert_denied(site: Site, answer: Response, code: str) -> None:
    assert answer.status == 503
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Cache-Control"] == "no-store"
    told = answer.json()
    assert told["code"] == told["error"] == code
    assert told["execution_allowed"] is False
    assert site.backend.reached == []


@pytest.mark.parametrize("path", ["/pay?x=1", "/a/b%20c", "/gate/", "/_golive/gate/x"])
def test_request__allowed_then_stopped__reaches_the_application_then_not(site: Site, path: str) -> None:
    assert site.ask("GET", path).status == 200
    assert site.backend.reached == [f"GET {path}"]

    site.stop()

    assert_denied(site, site.ask("GET", path), "KILL_SWITCH_ENGAGED")


def test_code__is_that_of_the_decision(site: Site) -> None:
    site.stop("disable")

    assert_denied(site, site.ask("POST", "/pay", body=b"{}"), "GO_LIVE_DISABLED")


@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE", "OPTIONS"])
def test_method__any__is_guarded(site: Site, method: str) -> None:
    headers = PREFLIGHT if method == "OPTIONS" else {}
    assert site.ask(method, "/pay", headers).status == 200
    site.stop()

    answer = site.ask(method, "/pay", headers)

    assert (answer.status, site.backend.reached) == (503, [])
    if method == "HEAD":
        assert answer.body == b""


@pytest.mark.parametrize("size", [10, len(BIG)])
def test_body__of_any_size__arrives_whole_or_not_at_all(site: Site, size: int) -> None:
    answer = site.ask("POST", "/pay", body=BIG[:size])
    assert answer.json() == {"length": size, "hash": hashlib.sha256(BIG[:size]).hexdigest()}

    site.stop()

    # A proxy may close the connection before it has read all of a body that it denies.
    try:
        assert site.ask("POST", "/pay", body=BIG[:size]).status == 503
    except (BrokenPipeError, ConnectionResetError):
        assert size == len(BIG)
    assert site.backend.reached == []


def open_websocket(site: Site) -> bytes:
    """What comes back on a connection that asks for a WebSocket and then says hello."""
    with socket.create_connection(("127.0.0.1", site.port), 5) as connection:
        connection.sendall(
            b"GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        received = connection.recv(65536)
        if received.startswith(b"HTTP/1.1 101"):
            connection.sendall(b"hello")
            while b"hello" not in received and (data := connection.recv(65536)):
                received += data
        return received


def test_websocket__allowed_then_stopped__opens_then_not(site: Site) -> None:
    assert open_websocket(site).endswith(b"hello")
    site.stop()

    assert open_websocket(site).startswith(b"HTTP/1.1 503")
    assert site.backend.reached == []


@pytest.mark.parametrize("status", [403, 500, 503])
def test_error__of_the_application__is_handed_on_as_it_is(site: Site, status: int) -> None:
    answer = site.ask("GET", "/pay", {"X-Answer": str(status)})

    assert answer.status == status
    assert "length" in answer.json()


def test_stop__acknowledged__holds_for_every_request_sent_after_it(site: Site) -> None:
    with ThreadPoolExecutor(12) as pool:
        for name in ("engage", "disable", "engage"):
            site.allow()
            assert {answer.status for answer in pool.map(lambda _: site.ask("POST", "/pay"), range(24))} == {200}
            site.stop(name)
            assert {answer.status for answer in pool.map(lambda _: site.ask("POST", "/pay"), range(48))} == {503}
            assert site.backend.reached == []


def test_state__that_is_unknown__is_denied(site: Site) -> None:
    site.execute("ALTER TABLE go_live_state RENAME TO elsewhere")
    try:
        # Plain SQL takes effect within one lease.
        while site.ask("GET", "/pay").status == 200:
            pass
        site.backend.reached.clear()
        assert_denied(site, site.ask("GET", "/pay"), "STATE_UNKNOWN")
    finally:
        site.execute("ALTER TABLE elsewhere RENAME TO go_live_state")


def test_gate__that_hangs__is_a_denial_in_time(site: Site) -> None:
    pids = [site.plane.server.pid, *site.plane.server.worker_pids()]
    for pid in pids:
        psutil.Process(pid).send_signal(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: site.ask("POST", "/pay", body=b"{}"), range(8)))
    finally:
        for pid in pids:
            psutil.Process(pid).send_signal(signal.SIGCONT)

    for answer in answers:
        assert_denied(site, answer, "STATE_UNKNOWN")
        assert answer.seconds < SLACK * LIMIT_SECONDS
    assert site.ask("GET", "/pay").status == 200


def test_gate__that_is_gone__is_a_denial_until_it_is_back(site: Site) -> None:
    site.plane.server.stop()
    try:
        for _ in range(3):
            answer = site.ask("POST", "/pay", body=b"{}")
            assert_denied(site, answer, "STATE_UNKNOWN")
            assert answer.seconds < SLACK * LIMIT_SECONDS
    finally:
        site.plane.server.start()

    assert site.ask("GET", "/pay").status == 200


def test_application__that_is_gone__is_not_taken_for_a_stop(site: Site) -> None:
    with PROGRAMS[site.name](gate=site.plane.server.port, backend=find_free_port()) as port:
        answer = request("GET", f"http://127.0.0.1:{port}/pay")

    assert answer.status == 502
    assert "STATE_UNKNOWN" not in answer.text


def test_nginx__its_own_location_of_the_gate__cannot_be_asked_from_outside(site: Site) -> None:
    if site.name == "nginx":
        assert site.ask("GET", "/_golive/gate").status == 404
        assert site.backend.reached == []


def test_nginx__location_that_is_left_out__is_not_guarded(site: Site) -> None:
    site.stop()

    assert site.ask("GET", "/health").status == (200 if site.name == "nginx" else 503)


def test_gate__gets_nothing_of_the_clients(site: Site) -> None:
    """No credentials, and no body that it would have to throw away."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gate = listener.getsockname()[1]
        with (
            PROGRAMS[site.name](gate=gate, backend=site.backend.port) as port,
            ThreadPoolExecutor(1) as pool,
        ):
            site.backend.reached.clear()
            url = f"http://127.0.0.1:{port}/pay"
            headers = {"Authorization": "Bearer secret", "Cookie": "session=secret", "Upgrade": "websocket"}
            asked = pool.submit(request, "POST", url, headers=headers, body=b"the body")
            received = b""
            listener.settimeout(5)
            while b"POST" not in received and b"/gate" not in received:
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(5)
                    received = connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            assert asked.result().status in (403, 503)

    assert received.startswith(b"GET /gate")
    assert b"secret" not in received
    assert received.endswith(b"\r\n\r\n")
    assert site.backend.reached == []
