"""On the wire, under gunicorn: what the test client does not show. Answers end where they say, whatever was asked."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPConnection
from typing import Any

import pytest

from golive.database.deadline import READ_SECONDS
from tests.http import endpoints
from tests.support.patience import ends_within, wait_until
from tests.support.served import server_environment
from tests.support.server import GunicornServer, request


@pytest.fixture(scope="module")
def server(django_db_setup: None, django_db_blocker: Any) -> Iterator[GunicornServer]:
    with django_db_blocker.unblock():
        environment = server_environment()
    with GunicornServer(environment, workers=1) as server:
        yield server


def _send(server: GunicornServer, request: bytes) -> bytes:
    """What comes back for these bytes, until the server ends the connection, be it in the middle of the request."""
    received = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection, suppress(ConnectionError):
        connection.sendall(request)
        while part := connection.recv(65536):
            received += part
    return received


def _status(answer: bytes) -> int:
    found = re.match(rb"HTTP/1\.[01] (\d{3}) ", answer)
    assert found, answer[:200]
    return int(found[1])


def test_connection__answers_without_a_body_in_between__stays_in_step(server: GunicornServer) -> None:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    seen = []
    for method, path, headers in (
        ("HEAD", endpoints.STATE, {}),
        ("GET", endpoints.STATE, {"If-None-Match": "*"}),
        ("OPTIONS", endpoints.STATE, {}),
        ("HEAD", "/", {}),
        ("POST", endpoints.STATE, {}),
        ("HEAD", "/api/nothing", {}),
        ("GET", endpoints.STATE, {}),
    ):
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status == 204:
            assert answer.headers["Content-Length"] is None
        seen.append((method, answer.status, bool(body), answer.will_close))
    connection.close()

    assert seen == [
        ("HEAD", 200, False, False),
        ("GET", 304, False, False),
        ("OPTIONS", 204, False, False),
        ("HEAD", 200, False, False),
        ("POST", 405, True, False),
        ("HEAD", 404, False, False),
        ("GET", 200, True, False),
    ]


def test_head__on_the_wire__sends_the_length_and_nothing_more(server: GunicornServer) -> None:
    head = _send(server, b"HEAD /api/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    get = _send(server, b"GET /api/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    lengths = [re.findall(rb"Content-Length: (\d+)", answer) for answer in (head, get)]
    assert head.endswith(b"\r\n\r\n")
    assert lengths[0] == lengths[1] == [str(len(get.partition(b"\r\n\r\n")[2])).encode()]


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /api/\xff\xfe HTTP/1.1",
        b"GET /api/status?x=\xff HTTP/1.1",
        b"GET /api/%00 HTTP/1.1",
        b"GET /api/%0d%0aX: HTTP/1.1",
        b"GET http://evil.example/api/status HTTP/1.1",
        b"GET * HTTP/1.1",
        b"GET //api/status HTTP/1.1",
        b"GET /api/status HTTP/9.9",
        b"GET /api/status",
        b"\x00\x01\x02",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1",
        b"GET /api/status HTTP/1.1\r\nX: " + b"y" * 100_000,
        b"GET /api/status HTTP/1.1" + b"\r\nX: y" * 1000,
        b"GET /api/status HTTP/1.1\r\nX-Request-ID: a\x0bb",
        b"GET /api/status HTTP/1.1\r\nX Y: z",
        b"POST /api/status HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        b"POST /api/status HTTP/1.1\r\nContent-Length: -1",
        b"POST /api/status HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz",
    ],
    ids=lambda line: repr(line[:40]),
)
def test_request__that_is_hardly_one__is_refused_or_answered(server: GunicornServer, request_line: bytes) -> None:
    answer = _send(server, request_line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    # Nothing at all is an answer too: some of these are ended by gunicorn before they are a request.
    assert not answer or _status(answer) < 500
    assert b"Traceback" not in answer


def test_header__split_by_a_line_break__makes_no_header_of_its_own(server: GunicornServer) -> None:
    request = b"GET /api/status HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: a\nX-Evil: 1\r\nConnection: close\r\n\r\n"

    assert b"X-Evil" not in _send(server, request)


ACCESS_LINE = re.compile(
    r"""\[(?P<at>[^]]+)\]\ (?P<client>\S+)\ "(?P<request>[^"]*)"\ (?P<status>\d{3})\ (?P<bytes>\d+)\ bytes
    \ (?P<ms>\d+)\ ms\ \[(?P<id>[^]]*)\]\ "(?P<agent>.*)" """.rstrip(),
    re.VERBOSE,
)


def _logged_of(server: GunicornServer, agent: str, count: int) -> list[dict[str, str]]:
    """The lines of the access log for one client, once there are so many."""

    def find() -> list[dict[str, str]]:
        found = (ACCESS_LINE.fullmatch(line) for line in server.log_text().splitlines() if agent in line)
        return [line.groupdict() for line in found if line]

    wait_until(lambda: len(find()) >= count, seconds=5)
    return find()


def test_log__of_a_request__says_who_asked_what_and_no_query(server: GunicornServer) -> None:
    head = b'Host: localhost\r\nX-Request-ID: seen-by-me\r\nUser-Agent: reader%d "x"\r\nConnection: close\r\n\r\n'
    answer = _send(server, b"GET /api/status?token=s3cret HTTP/1.1\r\n" + head % 1)
    _send(server, b"GET /api/%0aforged HTTP/1.1\r\n" + head % 1)

    read, forged = _logged_of(server, "reader1", 2)

    assert re.fullmatch(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000", read["at"])
    assert (read["client"], read["request"], read["status"]) == ("127.0.0.1", "GET /api/status HTTP/1.1", "200")
    assert int(read["bytes"]) == len(answer.partition(b"\r\n\r\n")[2])
    assert (read["id"], read["agent"]) == ("seen-by-me", 'reader1 \\"x\\"')
    assert (forged["request"], forged["status"]) == ("GET /api/%0aforged HTTP/1.1", "404")
    assert "s3cret" not in server.log_text()


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: x",
        b"Content-Length: 3\r\nContent-Length: 4",
        b"Content-Length: 3\r\nTransfer-Encoding: chunked",
    ],
    ids=["no number", "two lengths", "length and chunks"],
)
def test_body__whose_length_is_unclear__is_refused_and_logged(server: GunicornServer, headers: bytes) -> None:
    before = server.log_text().count('"POST /api/unclear HTTP/1.1" 400 ')

    answer = _send(server, b"POST /api/unclear?token=s3cret HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n\r\n")

    assert _status(answer) == 400
    assert server.log_text().count('"POST /api/unclear HTTP/1.1" 400 ') == before + 1
    assert "s3cret" not in server.log_text()


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"POST /gate/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n",
        b"GET /gate/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ],
    ids=["nothing", "no body", "no end"],
)
def test_connections__that_say_no_more__hold_nobody_up_for_long(server: GunicornServer, begun: bytes) -> None:
    with ExitStack() as stack:
        for _ in range(16):
            silent = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            silent.sendall(begun)

        with ends_within(3):
            answer = _send(server, b"GET /gate/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    assert _status(answer) == 403


@pytest.mark.slow
def test_flag__for_a_client_that_is_slow_with_the_body__is_that_of_the_state(server: GunicornServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(
            b"POST /ofrep/v1/evaluate/flags/execution-allowed HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{"
        )
        time.sleep(READ_SECONDS + 0.2)
        connection.sendall(b"}")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert _status(answer) == 200
    assert b'"reason":"TARGETING_MATCH"' in answer
    assert "is now STATE_UNKNOWN" not in server.log_text()


@pytest.mark.parametrize("mebibytes", [1, 7])
def test_flag__with_a_context_that_is_longer_than_what_is_read__is_answered(
    server: GunicornServer, mebibytes: int
) -> None:
    body = b'{"context": {"a": "' + b"a" * mebibytes * 1024 * 1024 + b'"}}'

    answer = request(
        "POST", server.url("/ofrep/v1/evaluate/flags"), headers={"Content-Type": "application/json"}, body=body
    )

    assert (answer.status, len(answer.json()["flags"])) == (200, 4)


def test_log__leaves_the_gate_out__and_tells_its_decision(server: GunicornServer) -> None:
    for path in (b"/gate", b"/gate-503/any", b"/gated"):
        _send(
            server, b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nUser-Agent: proxy\r\nConnection: close\r\n\r\n"
        )

    assert [line["request"] for line in _logged_of(server, "proxy", 1)] == ["GET /gated HTTP/1.1"]
    assert "the decision from default is now " in server.log_text()


def test_host__that_is_not_ours__is_refused_and_told_in_one_line(server: GunicornServer) -> None:
    before = server.log_text().count("Invalid HTTP_HOST header: 'evil.example'")

    answer = _send(server, b"GET /api/status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")

    assert _status(answer) == 400
    assert server.log_text().count("Invalid HTTP_HOST header: 'evil.example'") == before + 1
    assert "Traceback" not in server.log_text()


def test_server__after_all_that__has_logged_no_error_of_its_own(server: GunicornServer) -> None:
    assert _status(_send(server, b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")) == 200
    assert "Traceback" not in server.log_text()
