"""The API as it is served: gunicorn, several workers, many writers at once."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, NamedTuple

import pytest

from golive.domain.changes import CHANGES
from tests.api.callers import ALERTMANAGER, BAD_TOKEN
from tests.api.service import Service, find_secrets, is_on_postgresql, running_service
from tests.support.server import request

ENGAGE = "/api/governance/go-live/kill-switch/engage"
RELEASE = "/api/governance/go-live/kill-switch/release"
# Two by the seeds, one by which migrate recorded itself.
SEEDED = 3


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_service() as running:
        yield running


def send_chunked(service: Service, path: str, pieces: list[bytes]) -> tuple[int, Any]:
    """A body without Content-Length."""
    with closing(http.client.HTTPConnection("127.0.0.1", service.server.port, timeout=60)) as connection:
        headers = {
            "Authorization": f"Bearer {service.token()}",
            "Content-Type": "application/json",
            "Transfer-Encoding": "chunked",
        }
        connection.request("POST", path, body=iter(pieces), headers=headers, encode_chunked=True)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


# -- bodies on the wire ------------------------------------------------------------------------------------------------


def test_chunked__is_read_as_any_body(service: Service) -> None:
    status, answer = send_chunked(service, ENGAGE, [b'{"reason": ', b'"In pieces"}'])

    assert (status, answer["changed"]) == (200, False)
    history = service.ask("GET", "/api/governance/go-live/history?limit=1").json()
    assert history["events"][0]["reason"] == "In pieces"


def test_chunked__too_large__is_413_toward_live_and_ignored_toward_safe(service: Service) -> None:
    pieces = [b'{"reason": "', *[b"x" * 1000] * 17, b'"}']

    refused, _ = send_chunked(service, RELEASE, pieces)
    status, answer = send_chunked(service, ENGAGE, pieces)

    assert refused == 413
    assert status == 200
    assert "16 KiB" in answer["notes_on_request"][0]


def test_chunked__broken__stops_all_the_same(service: Service) -> None:
    head = f"POST {{}} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {service.token()}\r\n"
    head += "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\nnot a length\r\n"
    statuses = []
    for path in (ENGAGE, RELEASE):
        with closing(socket.create_connection(("127.0.0.1", service.server.port), timeout=60)) as raw:
            raw.sendall(head.format(path).encode())
            statuses.append(int(raw.recv(4096).split()[1]))

    assert statuses == [200, 400]


def test_alert__grouped_of_500_kb__is_taken(service: Service) -> None:
    alerts = [{"status": "firing", "annotations": {"summary": f"Shard {number} {'x' * 300}"}} for number in range(1500)]
    content = json.dumps({"status": "firing", "alerts": alerts})
    assert len(content) > 500_000

    answer = service.ask("POST", ALERTMANAGER, token=service.token("engage"), content=content)

    assert (answer.status, answer.json()["firing"]) == (200, 1500)


# -- across workers ----------------------------------------------------------------------------------------------------


def test_revoked__is_refused_by_every_worker_at_once(service: Service) -> None:
    token = service.manage("golive", "token", "create", "short-lived", "--scope", "engage").strip()
    before = {service.call("engage", token=token).status for _ in range(8)}

    service.manage("golive", "token", "revoke", "short-lived")

    assert (before, {service.call("engage", token=token).status for _ in range(8)}) == ({200}, {401})


def test_throttle__counts_over_all_workers_and_holds_up_nobody_valid() -> None:
    with running_service(GOLIVE_TRUSTED_PROXIES="1") as service:

        def guess(address: str) -> int:
            return service.ask("POST", ENGAGE, token=BAD_TOKEN, headers={"X-Forwarded-For": address}).status

        token = service.token()
        statuses = [guess("192.0.2.1") for _ in range(20)]
        here = service.ask("POST", ENGAGE, token=token, headers={"X-Forwarded-For": "192.0.2.1"}).status

        assert statuses == [401] * 10 + [429] * 10
        assert (here, guess("192.0.2.2")) == (200, 401)


def test_request_id__stands_in_answer_event_and_log(service: Service) -> None:
    answer = service.ask("POST", ENGAGE, token=service.token(), headers={"X-Request-ID": "alert-4711"})

    event = service.ask("GET", "/api/governance/go-live/history?limit=1").json()["events"][0]
    assert answer.headers["X-Request-ID"] == event["request_id"] == "alert-4711"
    lines = [line for line in service.server.log_text().splitlines() if "[alert-4711]" in line]
    assert any(
        f"by {event['actor']} via api: no change, event {event['sequence']}, event_head {event['hash']}" in line
        for line in lines
    )
    assert any(f'"POST {ENGAGE} HTTP/1.1" 200' in line for line in lines)


@pytest.mark.parametrize("offered", ["a b", "x" * 129, "é", "<script>", ""])
def test_request_id__that_is_not_sane__is_replaced(service: Service, offered: str) -> None:
    answer = service.ask("GET", "/api/status", headers={"X-Request-ID": offered.encode().decode("latin-1")})

    assert answer.headers["X-Request-ID"] not in ("", offered)


# -- browsers of other origins -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), [("POST", ENGAGE), ("POST", RELEASE), ("PATCH", "/api/system/status")])
def test_preflight__of_a_change_with_a_token__is_answered(service: Service, method: str, path: str) -> None:
    headers = {
        "Origin": "https://editor.weweb.io",
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type,x-request-id",
    }
    answer = request("OPTIONS", service.server.url(path), headers=headers)

    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "https://editor.weweb.io"
    assert method in answer.headers["Access-Control-Allow-Methods"]
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    assert all(name in allowed for name in ("authorization", "content-type", "x-request-id"))
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_change__of_another_origin__exposes_what_the_page_needs(service: Service) -> None:
    answer = service.ask("POST", ENGAGE, token=service.token(), headers={"Origin": "https://app.weweb.io"})

    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.weweb.io"
    assert {"ETag", "X-Request-ID"} <= set(answer.headers["Access-Control-Expose-Headers"].split(", "))


# -- many writers ------------------------------------------------------------------------------------------------------


class Answered(NamedTuple):
    """What one request for a change was answered."""

    name: str
    status: int
    changed: bool
    event: int


def write_many(service: Service, writer: int, count: int, token: str) -> list[Answered]:
    """Make changes on one connection: completing, reopening and editing the backend, and stopping."""
    found: list[Answered] = []
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with closing(http.client.HTTPConnection("127.0.0.1", service.server.port, timeout=30)) as connection:
        for number in range(count):
            change = CHANGES[("complete", "edit", "engage", "reopen")[(writer + number) % 4]]
            fields = {"reason": f"Writer {writer}, change {number}"}
            if change.takes:
                fields["notes"] = fields["reason"]
            connection.request(change.method, change.path, json.dumps(fields), headers)
            answer = connection.getresponse()
            values = json.loads(answer.read())
            found.append(Answered(change.name, answer.status, values.get("changed"), values.get("event")))
    return found


@pytest.mark.slow
def test_many_writers__lose_nothing() -> None:
    """10 writers x 60 changes: as many as one worker takes, should all their connections come to the same one.

    SQLite lets one write at a time, with no queue for the others: fewer there.

    They have one credential, so their repeated stops are gathered; each is counted in the event that it was told of.
    """
    writers, each = (10, 60) if is_on_postgresql() else (4, 24)
    with running_service() as service:
        token = service.token()
        # Else each of them would wait a quarter of a second for its acknowledgement.
        service.manage("golive", "lease", "0")
        with ThreadPoolExecutor(writers) as pool:
            runs = list(pool.map(lambda writer: write_many(service, writer, each, token), range(writers)))

        answers = [answer for found in runs for answer in found]
        assert {answer.status for answer in answers} == {200}
        assert len(answers) == writers * each
        stops = Counter((answer.name, answer.event) for answer in answers if answer.name in ("engage", "reopen"))
        others = [answer for answer in answers if answer.name in ("complete", "edit")]
        assert len({answer.event for answer in others}) == len(others)
        reopened = sum(name == "reopen" for name, _ in stops)
        backend = service.ask("GET", "/api/system/status").json()
        # Each stop raises the revision; the lease has done so once.
        assert backend["revision"] == 1 + sum(answer.changed for answer in others) + reopened
        assert service.state()["revision"] == 2 + len(stops) - reopened
        # Two events are the seed's, one is the token's and one is the lease's.
        count = len(others) + len(stops) + SEEDED + 2
        assert f"{count} events checked, 0 problems." in service.manage("golive", "history", "--verify")
        history = service.ask("GET", "/api/governance/go-live/history?limit=1000", token=token).json()["events"]
        reasons = {event["sequence"]: event["reason"] for event in history}
        for (_, sequence), requests in stops.items():
            told = re.search(r"\[([0-9]+) requests[^]]*\]$", reasons[sequence])
            assert int(told[1] if told else 1) == requests


# -- what is written down ----------------------------------------------------------------------------------------------


def test_log__holds_nothing_of_a_token(service: Service) -> None:
    tokens = [service.token(), BAD_TOKEN]
    for token in tokens:
        service.ask("POST", ENGAGE, token=token)
        service.ask("GET", f"/api/status?token={token}", token=token)
        service.ask("POST", RELEASE, token=token, content=b"{")

    log = service.server.log_text()

    assert ENGAGE in log
    assert find_secrets(log) == []
    for token in tokens:
        assert token.rpartition("_")[2] not in log
