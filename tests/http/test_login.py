"""Signing in to the operator's room."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from tests.http.rooms import CONTROL, LOGIN, apply_url
from tests.people import OPERATORS, go_live, make_user


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
