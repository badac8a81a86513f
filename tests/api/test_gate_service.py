"""The gate of the running service: what real connections see, bodies that nobody reads, and the order of a stop."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.service import SHORT_LEASE_MS, Service, running_service
from tests.support.patience import ends_within
from tests.support.server import Response, request

# The database of production is enough: nothing here depends on its kind.
pytestmark = pytest.mark.postgresql

BODY = b"x" * 5000


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_service(ALLOWED_HOSTS="only.example.com", APP_ENV="development") as running:
        running.manage("golive", "lease", SHORT_LEASE_MS)
        yield running


@pytest.fixture
def live(service: Service) -> Service:
    """Execution is allowed."""
    service.allow_execution()
    return service


def converse(service: Service, *messages: bytes, seconds: float = 60.0) -> bytes:
    """Say all of this on one connection; what comes back until the server closes it, as the last one asks."""
    with socket.create_connection(("127.0.0.1", service.server.port), seconds) as connection:
        for message in messages:
            connection.sendall(message)
        received = b""
        while data := connection.recv(65536):
            received += data
        return received


def statuses(received: bytes) -> list[int]:
    return [int(part.split(b" ", 1)[0]) for part in received.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"])
def test_gate__allowed_then_stopped__is_200_then_denied(live: Service, method: str) -> None:
    allowed = [live.ask(method, path) for path in ("/gate", "/gate/", "/gate/any/thing?x=1", "/gate-503/")]
    assert live.call("engage").status == 200
    denied = [live.ask(method, path) for path in ("/gate", "/gate/x", "/gate-503", "/gate-503/x")]

    assert [answer.status for answer in allowed] == [200] * 4
    assert [answer.status for answer in denied] == [403, 403, 503, 503]
    assert {answer.headers["X-GoLive-Code"] for answer in denied} == {"KILL_SWITCH_ENGAGED"}
    assert all((answer.body == b"") == (method == "HEAD") for answer in (*allowed, *denied))


def test_gate__preflight_of_a_browser__gets_the_decision_and_no_cors(live: Service) -> None:
    headers = {"Origin": "https://editor.weweb.io", "Access-Control-Request-Method": "POST", "Host": "any.example.org"}

    answer = live.ask("OPTIONS", "/gate/", headers=headers)

    assert answer.status == 200
    assert answer.headers["X-GoLive-Code"] == "ALLOWED"
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("target", ["/%67ate/", "//gate/", "http://elsewhere.example/gate/", "/gate%2Fx", "/gate/%00"])
def test_gate__unusual_ways_to_write_the_path__lead_to_it(live: Service, target: str) -> None:
    assert live.call("engage").status == 200

    received = converse(live, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())

    assert statuses(received) == [403]
    assert b"X-GoLive-Code: KILL_SWITCH_ENGAGED" in received


def test_gate__paths_that_only_look_like_it__are_not_allowed(live: Service) -> None:
    for path in ("/gatekeeper", "/gate-5030/", "/Gate/", "/x/../gate/"):
        assert request("GET", live.server.url(path), headers={"Host": "only.example.com"}).status == 404


@pytest.mark.parametrize(
    "message",
    [
        b"POST /gate/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" + BODY,
        b"POST /gate/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n" + BODY + b"\r\n0\r\n\r\n",
    ],
    ids=["length", "chunked"],
)
def test_body__that_nobody_reads__does_not_become_the_next_request(live: Service, message: bytes) -> None:
    """On the same connection, as a proxy keeps it."""
    received = converse(live, message, b"GET /gate-503/next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert statuses(received) == [200, 200]


def test_body__that_does_not_come__delays_no_answer(live: Service) -> None:
    with ends_within(1), socket.create_connection(("127.0.0.1", live.server.port), 60) as connection:
        connection.sendall(b"POST /gate/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\nx")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_stop__acknowledged__is_seen_by_every_request_sent_after_it(live: Service) -> None:
    """On every worker, over many connections."""

    def ask(_: int) -> Response:
        return request("GET", live.server.url("/gate/"))

    for name in ("engage", "disable"):
        live.allow_execution()
        with ThreadPoolExecutor(8) as pool:
            assert {answer.status for answer in pool.map(ask, range(40))} == {200}
            assert live.call(name).status == 200
            assert {answer.status for answer in pool.map(ask, range(80))} == {403}


def test_gate__in_production__needs_neither_host_nor_https(service: Service) -> None:
    production = {"APP_ENV": "production", "ALLOWED_HOSTS": "only.example.com"}
    with running_service(workers=1, database_url=service.environment["DATABASE_URL"], **production) as running:
        answer = running.ask("GET", "/gate/", headers={"Host": "10.0.0.7:8000"})
        assert answer.status in (200, 403)
        assert json.loads(answer.body)["code"] == answer.headers["X-GoLive-Code"]
