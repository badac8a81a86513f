"""A real FastAPI application under uvicorn, guarded as docs/embed/guard.md says, and the gate of the real service."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.guard.conftest import Guarded
from tests.support.patience import SLACK, wait_until
from tests.support.server import Response

pytestmark = pytest.mark.slow
LIMIT_SECONDS = 3.0


def assert_denied(answer: Response, code: str) -> None:
    told = answer.json()
    assert (answer.status, told["code"], told["error"]) == (503, code, code)
    assert told["execution_allowed"] is False
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Retry-After"] == "1"


def test_recipe__allowed_then_stopped__runs_then_denies(guarded: Guarded) -> None:
    assert guarded.ask("POST", "/pay").json() == {"paid": True}

    guarded.stop()

    assert_denied(guarded.ask("POST", "/pay"), "KILL_SWITCH_ENGAGED")
    assert guarded.ask("GET", "/health").json() == {"status": "ok"}


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_request__of_any_method_and_size__is_guarded(guarded: Guarded, method: str) -> None:
    body = b"x" * 2_000_000 if method == "PUT" else None
    allowed = guarded.ask(method, "/echo/x", body=body)
    guarded.stop()
    denied = guarded.ask(method, "/echo/x", {"X-Request-ID": "abc"}, body)

    assert (allowed.status, denied.status) == (200, 503)
    assert denied.headers["X-Request-ID"] == "abc"
    assert (denied.body == b"") == (method == "HEAD")
    if body:
        assert allowed.json() == {"length": len(body)}


@pytest.mark.parametrize("path", ["/health/../pay", "//health", "/health/", "/healthy", "/nothing"])
def test_path__that_is_only_like_an_exempt_one__is_guarded(guarded: Guarded, path: str) -> None:
    guarded.stop()

    assert_denied(guarded.ask("POST", path), "KILL_SWITCH_ENGAGED")


def test_websocket__allowed__opens(guarded: Guarded) -> None:
    with connect(f"ws://127.0.0.1:{guarded.port}/socket") as socket:
        socket.send("hello")
        assert socket.recv() == "hello"


def test_websocket__stopped__is_refused_before_it_opens(guarded: Guarded) -> None:
    guarded.stop()

    with pytest.raises(InvalidStatus) as caught, connect(f"ws://127.0.0.1:{guarded.port}/socket"):
        pass

    assert caught.value.response.status_code == 503
    assert b"KILL_SWITCH_ENGAGED" in caught.value.response.body


def test_stop__acknowledged__holds_for_every_request_sent_after_it(guarded: Guarded) -> None:
    with ThreadPoolExecutor(16) as pool:
        for _ in range(5):
            guarded.allow()
            assert {answer.status for answer in pool.map(lambda _: guarded.ask("POST", "/pay"), range(32))} == {200}
            busy = [pool.submit(guarded.ask, "POST", "/pay") for _ in range(64)]
            guarded.stop()
            after = [pool.submit(guarded.ask, "POST", "/pay") for _ in range(32)]
            assert {future.result().status for future in after} == {503}
            assert {future.result().status for future in busy} <= {200, 503}


def test_gate__that_hangs__is_a_denial_in_time_for_all_and_nothing_else_waits(guarded: Guarded) -> None:
    guarded.line.freeze()
    try:
        with ThreadPoolExecutor(65) as pool:
            asked = [pool.submit(guarded.ask, "POST", "/pay") for _ in range(64)]
            time.sleep(0.3)
            # The event loop is free.
            assert guarded.ask("GET", "/health").seconds < SLACK * 1
            for future in asked:
                assert_denied(future.result(), "STATE_UNKNOWN")
                assert future.result().seconds < SLACK * LIMIT_SECONDS
    finally:
        guarded.line.thaw()
    wait_until(lambda: guarded.ask("POST", "/pay").status == 200, seconds=LIMIT_SECONDS)


def test_gate__that_is_gone__is_a_denial_until_it_is_back(guarded: Guarded) -> None:
    guarded.plane.server.stop()
    try:
        answer = guarded.ask("POST", "/pay")
        assert_denied(answer, "STATE_UNKNOWN")
        assert answer.seconds < SLACK * LIMIT_SECONDS
    finally:
        guarded.plane.server.start()

    assert guarded.ask("POST", "/pay").status == 200
