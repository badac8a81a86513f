"""Signing in to the operator's room."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import MD5PasswordHasher
from django.db import connection
from django.test import Client

from golive.identity import session_keys, throttle
from golive.identity import sign_in as sign_in_module
from golive.models import CredentialFailure
from golive.state.singletons import read_go_live
from tests.http.console_pages import CONTROL, LOGIN, apply_url
from tests.support.accounts import OPERATORS, make_user, sign_in
from tests.support.changes import go_live
from tests.support.faults import renamed_table
from tests.support.forks import ask_fork, held_by_another_thread


@pytest.fixture(autouse=True)
def fast_passwords(settings: Any) -> None:
    """Hashing as in production takes half a second."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def test_session_over__operator_who_stops__comes_back_to_the_open_dialog(database: None) -> None:
    go_live()
    make_user("ann", groups=[OPERATORS], password="correct horse")
    client = Client(raise_request_exception=False)

    away = client.post(apply_url("engage"), {"reason": "Queue on fire."})
    back = client.post(away["Location"], {"username": "ann", "password": "correct horse"})

    assert back.status_code == 302
    assert back["Location"] == f"{CONTROL}?change=engage"
    assert '<dialog id="dialog-engage"' in client.get(back["Location"]).content.decode()


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil.example"]
)
def test_login__sent_on_to_elsewhere__stays_here(database: None, target: str) -> None:
    make_user("ann", groups=[OPERATORS], password="correct horse")

    response = Client().post(LOGIN, {"username": "ann", "password": "correct horse", "next": target})

    assert (response.status_code, response["Location"]) == (302, "/admin/")


def test_login__wrong_password__says_no_more_than_that(database: None) -> None:
    make_user("ann", password="correct horse")

    answers = [
        Client().post(LOGIN, {"username": username, "password": "wrong"}).content.decode()
        for username in ("ann", "nobody")
    ]

    errors = [re.findall(r'<p class="errornote">\s*(.*?)\s*</p>', answer, re.DOTALL) for answer in answers]
    assert errors[0]
    assert errors[0] == errors[1]


@pytest.mark.parametrize("username", ["\x00", "x" * 10_000, "'; DROP TABLE auth_user; --", "<script>alert(1)</script>"])
def test_login__nonsense__is_the_form_again(database: None, username: str) -> None:
    response = Client().post(LOGIN, {"username": username, "password": "\x00"})

    assert response.status_code == 200
    assert b"<script>alert" not in response.content
    assert get_user_model()._default_manager.count() == 0


# -- failures ----------------------------------------------------------------------------------------------------------

PASSWORD = "correct horse"


@pytest.fixture(autouse=True)
def forgetful_throttle() -> Iterator[None]:
    """What this process remembers of addresses must not outlive a test."""
    throttle.forget_all()
    yield
    throttle.forget_all()


def try_password(username: str = "ann", password: str = "wrong", *, address: str = "192.0.2.1") -> Any:
    client = Client(raise_request_exception=False, REMOTE_ADDR=address, headers={"Accept": "text/html"})
    return client.post(LOGIN, {"username": username, "password": password})


def use_up(username: str = "ann", *, address: str = "192.0.2.1") -> None:
    for _ in range(throttle.ACCOUNT_FROM_ADDRESS.failures):
        assert try_password(username, address=address).status_code == 200


