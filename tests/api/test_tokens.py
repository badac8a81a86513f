"""Tokens: made, verified, revoked, throttled, and never to be found in what is written down."""

from __future__ import annotations

import hmac
import logging
import re
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from golive.domain.errors import InvalidRequestError
from golive.domain.tokens import NO_HASH, TokenText, is_same_hash, make_token_text, read_token_text
from golive.identity import throttle, tokens
from golive.models import ApiToken, CredentialFailure
from tests.api.callers import (
    ALL_SCOPES,
    BAD_TOKEN,
    bearer,
    call,
    issue,
    make_expired_token,
    make_revoked_token,
    make_token,
    revoke,
)
from tests.support.factories import make_actor

STATE = "/api/governance/go-live/state"


@pytest.fixture(autouse=True)
def _in_database(database: None) -> None:
    pass


# -- making ------------------------------------------------------------------------------------------------------------


def test_make__text__has_the_form_and_only_its_hash_is_kept() -> None:
    row, text = issue("bot", scopes=["engage", "read"], actor=make_actor("ann"))

    assert re.fullmatch(r"vgl_[A-Za-z0-9]+_[A-Za-z0-9]{43}", text)
    secret = text.rpartition("_")[2]
    row.refresh_from_db()
    assert secret not in str(ApiToken.objects.values().get(pk=row.pk))
    assert (row.scopes, row.created_by, row.expires_at) == (["read", "engage"], "ann", None)
    assert text not in repr(read_token_text(text))
    assert secret not in repr(read_token_text(text))


def test_make__many__are_all_different_and_use_all_characters() -> None:
    made = [make_token_text(secrets.choice) for _ in range(400)]

    assert len({each.secret for each in made}) == len({each.prefix for each in made}) == 400
    assert len(set("".join(each.secret for each in made))) == 62


@pytest.mark.parametrize(
    ("name", "scopes", "expires_in", "field"),
    [
        ("", ["read"], None, "name"),
        ("a b", ["read"], None, "name"),
        ("a\n", ["read"], None, "name"),
        ("x" * 65, ["read"], None, "name"),
        ("bot", [], None, "scopes"),
        ("bot", ["read", "root"], None, "scopes"),
        ("bot", ["read"], timedelta(0), "expires"),
        ("bot", ["read"], timedelta(days=99_999), "expires"),
    ],
)
def test_make__what_cannot_be__is_refused(
    name: str, scopes: list[str], expires_in: timedelta | None, field: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        issue(name, scopes=scopes, expires_in=expires_in)

    assert [error.field for error in caught.value.errors] == [field]
    assert not ApiToken.objects.exists()


def test_make__name_in_use__is_refused_until_it_is_revoked() -> None:
    old = make_token()
    with pytest.raises(InvalidRequestError):
        make_token()

    revoke("bot")
    new = make_token()

    assert tokens.verify_token(old) is None
    assert tokens.verify_token(new) is not None


# -- verifying ---------------------------------------------------------------------------------------------------------


def test_verify__valid__is_an_actor_with_the_permissions_of_its_scopes() -> None:
    actor = tokens.verify_token(make_token("engage", "complete"))

    assert actor is not None
    assert (actor.name, actor.user_id) == ("token:bot", None)
    assert actor.permissions == {"golive.engage_kill_switch", "golive.complete_backend"}


@pytest.mark.parametrize("make", [make_expired_token, make_revoked_token, lambda: BAD_TOKEN])
def test_verify__not_valid__is_nobody(make: Callable[[], str]) -> None:
    assert tokens.verify_token(make()) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1],
        lambda text: text + "a",
        lambda text: text.upper(),
        lambda text: f" {text}",
        lambda text: f"{text}\n",
        lambda text: text.replace("vgl_", "VGL_"),
        lambda text: text[:-1] + ("a" if text[-1] != "a" else "b"),
        lambda text: text.replace("_", "_%", 1),
        lambda text: "",
    ],
)
def test_verify__altered__is_nobody(change: Callable[[str], str]) -> None:
    assert tokens.verify_token(change(make_token())) is None


