"""The ASGI and WSGI middleware by themselves: what reaches the application, and what is said instead."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from golive.domain.decision import Code, Decision
from golive.guard import GateGuard, WsgiGateGuard
from golive.web.denials import describe_denial
from tests.guard.fake_gate import DENIED, FakeGate, answer
from tests.support.server import find_free_port

EXEMPT = ["/health", "/static/"]


@pytest.fixture
def gate() -> Iterator[FakeGate]:
    with FakeGate(DENIED) as fake:
        yield fake


def call_asgi(url: str, scope: dict[str, Any]) -> tuple[bool, list[Any]]:
    """Whether the application was reached, and what was sent."""
    reached: list[bool] = []
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(True)

    async def receive() -> Any:
        raise AssertionError("the guard reads nothing")

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(GateGuard(app, url, exempt=EXEMPT)({"path": "/pay", "headers": [], **scope}, receive, send))
    return bool(reached), sent


def call_wsgi(url: str, **environ: Any) -> tuple[str, dict[str, str], bytes]:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"reached"]

    environ = {"SCRIPT_NAME": "", "QUERY_STRING": "", **environ}
    setup_testing_defaults(environ)
    started: list[Any] = []

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        started.extend((status, dict(headers)))
        return lambda data: None

    found: Any = validator(WsgiGateGuard(app, url, exempt=EXEMPT))(environ, start)
    try:
        return started[0], started[1], b"".join(found)
    finally:
        found.close()


PATHS = [
    ("/health", True),
    ("/static/x.css", True),
    ("/static/", True),
    ("/static", False),
    ("/health/", False),
    ("/healthy", False),
    ("/static/../pay", False),
    ("/static//pay", False),
    ("/static/.hidden", False),
    ("/static/..\\pay", False),
    ("/static/%2e%2e/pay", False),
    ("//health", False),
    ("/", False),
    ("", False),
    ("/x/health", False),
]


@pytest.mark.parametrize(("path", "expected"), PATHS)
def test_path__exempt_or_not__reaches_the_application(gate: FakeGate, path: str, expected: bool) -> None:
    assert call_asgi(gate.url, {"type": "http", "path": path})[0] is expected
    assert (call_wsgi(gate.url, PATH_INFO=path)[0] == "200 OK") is expected
    assert len(gate.asked_at) == (0 if expected else 2)


@pytest.mark.parametrize(
    "exempt", [["/"], ["/health", "/"], ["//"], [""], ["/a/../"], ["/a%2f"], ["health"], "/health"]
)
@pytest.mark.parametrize("kind", [GateGuard, WsgiGateGuard])
def test_exempt__that_is_everything_or_no_plain_path__is_refused(kind: Any, exempt: Any) -> None:
    with pytest.raises(ValueError, match="exempt"):
        kind(lambda: None, "http://valhalla/gate/", exempt=exempt)


def test_exempt__everything__is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="would exempt every path"):
        WsgiGateGuard(lambda environ, start: [], "http://valhalla/gate/", exempt=["/"])


def test_path__of_a_mounted_application__is_looked_at_without_the_mount(gate: FakeGate) -> None:
    mounted = {"type": "http", "root_path": "/api"}

    assert call_asgi(gate.url, {**mounted, "path": "/api/health"})[0]
    assert call_asgi(gate.url, {**mounted, "path": "/health"})[0]
    assert not call_asgi(gate.url, {**mounted, "path": "/apihealth"})[0]
    assert not call_asgi(gate.url, {**mounted, "path": "/api/pay"})[0]


def test_asgi__lifespan__reaches_the_application_unasked() -> None:
    assert call_asgi(f"http://127.0.0.1:{find_free_port()}/gate/", {"type": "lifespan"})[0]


def test_asgi__denied__says_what_the_control_plane_says(gate: FakeGate) -> None:
    reached, sent = call_asgi(gate.url, {"type": "http", "method": "POST", "headers": [(b"x-request-id", b"abc")]})

    assert not reached
    start, body = sent
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    assert (start["type"], start["status"]) == ("http.response.start", 503)
    assert headers["content-type"] == "application/problem+json"
    assert headers["retry-after"] == "1"
    assert int(headers["content-length"]) == len(body["body"])
    expected = describe_denial(
        Decision(Code.KILL_SWITCH_ENGAGED),
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        instance="/pay",
        request_id="abc",
    )
    assert {**json.loads(body["body"]), "title": expected["title"]} == expected


@pytest.mark.parametrize(
    ("extensions", "types"),
    [
        ({}, ["websocket.close"]),
        ({"websocket.http.response": {}}, ["websocket.http.response.start", "websocket.http.response.body"]),
    ],
)
def test_asgi__websocket_denied__is_closed_or_answered(
    gate: FakeGate, extensions: dict[str, Any], types: list[str]
) -> None:
    reached, sent = call_asgi(gate.url, {"type": "websocket", "extensions": extensions})

    assert not reached
    assert [message["type"] for message in sent] == types
    assert sent[0].get("code", 1013) == 1013


def test_asgi__allowed__reaches_the_application(gate: FakeGate) -> None:
    gate.behaviour = answer()

    for kind in ("http", "websocket"):
        assert call_asgi(gate.url, {"type": kind}) == (True, [])


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_wsgi__denied__says_so(gate: FakeGate, method: str) -> None:
    status, headers, body = call_wsgi(gate.url, PATH_INFO="/pay", REQUEST_METHOD=method, HTTP_X_REQUEST_ID="a b")

    assert status == "503 Service Unavailable"
    assert (headers["Content-Type"], headers["Retry-After"]) == ("application/problem+json", "1")
    if method == "HEAD":
        assert body == b""
    else:
        told = json.loads(body)
        assert told["code"] == told["error"] == "KILL_SWITCH_ENGAGED"
        assert told["request_id"] == headers["X-Request-ID"] != "a b"


def test_wsgi__allowed__reaches_the_application(gate: FakeGate) -> None:
    gate.behaviour = answer()

    assert call_wsgi(gate.url, PATH_INFO="/pay")[2] == b"reached"


@pytest.mark.parametrize("exempt", ["/health", ["health"], [""]])
def test_exempt__that_is_no_list_of_paths__is_refused(gate: FakeGate, exempt: Any) -> None:
    """A text would be taken letter by letter, and its / would exempt everything."""
    for kind in (GateGuard, WsgiGateGuard):
        with pytest.raises(ValueError, match="exempt"):
            kind(None, gate.url, exempt=exempt)  # type: ignore[arg-type]