@pytest.fixture
def hashed(database: None, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Grows with each password that is hashed, by whether a transaction was open."""
    make_user("ann", groups=[OPERATORS], password=PASSWORD)
    make_user("bea", groups=[OPERATORS], password=PASSWORD)
    seen: list[bool] = []
    encode = MD5PasswordHasher.encode

    def watch(hasher: MD5PasswordHasher, password: str, salt: str, *arguments: Any) -> str:
        seen.append(connection.in_atomic_block)
        return encode(hasher, password, salt, *arguments)

    monkeypatch.setattr(MD5PasswordHasher, "encode", watch)
    return seen


def test_login__too_many_failures_of_an_account_from_an_address__is_locked_out_without_a_hash(
    hashed: list[bool],
) -> None:
    use_up()
    before = len(hashed)

    answer = try_password(password=PASSWORD)

    assert answer.status_code == 429
    assert 0 < int(answer["Retry-After"]) <= 15 * 60
    page = answer.content.decode()
    assert "Too many failed sign-ins for this name from your address. Try again in 15 minutes." in page
    assert "<!doctype html>" in page
    assert len(hashed) == before


def test_login__locked_out__is_so_on_every_worker_and_outlives_the_error_answer(hashed: list[bool]) -> None:
    use_up()
    assert try_password(password=PASSWORD).status_code == 429

    throttle.forget_all()  # another worker has another memory

    assert try_password(password=PASSWORD).status_code == 429


def test_login__locked_out_from_one_address__is_let_in_from_another(hashed: list[bool]) -> None:
    """Nobody can lock an operator out: only who shares the operator's address can, and only for that account."""
    use_up()

    assert try_password(password=PASSWORD, address="198.51.100.1").status_code == 302
    assert try_password("bea", PASSWORD).status_code == 302


def test_login__a_session_that_exists__stops_execution_whoever_is_locked_out(hashed: list[bool]) -> None:
    go_live()
    operator = sign_in(get_user_model().objects.get(username="ann"), REMOTE_ADDR="192.0.2.1")
    use_up()

    assert operator.post(apply_url("engage"), {"reason": "Stop."}).status_code == 302
    assert read_go_live().kill_switch_engaged is True


def test_login__good__takes_the_failures_back(hashed: list[bool]) -> None:
    for _ in range(3):
        for _ in range(throttle.ACCOUNT_FROM_ADDRESS.failures - 1):
            try_password()
        assert try_password(password=PASSWORD).status_code == 302

    assert CredentialFailure.objects.get().failures == 3 * (throttle.ACCOUNT_FROM_ADDRESS.failures - 1)


def test_login__very_many_failures_of_an_address__concern_all_its_accounts(
    hashed: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "SIGN_INS_FROM_ADDRESS", throttle.Limit(4, 60_000))
    for number in range(4):
        assert try_password(f"guess{number}").status_code == 200

    assert try_password("bea", PASSWORD).status_code == 429
    assert try_password("bea", PASSWORD, address="198.51.100.1").status_code == 302


def test_throttle__sign_ins_of_an_address__are_many_more_than_those_of_an_account() -> None:
    assert throttle.SIGN_INS_FROM_ADDRESS.failures >= 10 * throttle.ACCOUNT_FROM_ADDRESS.failures


def test_login__after_the_time__is_counted_anew(hashed: list[bool]) -> None:
    for _ in range(throttle.ACCOUNT_FROM_ADDRESS.failures):
        assert throttle.count_sign_in("192.0.2.1", "ann", now_ms=1_000) is None
    assert throttle.count_sign_in("192.0.2.1", "ann", now_ms=2_000) == 15 * 60 - 1

    assert throttle.count_sign_in("192.0.2.1", "ann", now_ms=1_000 + 15 * 60_000) is None


def test_login__while_a_password_is_hashed__no_transaction_is_open(hashed: list[bool]) -> None:
    try_password()
    try_password(password=PASSWORD)

    assert len(hashed) >= 2
    assert not any(hashed)


def test_login__another_hash_for_the_address__is_503_and_counts_for_nothing(hashed: list[bool]) -> None:
    with sign_in_module._hash_slot("192.0.2.1"):
        refused = try_password(password=PASSWORD)
        elsewhere = try_password(password=PASSWORD, address="198.51.100.1")

    assert (refused.status_code, elsewhere.status_code) == (503, 302)
    assert int(refused["Retry-After"]) >= 1
    assert "Others are signing in at this moment" in refused.content.decode()
    assert try_password(password=PASSWORD).status_code == 302
    assert not CredentialFailure.objects.filter(failures__gt=0).exists()


def test_login__a_hash_that_fails__leaves_its_place(hashed: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(MD5PasswordHasher, "encode", lambda *arguments: 1 / 0)
        assert try_password().status_code == 500

    assert try_password(password=PASSWORD).status_code == 302


def test_login__in_a_fork_that_was_made_during_a_hash__works(database: None) -> None:
    with held_by_another_thread(sign_in_module._lock):
        answer = ask_fork(lambda: str(sign_in_module._lock.acquire(timeout=5)))

    assert answer == "True"


def test_login__failures_cannot_be_counted__lets_an_operator_in(hashed: list[bool]) -> None:
    """Whoever comes to stop something is not kept out by a table."""
    with renamed_table("golive_credential_failure"):
        assert try_password(password=PASSWORD).status_code == 302


def test_login__wrong__is_logged_with_the_address_and_no_secret(
    hashed: list[bool], caplog: pytest.LogCaptureFixture
) -> None:
    try_password()
    try_password("hunter2-typed-into-the-wrong-field", "hunter3")

    told = [record.getMessage() for record in caplog.records if record.name == "golive.identity.sign_in"]
    assert told == [
        "failed sign-in from 192.0.2.1 as 'ann'",
        "failed sign-in from 192.0.2.1 as an unknown account",
    ]
    assert "hunter" not in caplog.text


# -- session keys ------------------------------------------------------------------------------------------------------


def test_session_key__of_who_has_signed_in__shows_it(hashed: list[bool]) -> None:
    client = Client()
    client.post(LOGIN, {"username": "ann", "password": PASSWORD})

    assert session_keys.is_ours(client.cookies["sessionid"].value)


def test_session_key__of_who_has_not__does_not_exist(hashed: list[bool]) -> None:
    """A form, a wrong password or any page gives no session away: the key is worth something."""
    client = Client(raise_request_exception=False)
    for path in (LOGIN, "/", "/admin/", "/api/status", CONTROL):
        client.get(path)
    client.post(LOGIN, {"username": "ann", "password": "wrong"})

    assert "sessionid" not in client.cookies


@pytest.mark.parametrize("key", ["", "a" * 40, "a" * 24 + "0" * 16, "A" * 40, "\N{DIGIT ONE}" * 41, "ä" * 40])
def test_session_key__made_up__is_not_ours(key: str) -> None:
    assert not session_keys.is_ours(key)


def test_session_key__of_another_installation__is_not_ours(settings: Any) -> None:
    key = session_keys.make_key()
    assert session_keys.is_ours(key)

    settings.SECRET_KEY = "another" * 10

    assert not session_keys.is_ours(key)
