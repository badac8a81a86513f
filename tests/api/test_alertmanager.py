"""The Alertmanager webhook: what fires stops, what is resolved changes nothing, and what cannot be read stops too."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from golive.models import Event
from golive.state import singletons
from tests.api.callers import ALERTMANAGER, bearer, make_token
from tests.support.changes import go_live, newest

# As Alertmanager 0.28 sends it, but for the names.
MESSAGE: dict[str, Any] = {
    "receiver": "valhalla",
    "status": "firing",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "PaymentsFailing", "severity": "page"},
            "annotations": {"summary": "Half of all payments fail", "description": "5xx from the acquirer"},
            "startsAt": "2026-11-22T16:58:00.000Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus.example/graph",
            "fingerprint": "c4e6f1d0a9b8",
        },
        {
            "status": "resolved",
            "labels": {"alertname": "DiskFull"},
            "annotations": {"summary": "A disk was full"},
            "startsAt": "2026-11-22T15:58:00.000Z",
            "endsAt": "2026-11-22T16:57:00.000Z",
            "generatorURL": "",
            "fingerprint": "1",
        },
    ],
    "groupLabels": {},
    "commonLabels": {},
    "commonAnnotations": {},
    "externalURL": "http://alertmanager.example",
    "version": "4",
    "groupKey": "{}:{}",
    "truncatedAlerts": 0,
}


def send(client: Client, message: Any, *, content: bytes | None = None, headers: dict[str, str] | None = None) -> Any:
    body = json.dumps(message).encode() if content is None else content
    headers = headers or bearer(make_token("engage"))
    return client.post(ALERTMANAGER, data=body, content_type="application/json", headers=headers)


def test_firing__engages_with_the_summary_as_reason(client: Client) -> None:
    go_live()

    response = send(client, MESSAGE)

    assert response.status_code == 200
    answer = response.json()
    assert {key: answer[key] for key in ("action", "firing", "resolved", "changed", "kill_switch_engaged")} == {
        "action": "engage",
        "firing": 1,
        "resolved": 1,
        "changed": True,
        "kill_switch_engaged": True,
    }
    event = newest()
    assert (event.actor, event.reason, event.action) == ("token:bot", "Half of all payments fail", "engage")
    assert event.on_behalf_of == "Alertmanager, receiver valhalla"


@pytest.mark.parametrize(
    "message",
    [
        {**MESSAGE, "status": "resolved", "alerts": [MESSAGE["alerts"][1]]},
        {"status": "resolved", "alerts": []},
        {"status": "resolved"},
        {"alerts": []},
        {"alerts": [{"status": "resolved"}, {"status": "resolved"}]},
        {"status": "resolved", "alerts": [{"labels": {}}]},
    ],
)
def test_resolved__changes_nothing(client: Client, message: Any) -> None:
    go_live()
    token = bearer(make_token("engage"))
    count = Event.objects.count()

    response = send(client, message, headers=token)

    assert response.status_code == 200
    assert (response.json()["action"], response.json()["changed"], response.json()["event"]) == ("none", False, None)
    assert Event.objects.count() == count
    assert not singletons.read_go_live().kill_switch_engaged


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"not JSON",
        b'{"status": "firing"}',
        b'{"alerts": "many"}',
        b'{"alerts": [{}]}',
        b'{"alerts": [null]}',
        b'{"alerts": [{"status": "pending"}]}',
        b'{"alerts": [{"status": "firing", "annotations": null, "labels": []}]}',
        b'{"status": "firing", "alerts": [{"status": "resolved"}]}',
        b'{"alerts": [{"status": "firing", "annotations": {"summary": "\\ud800\\u0000"}}]}',
        b"[" * 1_000_000,
        b'{"alerts": [' + b" " * (1024 * 1024) + b"]}",
        b"\xff" * 100,
    ],
)
def test_unclear__counts_as_firing(client: Client, content: bytes) -> None:
    go_live()

    response = send(client, None, content=content)

    assert response.status_code == 200
    assert response.json()["changed"]
    assert singletons.read_go_live().kill_switch_engaged


@pytest.mark.parametrize(
    ("alert", "reason"),
    [
        ({"annotations": {"summary": " Spaced "}}, "Spaced"),
        ({"annotations": {"description": "Told at length"}}, "Told at length"),
        ({"labels": {"alertname": "DiskFull"}}, "The alert DiskFull is firing."),
        ({"annotations": {"summary": 5}, "labels": {"alertname": "X"}}, "The alert X is firing."),
        ({"annotations": {"summary": "a\x00b\x1b"}}, "ab"),
        ({"annotations": {"summary": "x" * 2000}}, "x" * 1000),
    ],
)
def test_reason__is_the_best_that_the_alert_says(client: Client, alert: dict[str, Any], reason: str) -> None:
    send(client, {"status": "firing", "alerts": [{"status": "firing", **alert}]})

    assert newest().reason == reason


def test_grouped__of_500_kb__engages_with_as_many_summaries_as_fit(client: Client) -> None:
    go_live()
    alerts = [{**MESSAGE["alerts"][0], "annotations": {"summary": f"Shard {number} is down"}} for number in range(1700)]
    body = json.dumps({**MESSAGE, "alerts": alerts}).encode()
    assert 480_000 < len(body) < 1024 * 1024

    response = send(client, None, content=body)

    assert (response.status_code, response.json()["firing"]) == (200, 1700)
    assert newest().reason.startswith("Shard 0 is down\nShard 1 is down\n")
    assert newest().reason.endswith("… and more alerts.")
    assert len(newest().reason) <= 1000


def write_as_alertmanager(status: str, count: int) -> bytes:
    """A message of `count` alerts byte by byte in the order in which Alertmanager writes its fields (Go's JSON)."""
    alerts = [{**MESSAGE["alerts"][0], "status": status, "fingerprint": f"{number:016x}"} for number in range(count)]
    names = ("receiver", "status", "alerts", "groupLabels", "commonLabels", "commonAnnotations", "externalURL")
    message = {**MESSAGE, "status": status, "alerts": alerts}
    ordered = {name: message[name] for name in (*names, "version", "groupKey", "truncatedAlerts")}
    return json.dumps(ordered, separators=(",", ":")).encode() + b"\n"


@pytest.mark.parametrize("count", [4_000, 60_000])
def test_resolved__over_1_mib__changes_nothing(client: Client, count: int) -> None:
    go_live()
    body = write_as_alertmanager("resolved", count)
    assert len(body) > 1024 * 1024
    token = make_token("engage")
    events = Event.objects.count()

    response = send(client, None, content=body, headers=bearer(token))

    assert (response.status_code, response.json()["action"], response.json()["changed"]) == (200, "none", False)
    assert response.json()["resolved"] > 1_000
    assert "only the beginning of the body was read" in response.json()["notes_on_request"][0]
    assert not singletons.read_go_live().kill_switch_engaged
    assert Event.objects.count() == events


def test_firing__over_1_mib__engages_and_says_why(client: Client) -> None:
    go_live()

    response = send(client, None, content=write_as_alertmanager("firing", 5_000))

    assert (response.status_code, response.json()["changed"]) == (200, True)
    assert response.json()["firing"] > 1_000
    assert newest().reason == "Half of all payments fail"
    assert newest().on_behalf_of == "Alertmanager, receiver valhalla"


def test_firing__over_1_mib_whose_beginning_is_all_resolved__engages(client: Client) -> None:
    go_live()
    body = write_as_alertmanager("resolved", 5_000).replace(b'"status":"resolved"', b'"status":"firing"', 1)

    assert send(client, None, content=body).json()["changed"]
    assert singletons.read_go_live().kill_switch_engaged


@pytest.mark.parametrize(
    "beginning",
    [
        b'{"status":"resolved","status":"firing","alerts":[',
        b'{"groupLabels":{"status":"resolved"},"alerts":[',
        b'{"receiver":"\\"status\\":\\"resolved\\"","alerts":[',
        b'[{"status":"resolved"},',
        b'{"status":"resolved","alerts":[{"status":"firing"},',
        b'{"status":"resolv',
    ],
)
def test_over_1_mib__that_does_not_clearly_say_resolved__engages(client: Client, beginning: bytes) -> None:
    go_live()

    assert send(client, None, content=beginning + b" " * (1024 * 1024)).json()["changed"]


def test_repeated__is_acknowledged_and_recorded_each_time(client: Client) -> None:
    token = bearer(make_token("engage"))
    count = Event.objects.count()

    answers = [
        client.post(ALERTMANAGER, data=MESSAGE, content_type="application/json", headers=token) for _ in range(2)
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert Event.objects.count() == count + 2


def test_database_fails__is_503_so_that_it_is_sent_again(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**kwargs: Any) -> None:
        raise OperationalError("made to fail")

    token = bearer(make_token("engage"))
    monkeypatch.setattr(singletons, "lock_rows", fail)

    response = send(client, MESSAGE, headers=token)

    assert (response.status_code, response.json()["code"]) == (503, "NOT_APPLIED")
