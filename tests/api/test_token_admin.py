"""Tokens in the admin: who may make and revoke which, shown once, never edited."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from golive.domain.changes import ALL_PERMISSIONS
from golive.identity import tokens
from golive.models import ApiToken
from tests.api.callers import make_token
from tests.support.accounts import make_user

LIST = "/admin/golive/apitoken/"
ADD = f"{LIST}add/"
MAKE, VIEW, REVOKE = "golive.add_apitoken", "golive.view_apitoken", "golive.revoke_apitoken"


def client_of(*permissions: str) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(make_user(permissions=permissions))
    return client


def make(client: Client, **fields: Any) -> Any:
    return client.post(ADD, {"name": "bot", "scopes": ["engage"], "expires": "30", **fields})


def revoke_path() -> str:
    return f"{LIST}{ApiToken.objects.get().pk}/revoke/"


@pytest.fixture(autouse=True)
def _in_database(database: None) -> None:
    pass


def test_make__shows_the_token_once() -> None:
    operator = client_of(MAKE, VIEW, "golive.engage_kill_switch")

    response = make(operator)

    found = re.search(r"vgl_[A-Za-z0-9]+_[A-Za-z0-9]+", response.content.decode())
    assert found is not None
    actor = tokens.verify_token(found[0])
    assert actor is not None
    assert actor.permissions == {"golive.engage_kill_switch"}
    assert "no-store" in response["Cache-Control"]
    row = ApiToken.objects.get()
    assert (row.created_by, row.expires_at is None) == ("maria", False)
    secret = found[0].rpartition("_")[2]
    assert secret not in operator.get(LIST).content.decode()


def test_make__scope_beyond_ones_own_permissions__is_refused() -> None:
    response = make(client_of(MAKE, "golive.engage_kill_switch"), scopes=["engage", "override"])

    assert response.status_code == 200
    assert "override is not one of the available choices" in response.content.decode()
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize("fields", [{"name": ""}, {"name": "a b"}, {"scopes": []}, {"expires": "0"}, {"expires": "x"}])
def test_make__what_cannot_be__comes_back_with_the_fault(fields: dict[str, Any]) -> None:
    response = make(client_of(MAKE, "golive.engage_kill_switch"), **fields)

    assert 'class="errorlist' in response.content.decode()
    assert not ApiToken.objects.exists()


def test_make__name_in_use__comes_back_with_the_fault() -> None:
    make_token()

    response = make(client_of(MAKE, "golive.engage_kill_switch"))

    assert "is in use" in response.content.decode()
    assert ApiToken.objects.count() == 1


@pytest.mark.parametrize("permissions", [(), (VIEW,), (REVOKE,), tuple(sorted(ALL_PERMISSIONS))])
def test_make__without_the_permission__is_403(permissions: tuple[str, ...]) -> None:
    client = client_of(*permissions)

    assert client.get(ADD).status_code == 403
    assert make(client).status_code == 403
    assert not ApiToken.objects.exists()


def test_revoke__asks_first_and_then_counts_at_once() -> None:
    token = make_token()
    client = client_of(REVOKE)

    asked = client.get(revoke_path())
    assert (asked.status_code, tokens.verify_token(token) is None) == (200, False)
    done = client.post(revoke_path(), follow=True)

    assert tokens.verify_token(token) is None
    assert "bot is revoked" in done.content.decode()
    assert "revoked" in client.get(LIST).content.decode()


@pytest.mark.parametrize("permissions", [(), (VIEW,), (MAKE,), tuple(sorted(ALL_PERMISSIONS))])
def test_revoke__without_the_permission__is_403(permissions: tuple[str, ...]) -> None:
    token = make_token()

    assert client_of(*permissions).post(revoke_path()).status_code == 403
    assert tokens.verify_token(token) is not None


def test_list__is_for_those_who_may_see_it_and_leads_to_no_form() -> None:
    make_token()
    page = client_of(VIEW).get(LIST)

    assert page.status_code == 200
    assert "Revoke" not in page.content.decode()
    assert "secret" not in page.content.decode()
    client = Client(raise_request_exception=False)
    client.force_login(make_user(username="other"))
    assert client.get(LIST).status_code == 403


@pytest.mark.parametrize("rest", ["change/", "delete/", "history/", ""])
def test_token__cannot_be_edited(rest: str) -> None:
    make_token()
    path = f"{LIST}{ApiToken.objects.get().pk}/{rest}"
    client = Client(raise_request_exception=False)
    boss = make_user(username="boss")
    type(boss).objects.filter(pk=boss.pk).update(is_superuser=True)
    client.force_login(boss)

    assert client.get(path).status_code == 404
    assert client.post(path, {"name": "x"}).status_code == 404
