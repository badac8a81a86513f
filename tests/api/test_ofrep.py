"""OFREP: what is answered, to whom, and what is refused. Every answer is held against the OpenAPI document too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from golive.api.ofrep import FLAGS_PATH
from golive.domain.flags import SAFE_VALUES
from golive.identity import tokens
from golive.identity.throttle import TOKENS
from tests.api.callers import BAD_TOKEN, make_token
from tests.http.endpoints import execute, without_table
from tests.support.changes import go_live, make_change

ALLOWED = f"{FLAGS_PATH}/execution-allowed"
PATHS = (ALLOWED, FLAGS_PATH)


def ask(
    client: Client, path: str = ALLOWED, content: bytes = b'{"context": {}}', *, method: str = "POST", **headers: str
) -> Any:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.generic(method, path, data=content, content_type="application/json", headers=names)


def values_of(response: Any) -> dict[str, bool]:
    return {flag["key"]: flag["value"] for flag in response.json()["flags"]}


def assert_refused(response: Any, status: int, code: str) -> None:
    assert (response.status_code, response.json()["errorCode"]) == (status, code)
    assert response.json()["errorDetails"]
    assert response["Cache-Control"] == "no-store"


@pytest.mark.parametrize("key", SAFE_VALUES)
def test_flag__after_changes__says_what_the_state_says(client: Client, key: str) -> None:
    """Each flag takes both values."""
    before = ask(client, f"{FLAGS_PATH}/{key}").json()
    go_live()
    after = ask(client, f"{FLAGS_PATH}/{key}").json()

    assert (before["value"], before["variant"]) == (SAFE_VALUES[key], "on" if SAFE_VALUES[key] else "off")
    assert (after["value"], after["variant"]) == (not SAFE_VALUES[key], "off" if SAFE_VALUES[key] else "on")
    assert {before["reason"], after["reason"]} == {"TARGETING_MATCH"}
    assert after["metadata"]["revision"] > before["metadata"]["revision"]


def test_flag__of_the_decision__says_why(client: Client) -> None:
    go_live()
    allowed = ask(client)
    make_change("engage")
    stopped = ask(client)

    assert allowed.json()["metadata"] == {"code": "ALLOWED", "revision": 3, "lease_ms": 250}
    assert stopped.json()["metadata"] == {"code": "KILL_SWITCH_ENGAGED", "revision": 4, "lease_ms": 250}
    assert allowed["Cache-Control"] == stopped["Cache-Control"] == "no-store"


def test_bulk__has_every_flag_as_it_is_alone(client: Client) -> None:
    go_live()

    found = ask(client, FLAGS_PATH).json()["flags"]

    assert found == [ask(client, f"{FLAGS_PATH}/{key}").json() for key in SAFE_VALUES]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"context":{}}',
        b'{ "context" : {} }',
        b'{"context": {"targetingKey": "a", "amount": 1.5, "tags": ["x", null]}, "more": 1}',
        b'{"context": {"a": "' + b"a" * 20_000 + b'"}}',
        b'{"context": {"a": "' + "ü".encode() * 100_000 + b'"}}',
        b'\n {"context": {"a": "' + b"a" * 9 * 1024 * 1024 + b'"}}',
        b'{"context": {"a": ' + b"[" * 70 + b"]" * 70 + b"}}",
        b'{"context": {"a": ' + b"[" * 30_000 + b"]" * 30_000 + b"}}",
        b'{"context": {"a": ' + b'{"b":' * 500_000 + b"1" + b"}" * 500_000 + b"}}",
        b'{"context": {"a": ' + b"9" * 5_000 + b"}}",
        b'{"context": {"a": 1, "a": 2}}',
    ],
    ids=lambda content: repr(content[:24]) + str(len(content)),
)
def test_context__whatever_it_holds__changes_nothing(client: Client, path: str, content: bytes) -> None:
    assert ask(client, path, content).content == ask(client, path).content


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("slash", ["", "/"])
def test_path__with_and_without_slash__works(client: Client, path: str, slash: str) -> None:
    assert ask(client, path + slash).status_code == 200


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"{", "PARSE_ERROR"),
        (b"[]", "PARSE_ERROR"),
        (b"null", "PARSE_ERROR"),
        (b'"context"', "PARSE_ERROR"),
        (b"\xff\xfe", "PARSE_ERROR"),
        (b'{"context": {}}\x00', "PARSE_ERROR"),
        (b'{"context": {"a": "\x00"}}', "PARSE_ERROR"),
        (b'{"context": {"a": NaN}}', "PARSE_ERROR"),
        (b'{"context": {"a": 1}', "PARSE_ERROR"),
        (b"[" * 100_000, "PARSE_ERROR"),
        (b'{"context": ' + b"9" * 5_000 + b"}", "INVALID_CONTEXT"),
        (b'{"context": null}', "INVALID_CONTEXT"),
        (b'{"context": []}', "INVALID_CONTEXT"),
        (b'{"context": "a"}', "INVALID_CONTEXT"),
    ],
)
def test_body__that_is_not_the_protocol__is_refused(client: Client, path: str, content: bytes, code: str) -> None:
    response = ask(client, path, content)

    assert_refused(response, 400, code)
    assert response.json().get("key") == ("execution-allowed" if path == ALLOWED else None)


@pytest.mark.parametrize("content", [b'{"context": {"a": 1}}', b'{"context": {}}', b"{}"])
def test_body__that_is_no_json_by_its_type__is_refused(client: Client, content: bytes) -> None:
    response = client.post(ALLOWED, data=content, content_type="text/plain")

    assert_refused(response, 415, "GENERAL")


@pytest.mark.parametrize(
    "key", ["no-such-flag", "EXECUTION-ALLOWED", "a/b", "%00", "%0A", "ü", "execution-allowed%0A", "{}"]
)
def test_flag__unknown__is_not_found(client: Client, key: str) -> None:
    response = ask(client, f"{FLAGS_PATH}/{key}")

    assert_refused(response, 404, "FLAG_NOT_FOUND")
    assert response.json()["key"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
def test_method__other_than_post__is_refused(client: Client, path: str, method: str) -> None:
    response = ask(client, path, method=method)

    assert response.status_code == 405
    assert response["Allow"] == "POST, OPTIONS"


@pytest.mark.parametrize("path", ["/ofrep", "/ofrep/", "/ofrep/v1", "/ofrep/v1/evaluate", "/ofrep/v2/evaluate/flags"])
def test_path__beside_the_protocol__is_not_found(client: Client, path: str) -> None:
    response = ask(client, path)

    assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")


# -- entity tag --------------------------------------------------------------------------------------------------------


def test_bulk__unchanged__is_304_until_a_change(client: Client) -> None:
    go_live()
    first = ask(client, FLAGS_PATH)
    tag = first["ETag"]

    unchanged = [ask(client, FLAGS_PATH, If_None_Match=value) for value in (tag, f"W/{tag}", f'"x", {tag}')]
    make_change("engage")
    changed = ask(client, FLAGS_PATH, If_None_Match=tag)

    assert tag.startswith('"')
    assert [response.status_code for response in unchanged] == [304] * 3
    assert {response["ETag"] for response in unchanged} == {tag}
    assert (changed.status_code, values_of(changed)["execution-allowed"]) == (200, False)
    assert changed["ETag"] != tag
    assert first["Cache-Control"] == "no-cache"
    assert first["Vary"].startswith("Authorization, Cookie, X-API-Key")


# -- the state is not known --------------------------------------------------------------------------------------------


@contextmanager
def without_row() -> Iterator[None]:
    execute("DELETE FROM go_live_state")
    yield


UNKNOWN: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "no row": without_row,
    "no table": partial(without_table, "go_live_state"),
}


@pytest.mark.parametrize("unknown", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_state__unknown__is_200_with_the_safe_values(
    client: Client, unknown: Callable[[], AbstractContextManager[None]]
) -> None:
    go_live()
    tag = ask(client, FLAGS_PATH)["ETag"]

    with unknown():
        one = ask(client)
        every = ask(client, FLAGS_PATH, If_None_Match=f"{tag}, *")

    assert one.json() == {
        "key": "execution-allowed",
        "value": False,
        "reason": "UNKNOWN",
        "variant": "off",
        "metadata": {"code": "STATE_UNKNOWN"},
    }
    assert {key: value for key, value in values_of(every).items() if key != "backend-complete"} == {
        "execution-allowed": False,
        "go-live-enabled": False,
        "kill-switch-engaged": True,
    }
    for response in (one, every):
        assert (response.status_code, response["Cache-Control"]) == (200, "no-store")
        assert "ETag" not in response


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
@pytest.mark.parametrize("is_closed", [False, True], ids=["open", "closed"])
def test_credentials__cannot_be_looked_up__are_answered_with_the_safe_values(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch, path: str, header: str, is_closed: bool
) -> None:
    """An error would make the client take its own default."""
    settings.GOLIVE_READ_TOKEN_REQUIRED = is_closed
    go_live()
    token = make_token("read")

    def fail(text: str) -> None:
        raise OperationalError("the connection is lost")

    monkeypatch.setattr(tokens, "verify_token", fail)
    shown = {"Authorization": f"Bearer {token}"} if header == "Authorization" else {"X_API_Key": token}
    response = ask(client, path, b"", method="POST", **shown)

    found = response.json()["flags"][0] if path == FLAGS_PATH else response.json()
    assert response.status_code == 200
    # Where reads are open to all, whose token it is does not matter.
    assert found["value"] is not is_closed


# -- credentials (who may, is in test_identities) ----------------------------------------------------------------------


def test_api_key__bad_ones__are_throttled_with_all_others(client: Client) -> None:
    answers = [ask(client, X_API_Key=BAD_TOKEN) for _ in range(TOKENS.failures)]
    late = ask(client, X_API_Key=BAD_TOKEN)
    elsewhere = client.get("/api/status", headers={"Authorization": f"Bearer {BAD_TOKEN}"})
    valid = ask(client, X_API_Key=make_token("read"))

    assert {answer.status_code for answer in answers} == {401}
    assert_refused(late, 429, "GENERAL")
    assert int(late["Retry-After"]) > 0
    assert elsewhere.status_code == 429
    assert valid.status_code == 200


@pytest.mark.parametrize(("bearer", "key", "status"), [(True, False, 200), (False, True, 401)])
def test_api_key__beside_a_bearer_token__is_not_looked_at(client: Client, bearer: bool, key: bool, status: int) -> None:
    """One of the two, and always the same one."""
    token = make_token("read")
    shown = {True: token, False: BAD_TOKEN}

    response = ask(client, Authorization=f"Bearer {shown[bearer]}", X_API_Key=shown[key])

    assert response.status_code == status


def test_api_key__empty__is_a_bad_one(client: Client) -> None:
    assert ask(client, X_API_Key="").status_code == 401
