"""Browsers of other origins: WeWeb's may read, nobody's may bring credentials, and a preflight never fails."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.http import endpoints
from tests.http.endpoints import execute, without_table

ALLOWED = (
    "https://editor.weweb.io",
    "https://app.weweb.io",
    "https://preview.weweb.io",
    "https://my-project.weweb.io",
    "https://a1b2c3.weweb.app",
    "https://a.b.weweb.app",
    "https://x-y.z.weweb.io",
)
REFUSED = (
    "http://app.weweb.io",
    "http://a.weweb.app",
    "https://weweb.io.evil.com",
    "https://app.weweb.io.evil.com",
    "https://evilweweb.io",
    "https://evil-weweb.app",
    "https://weweb.app.evil.com",
    "https://evil.com/https://app.weweb.io",
    "https://evil.com?https://app.weweb.io",
    "https://evil.com#.weweb.io",
    "https://evil.com\\.weweb.io",
    "https://app.weweb.io@evil.com",
    "https://app.weweb.io:8443",
    "https://app.weweb.io.",
    "https://app.weweb.ioo",
    "https://appXweweb.io",
    "https://.weweb.io",
    "https://app_weweb.io",
    "https://app..weweb.io",
    "https://ünïcode.weweb.io",
    "//app.weweb.io",
    "app.weweb.io",
    "null",
    "*",
    "",
)
PREFLIGHT = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "if-none-match,x-request-id"}


@pytest.mark.parametrize("origin", ALLOWED)
def test_origin_of_weweb__may_read(reader: Client, origin: str) -> None:
    response = reader.get(endpoints.STATUS, headers={"Origin": origin})

    assert response["Access-Control-Allow-Origin"] == origin
    assert {"etag", "x-request-id"} <= {
        name.strip().lower() for name in response["Access-Control-Expose-Headers"].split(",")
    }
    assert "Access-Control-Allow-Credentials" not in response
    assert "origin" in response["Vary"].lower()


@pytest.mark.parametrize("origin", REFUSED)
def test_origin_that_only_looks_like_it__may_not(reader: Client, origin: str) -> None:
    simple = reader.get(endpoints.STATUS, headers={"Origin": origin})
    preflight = reader.options(endpoints.STATUS, headers={"Origin": origin, **PREFLIGHT})

    assert "Access-Control-Allow-Origin" not in simple
    assert "Access-Control-Allow-Origin" not in preflight
    assert simple.status_code == 200


@pytest.mark.parametrize("path", endpoints.ALL)
def test_every_answer__to_an_allowed_origin__can_be_read(reader: Client, path: str) -> None:
    for target in (path, f"{path}/"):
        assert reader.get(target, headers={"Origin": ALLOWED[0]})["Access-Control-Allow-Origin"] == ALLOWED[0]


def test_304_and_errors__to_an_allowed_origin__can_be_read(client: Client) -> None:
    headers = {"Origin": ALLOWED[0]}

    answers = [
        client.get(endpoints.STATE, headers={**headers, "If-None-Match": "*"}),
        client.get("/api/nothing", headers=headers),
        client.post(endpoints.STATE, headers=headers),
        client.get(endpoints.HISTORY, {"limit": "x"}, headers=headers),
    ]
    execute("DELETE FROM go_live_state")
    answers.append(client.get(endpoints.STATE, headers=headers))

    assert [answer.status_code for answer in answers] == [304, 404, 405, 422, 503]
    assert {answer["Access-Control-Allow-Origin"] for answer in answers} == {ALLOWED[0]}


@pytest.mark.parametrize("origin", ALLOWED)
def test_preflight__from_weweb__is_granted(reader: Client, origin: str) -> None:
    response = reader.options(endpoints.STATE, headers={"Origin": origin, **PREFLIGHT})

    allowed = {name.strip() for name in response["Access-Control-Allow-Headers"].split(",")}
    assert response.status_code in (200, 204)
    assert response["Access-Control-Allow-Origin"] == origin
    assert {"authorization", "content-type", "if-none-match", "x-request-id"} <= allowed
    # What instrumented pages, and a fetch that asks for a fresh answer, send along.
    assert {"traceparent", "tracestate", "sentry-trace", "baggage", "cache-control", "pragma"} <= allowed
    assert "Access-Control-Allow-Credentials" not in response


@pytest.mark.parametrize("path", endpoints.READS)
def test_preflight__state_unknown__is_granted(client: Client, path: str) -> None:
    with without_table("go_live_state"), without_table("system_metadata"):
        response = client.options(path, headers={"Origin": ALLOWED[0], **PREFLIGHT})

    assert response.status_code in (200, 204)
    assert response["Access-Control-Allow-Origin"] == ALLOWED[0]


def test_preflight__no_database_at_all__is_granted() -> None:
    """Without the `database` fixture every access to the database raises."""
    response = Client().options(endpoints.STATE, headers={"Origin": ALLOWED[0], **PREFLIGHT})

    assert response["Access-Control-Allow-Origin"] == ALLOWED[0]


def test_no_origin__gets_no_grant(reader: Client) -> None:
    assert "Access-Control-Allow-Origin" not in reader.get(endpoints.STATE)
