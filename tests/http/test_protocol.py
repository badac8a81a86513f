"""HTTP itself, on every endpoint: methods, slashes, HEAD, entity tags, caching, request ids."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from tests.http import endpoints
from tests.http.endpoints import ALL, READS, TAGGED, WRITING_METHODS, assert_problem
from tests.support.accounts import make_user, sign_in
from tests.support.changes import make_change

SLASHED = [f"{path}/" for path in ALL]
VOLATILE = (endpoints.RUNBOOK, endpoints.MARKDOWN)  # hold the moment at which they were made


# -- methods -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ALL)
def test_trailing_slash__gives_the_same_answer(reader: Client, path: str) -> None:
    plain, slashed = reader.get(path), reader.get(f"{path}/")

    assert slashed.status_code == plain.status_code == 200
    assert slashed["Content-Type"] == plain["Content-Type"]
    assert slashed.get("ETag") == plain.get("ETag")
    if path not in VOLATILE:
        assert slashed.content == plain.content


@pytest.mark.parametrize("path", [*ALL, *SLASHED, "/"])
def test_head__is_get_without_body(reader: Client, path: str) -> None:
    get, head = reader.get(path), reader.head(path)

    assert head.status_code == get.status_code
    assert head.content == b""
    unequal = {"X-Request-ID"} | ({"Content-Length"} if path.rstrip("/") in VOLATILE else set())
    assert {name: value for name, value in head.headers.items() if name not in unequal} == {
        name: value for name, value in get.headers.items() if name not in unequal
    }
    assert get["Content-Length"] == str(len(get.content))


def allowed_at(path: str) -> str:
    """The backend is read and edited at one path."""
    return "GET, PATCH, HEAD, OPTIONS" if path.rstrip("/") == endpoints.SYSTEM else "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("path", [*ALL, *SLASHED, "/"])
def test_other_method__is_405_with_allow(reader: Client, path: str) -> None:
    for method in WRITING_METHODS:
        if method in allowed_at(path):
            continue
        response = reader.generic(method, path, data=b"{}", content_type="application/json")

        problem = assert_problem(response, 405, "METHOD_NOT_ALLOWED", path=path)
        assert response["Allow"] == allowed_at(path)
        assert method in problem["detail"]


@pytest.mark.parametrize("path", [*READS, "/"])
def test_options__says_what_is_allowed(reader: Client, path: str) -> None:
    response = reader.options(path)

    assert response.status_code == 204
    assert response["Allow"] == allowed_at(path)
    assert response.content == b""


def test_other_method_on_the_status_page__in_a_browser__is_a_page_with_allow(reader: Client) -> None:
    response = reader.post("/", headers={"Accept": "text/html"})

    assert response.status_code == 405
    assert response["Content-Type"].startswith("text/html")
    assert response["Allow"] == "GET, HEAD, OPTIONS"


# -- entity tags and caches --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", TAGGED)
def test_tagged__has_a_strong_tag_and_must_be_revalidated(reader: Client, path: str) -> None:
    response = reader.get(path)

    assert response["ETag"].startswith('"')
    assert response["ETag"].endswith('"')
    assert response["Cache-Control"] == "no-cache"
    assert {name.strip().lower() for name in response["Vary"].split(",")} >= {"authorization", "cookie", "origin"}


@pytest.mark.parametrize("path", TAGGED)
def test_tag__same_state__stays(reader: Client, path: str) -> None:
    assert reader.get(path)["ETag"] == reader.get(path)["ETag"]


def test_tag__any_change__is_another(client: Client) -> None:
    tags = set()
    for name in ("engage", "complete", "release", "enable", "disable"):
        make_change(name)
        tags.add(client.get(endpoints.STATE)["ETag"])

    # The first, a change that changes nothing, and completion leave their event behind: event_head is another.
    assert len(tags) == 5


@pytest.mark.parametrize("path", TAGGED)
def test_if_none_match__known_tag__is_304(reader: Client, path: str) -> None:
    tag = reader.get(path)["ETag"]

    for offer in (tag, f"W/{tag}", f'"other", {tag}', f'{tag},"other"', f'W/"other" , W/{tag}', "*"):
        response = reader.get(path, headers={"If-None-Match": offer})
        assert response.status_code == 304
        assert response.content == b""
        assert response["ETag"] == tag
        assert response["Cache-Control"] == "no-cache"
        assert "cookie" in response["Vary"].lower()


@pytest.mark.parametrize("path", TAGGED)
def test_304__says_nothing_of_a_body_that_is_not_there(reader: Client, path: str) -> None:
    """RFC 9110, 8.6: a length other than that of the 200 answer is forbidden; a cache takes over a wrong type."""
    full = reader.get(path)

    response = reader.get(path, headers={"If-None-Match": "*"})

    assert response.get("Content-Length", str(len(full.content))) == str(len(full.content))
    assert response.get("Content-Type", "application/json") == "application/json"


@pytest.mark.parametrize("path", TAGGED)
def test_if_none_match__unknown_or_malformed__is_the_whole_answer(reader: Client, path: str) -> None:
    for offer in ('"other"', 'W/"other"', "other", '"', "", "*, *", '"*"', "\x00", "é"):
        response = reader.get(path, headers={"If-None-Match": offer})
        assert response.status_code == 200
        assert response.json()


def test_if_none_match__head__is_304(reader: Client) -> None:
    tag = reader.get(endpoints.STATE)["ETag"]

    assert reader.head(endpoints.STATE, headers={"If-None-Match": tag}).status_code == 304


def test_tag__with_and_without_details__differs(client: Client, settings: Any) -> None:
    settings.GOLIVE_PUBLIC_DETAILS = False
    make_change("engage", reason="Secret", actor="ann")
    make_change("complete")
    make_change("release", reason="Secret", actor="ann")

    signed_in = sign_in(make_user())

    assert client.get(endpoints.STATE)["ETag"] != signed_in.get(endpoints.STATE)["ETag"]


@pytest.mark.parametrize("path", [*endpoints.LIVENESS, *(path for path in READS if path not in TAGGED)])
def test_untagged__is_kept_by_nobody(reader: Client, path: str) -> None:
    response = reader.get(path)

    assert response["Cache-Control"] == "no-store"
    assert "ETag" not in response


# -- request ids -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offered", ["a", "trace-0123.4567_89", "A" * 128, "0" * 32, "."])
def test_request_id__sane__is_taken(reader: Client, offered: str) -> None:
    response = reader.get(endpoints.STATE, headers={"X-Request-ID": offered})

    assert response["X-Request-ID"] == offered


@pytest.mark.parametrize(
    "offered", ["", "a" * 129, "a b", "a\nb", "a\r\nSet-Cookie: x=y", "a\n", "ü", "a;b", "<script>", "\x00", "a/b"]
)
def test_request_id__not_sane__is_replaced(reader: Client, offered: str) -> None:
    response = reader.get(endpoints.STATE, headers={"X-Request-ID": offered})

    assert response["X-Request-ID"] != offered
    assert len(response["X-Request-ID"]) == 32
    assert set(response["X-Request-ID"]) <= set("0123456789abcdef")


def test_request_id__none_offered__is_new_each_time(reader: Client) -> None:
    assert reader.get(endpoints.STATE)["X-Request-ID"] != reader.get(endpoints.STATE)["X-Request-ID"]


@pytest.mark.parametrize("path", [*ALL, "/", "/api/nothing", "/nothing", "/admin/", "/admin/nothing"])
def test_request_id__every_answer__has_it(reader: Client, path: str) -> None:
    assert reader.get(path, headers={"X-Request-ID": "mine"})["X-Request-ID"] == "mine"


def test_request_id__in_a_change__is_in_its_event(client: Client) -> None:
    operator = sign_in(make_user(is_superuser=True))

    operator.post("/admin/golive/golivestate/apply/engage/", headers={"X-Request-ID": "incident-7"})

    assert json.loads(operator.get(endpoints.HISTORY).content)["events"][0]["request_id"] == "incident-7"
