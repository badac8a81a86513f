"""The history: pages, the walk over the whole record, and the proof of it by somebody who has nothing but the JSON."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from django.test import Client

from tests.http import endpoints
from tests.http.endpoints import assert_problem, describe
from tests.support.changes import go_live, make_change

EVENT_SHAPE = {
    "sequence": "int",
    "at": "time",
    "actor": "str",
    "user_id": None,
    "on_behalf_of": None,
    "channel": "str",
    "subject": "str",
    "action": "str",
    "reason": "str",
    "changed": "bool",
    "override": "bool",
    "before": "dict",
    "after": "dict",
    "failed_checks": None,
    "request_id": None,
    "remote_addr": None,
    "salt": "str",
    "hash_version": "int",
    "previous_hash": "str",
    "hash": "str",
}


def _read(client: Client, **query: str | int) -> Any:
    response = client.get(endpoints.HISTORY, query)
    assert response.status_code == 200
    return response.json()


def _walk(client: Client, limit: int) -> list[list[dict[str, Any]]]:
    """Every page, by its cursors, as a consumer walks them."""
    pages = []
    query: dict[str, str | int] = {"limit": limit}
    for _ in range(100):
        found = _read(client, **query)
        pages.append(found["events"])
        if found["next"] is None:
            return pages
        query["before"] = found["next"]
    raise AssertionError("the pages do not end")


def _hash(event: dict[str, Any]) -> str:
    """As an outsider recomputes it from the contract, without a line of our code."""
    rest = {name: value for name, value in event.items() if name != "hash"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


def test_history__after_a_change__has_every_key_and_type(client: Client) -> None:
    make_change("complete", reason="Done.", actor="ann")

    found = _read(client)

    newest = found["events"][0]
    assert list(found) == ["events", "next"]
    assert list(newest) == list(EVENT_SHAPE)
    assert {**describe(newest), "before": "dict", "after": "dict"} == EVENT_SHAPE
    assert describe(newest["after"]) == {
        "version": "str",
        "backend_complete": "bool",
        "notes": None,
        "updated_at": "time",
        "completed_at": "time",
        "revision": "int",
    }
    assert (newest["actor"], newest["action"], newest["reason"], newest["channel"]) == (
        "ann",
        "complete",
        "Done.",
        "cli",
    )


def test_history__after_first_deploy__is_the_two_seeds(reader: Client) -> None:
    found = _read(reader)

    assert [(event["action"], event["subject"], event["channel"]) for event in found["events"]] == [
        ("seed", "go_live_state", "migration"),
        ("seed", "system_metadata", "migration"),
    ]
    assert found["next"] is None


def test_history__no_limit__is_fifty(client: Client) -> None:
    for _ in range(49):
        make_change("engage")

    found = _read(client)

    assert [event["sequence"] for event in found["events"]] == list(range(51, 1, -1))
    assert found["next"] == "2"


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 1000])
def test_walk__any_page_size__is_the_whole_record_newest_first(client: Client, limit: int) -> None:
    go_live()
    make_change("engage")
    make_change("engage")  # changes nothing, and is on the record

    pages = _walk(client, limit)

    events = [event for page in pages for event in page]
    assert [event["sequence"] for event in events] == [7, 6, 5, 4, 3, 2, 1]
    assert all(len(page) == limit for page in pages[:-1])
    assert pages[-1]  # `next` is null on the last page, not one page later
    assert [event["action"] for event in events] == [
        "engage",
        "engage",
        "enable",
        "release",
        "complete",
        "seed",
        "seed",
    ]
    assert [event["changed"] for event in events[:3]] == [False, True, True]


def test_walk__changes_made_meanwhile__repeats_and_skips_nothing(client: Client) -> None:
    go_live()
    first = _read(client, limit=2)
    make_change("engage")

    second = _read(client, limit=2, before=first["next"])

    assert [event["sequence"] for event in (*first["events"], *second["events"])] == [5, 4, 3, 2]


def test_chain__recomputed_by_an_outsider__holds_from_the_head_to_the_first(client: Client) -> None:
    make_change("complete", version="2.0 ü 停", notes="Line\nbreak\tand “quotes”\u2028and more", reason='{"json": 1}')
    make_change("release", reason="<b>&amp;</b> \\ / \u00e9e\u0301 🛑")
    make_change("enable")
    make_change("reopen")
    make_change("engage")

    events = [event for page in _walk(client, 3) for event in page]

    assert events[0]["hash"] == client.get(endpoints.STATE).json()["event_head"]
    assert [event["hash"] for event in events] == [_hash(event) for event in events]
    assert [event["previous_hash"] for event in events] == [*(event["hash"] for event in events[1:]), None]


def test_chain__as_the_bytes_are_served__holds_whatever_the_parser_does_with_numbers(client: Client) -> None:
    """No float, no number beyond 2**53: a consumer in JavaScript reads the same values."""
    go_live()

    numbers: list[str] = []
    json.loads(client.get(endpoints.HISTORY).content, parse_float=numbers.append, parse_int=int)

    assert numbers == []


@pytest.mark.parametrize(
    "limit",
    [
        "-1",
        "0",
        "1001",
        "abc",
        "",
        "1.0",
        "1e2",
        "٣",
        "\uff11\uff12",
        " 1",
        "1 ",
        "+1",
        "0x10",
        "1_0",
        "9" * 5000,
        "\x00",
        "1\n",
        "null",
    ],
)
def test_limit__not_a_number_from_1_to_1000__is_422(reader: Client, limit: str) -> None:
    problem = assert_problem(reader.get(endpoints.HISTORY, {"limit": limit}), 422, "INVALID_REQUEST")

    assert [error["field"] for error in problem["errors"]] == ["limit"]
    assert "1000" in problem["errors"][0]["message"]


@pytest.mark.parametrize(
    "before", ["-1", "0", "abc", "", "٣", "1.5", "9" * 19 + "9", "9223372036854775808", "\x00", "1;DROP"]
)
def test_before__malformed__is_422(reader: Client, before: str) -> None:
    problem = assert_problem(reader.get(endpoints.HISTORY, {"before": before}), 422, "INVALID_REQUEST")

    assert [error["field"] for error in problem["errors"]] == ["before"]


def test_paging__both_malformed__names_both(reader: Client) -> None:
    problem = assert_problem(reader.get(endpoints.HISTORY, {"limit": "x", "before": "y"}), 422, "INVALID_REQUEST")

    assert [error["field"] for error in problem["errors"]] == ["limit", "before"]


@pytest.mark.parametrize(("before", "expected"), [("1", []), ("2", [1]), ("9223372036854775807", [2, 1])])
def test_before__at_the_edges__is_answered(reader: Client, before: str, expected: list[int]) -> None:
    found = _read(reader, before=before)

    assert [event["sequence"] for event in found["events"]] == expected
    assert found["next"] is None


def test_history__unknown_parameters__are_ignored(reader: Client) -> None:
    assert _read(reader, offset="7", limit="1", order="asc")["events"][0]["sequence"] == 2