def test_verify__unknown_token_and_wrong_secret__take_the_same_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of time but of the path: the same queries, and one comparison of full hashes in constant time."""
    wrong = make_token()[:-43] + "z" * 43
    compared: list[tuple[int, int]] = []

    def watch(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return is_same_hash(one, other)

    monkeypatch.setattr(tokens, "is_same_hash", watch)
    shapes = []
    for text in (BAD_TOKEN, wrong):
        with CaptureQueriesContext(connection) as queries:
            assert tokens.verify_token(text) is None
        prefix = text.split("_")[1]
        shapes.append([query["sql"].replace(prefix, "") for query in queries])

    assert compared == [(64, 64), (64, 64)]
    assert shapes[0] == shapes[1]
    assert len(shapes[0]) == 1


def test_compare__is_the_one_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def compare(one: bytes, other: bytes) -> bool:
        seen.append((one, other))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)

    assert tokens.verify_token(make_token()) is None
    assert len(seen) == 1


def test_hash__of_nobody__is_no_hash_of_a_secret() -> None:
    assert len(NO_HASH) == len(TokenText("a", "b").secret_hash)


def test_revoke__while_in_use__is_refused_at_the_next_request(client: Client) -> None:
    token = make_token()
    assert call(client, "engage", token=token).status_code == 200

    revoke("bot")

    assert call(client, "engage", token=token).status_code == 401


# -- last use ----------------------------------------------------------------------------------------------------------


def last_use() -> datetime | None:
    return ApiToken.objects.get(name="bot").last_used_at


def test_last_use__is_noted_at_most_once_a_minute(client: Client) -> None:
    token = make_token()
    call(client, "engage", token=token)
    first = last_use()
    assert first is not None

    call(client, "engage", token=token)
    assert last_use() == first

    ApiToken.objects.update(last_used_at=first - timedelta(seconds=61))
    call(client, "engage", token=token)
    assert (last_use() or first) >= first


def test_last_use__of_a_bad_token__is_not_noted(client: Client) -> None:
    call(client, "engage", token=make_token()[:-43] + "z" * 43)

    assert last_use() is None


def test_last_use__is_written_after_the_change_is_committed(client: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        call(client, "engage", token=make_token())

    statements = [query["sql"] for query in queries]
    writes = [index for index, sql in enumerate(statements) if "last_used_at" in sql and sql.startswith("UPDATE")]
    assert len(writes) == 1
    assert writes[0] > max(index for index, sql in enumerate(statements) if "golive_event" in sql)


def test_last_use__cannot_be_written__harms_no_request(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError
    from django.db.models.query import QuerySet

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise OperationalError("made to fail")

    token = make_token()
    update = QuerySet.update
    monkeypatch.setattr(
        QuerySet, "update", lambda self, **values: (fail if "last_used_at" in values else update)(self, **values)
    )

    assert call(client, "engage", token=token).status_code == 200
    assert last_use() is None


# -- throttle ----------------------------------------------------------------------------------------------------------


def guess(client: Client, *, address: str = "192.0.2.1") -> Any:
    return client.get(STATE, headers=bearer(BAD_TOKEN), REMOTE_ADDR=address)


def test_throttle__eleventh_failure_of_a_minute__is_429_with_retry_after(client: Client) -> None:
    answers = [guess(client).status_code for _ in range(12)]
    last = guess(client)

    assert answers == [401] * 10 + [429] * 2
    assert 1 <= int(last["Retry-After"]) <= 60
    assert last.json()["code"] == "TOO_MANY_FAILURES"


def test_throttle__valid_token_of_the_same_address__is_not_held_up(client: Client) -> None:
    token = make_token()
    for _ in range(12):
        guess(client)

    response = call(client, "engage", token=token)

    assert response.status_code == 200
    assert guess(client).status_code == 429


def test_throttle__another_address__is_not_concerned(client: Client) -> None:
    for _ in range(12):
        guess(client)

    assert guess(client, address="192.0.2.2").status_code == 401


def test_throttle__other_workers__count_together(client: Client) -> None:
    for _ in range(10):
        assert guess(client).status_code == 401
        throttle.forget_all()  # another worker has another memory

    assert guess(client).status_code == 429


def test_throttle__no_credentials_at_all__are_no_failure(client: Client) -> None:
    for _ in range(15):
        assert call(client, "engage").status_code == 401
    assert not CredentialFailure.objects.exists()


def test_throttle__after_the_minute__begins_anew() -> None:
    results = [throttle.count_failure("192.0.2.1", now_ms=1_000 + step) for step in range(11)]
    assert results == [None] * 10 + [60]

    assert throttle.count_failure("192.0.2.1", now_ms=61_000) is None
    assert CredentialFailure.objects.get().failures == 1


def test_throttle__old_counts__are_swept() -> None:
    for number in range(20):
        throttle.count_failure(f"192.0.2.{number}", now_ms=1_000)

    throttle.count_failure("198.51.100.1", now_ms=200_000)

    assert [row.address for row in CredentialFailure.objects.all()] == ["198.51.100.1"]


def test_throttle__memory__is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "_MAX_REMEMBERED", 5)
    for number in range(20):
        throttle._remember(str(number), 10**15)

    assert len(throttle._blocked) == 5


def test_throttle__over_the_limit__costs_no_write() -> None:
    for _ in range(11):
        throttle.count_failure("192.0.2.1")

    with CaptureQueriesContext(connection) as queries:
        assert throttle.count_failure("192.0.2.1") is not None

    assert not queries.captured_queries


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        (None, None, True),
    ],
)
def test_throttle__ipv6__counts_by_network(one: str | None, other: str | None, is_same: bool) -> None:
    throttle.count_failure(one)
    throttle.count_failure(other)

    assert (CredentialFailure.objects.count() == 1) == is_same


def test_throttle__table_gone__refuses_all_the_same(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE golive_credential_failure RENAME TO elsewhere")
    try:
        assert guess(client).status_code == 401
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO golive_credential_failure")


# -- hygiene -----------------------------------------------------------------------------------------------------------


def test_log__whatever_happens__holds_nothing_of_a_token(
    client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = [make_token(*ALL_SCOPES), BAD_TOKEN, make_expired_token(), make_revoked_token(), "vgl_" + "q" * 30]

    for token in shown:
        call(client, "engage", {"reason": "x"}, token=token)
        call(client, "release", {"reason": "x"}, token=token)
        call(client, "enable", content=b"{", token=token)
        client.get(STATE, headers=bearer(token))
        client.get("/api/nothing", headers=bearer(token))
    monkeypatch.setattr(tokens, "find_by_prefix", lambda *_, **__: 1 / 0)
    for token in shown:
        call(client, "engage", token=token)

    written = "\n".join(
        [caplog.text, *(str(record.__dict__) for record in caplog.records if record.name != "django.db.backends")]
    )
    assert "engage of go_live_state by token:bot" in written
    for token in shown:
        assert token not in written
        assert token.rpartition("_")[2] not in written
