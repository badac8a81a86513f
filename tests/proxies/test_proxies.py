"""Real proxies with the configurations of docs/consumers/proxies, the real gate, and an application behind them."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.proxies.programs import PROGRAMS, Behind
from tests.proxies.site import PATIENCE_SECONDS, Site, assert_denied, open_tunnel
from tests.support.server import find_free_port, request

pytestmark = [pytest.mark.proxy, pytest.mark.slow]

BIG = os.urandom(3_000_000)
PREFLIGHT = {"Origin": "https://shop.example.com", "Access-Control-Request-Method": "POST"}


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


def test_websocket__allowed_then_stopped__opens_then_not(site: Site) -> None:
    assert open_tunnel(site, b"Upgrade: websocket") == (True, ["GET /socket", "websocket: hello"])
    site.stop()

    assert open_tunnel(site, b"Upgrade: websocket") == (False, [])


@pytest.mark.parametrize("status", [403, 500, 503])
def test_error__of_the_application__is_handed_on_as_it_is(site: Site, status: int) -> None:
    answer = site.ask("GET", "/pay", {"X-Answer": str(status)})

    assert (answer.status, "length" in answer.json()) == (status, True)
    assert "X-GoLive-Code" not in answer.headers


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/pay?" + "q" * 5_000, {}), ("/pay", {"X-Client-Certificate": "c" * 9_000}), ("/" + "p" * 5_000, {})],
    ids=["query", "header", "path"],
)
def test_request__allowed__passes_whatever_its_size(site: Site, path: str, headers: dict[str, str]) -> None:
    """Nothing of it goes to the gate, which takes no more than 4 KB of a target and 8 KB of a header."""
    assert site.ask("GET", path, headers).status == 200
    assert site.backend.reached == [f"GET {path}"]
    site.stop()

    assert_denied(site, site.ask("GET", path, headers), "KILL_SWITCH_ENGAGED")


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


def test_gate__that_hangs__is_a_denial_without_it(site: Site) -> None:
    """The answers come while the gate still hangs."""
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
    assert site.ask("GET", "/pay").status == 200


def test_gate__that_is_gone__is_a_denial_until_it_is_back(site: Site) -> None:
    site.plane.server.stop()
    try:
        for _ in range(3):
            assert_denied(site, site.ask("POST", "/pay", body=b"{}"), "STATE_UNKNOWN")
    finally:
        site.plane.server.start()

    assert site.ask("GET", "/pay").status == 200


def test_application__that_is_gone__is_not_taken_for_a_stop(site: Site) -> None:
    with PROGRAMS[site.name](Behind(site.plane.server.port, find_free_port())) as ports:
        answer = request("GET", f"http://127.0.0.1:{ports['main']}/pay")

    assert answer.status in (502, 503)
    assert "X-GoLive-Code" not in answer.headers
    assert "STATE_UNKNOWN" not in answer.text


def test_nginx__its_own_location_of_the_gate__cannot_be_asked_from_outside(site: Site) -> None:
    if site.name == "nginx":
        assert site.ask("GET", "/_golive/gate").status == 404
        assert site.backend.reached == []


def test_location__that_is_left_out__is_not_guarded(site: Site) -> None:
    site.stop()

    assert site.ask("POST", "/health").status == 200
    assert site.backend.reached == ["POST /health"]


@pytest.mark.parametrize("status", [b"403 Forbidden", b"301 Moved", b"500 Oops"])
def test_gate__gets_nothing_of_the_clients_and_says_anything_but_yes(site: Site, status: bytes) -> None:
    """No credentials, no target, and no body that it would have to throw away. Without a code nobody knows why."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        PROGRAMS[site.name](Behind(listener.getsockname()[1], site.backend.port)) as ports,
        ThreadPoolExecutor(1) as pool,
    ):
        url = f"http://127.0.0.1:{ports['main']}/pay?secret"
        secrets = dict.fromkeys(("Authorization", "Cookie", "X-Secret", "Accept", "User-Agent"), "secret")
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
        asked = pool.submit(request, "POST", url, headers={**secrets, **upgrade}, body=b"the secret body")
        received = b""
        listener.settimeout(PATIENCE_SECONDS)
        while b"\r\n\r\n" not in received:
            connection, _ = listener.accept()  # the first may be the proxy's look whether anybody listens
            with connection:
                connection.settimeout(PATIENCE_SECONDS)
                received = connection.recv(65536)
                connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        answer = asked.result()

    if site.name == "caddy":  # hands on what it is answered
        assert answer.status == int(status.split()[0])
        assert site.backend.reached == []
    else:
        assert_denied(site, answer, "STATE_UNKNOWN")
    assert received.startswith(b"GET /gate")
    assert b"secret" not in received
    assert b"pgrade" not in received
    assert received.endswith(b"\r\n\r\n")
