"""What nobody should get through: forged forms, wrong methods, unknown objects, requests from elsewhere."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from golive.domain.changes import CHANGES
from tests.http.console_pages import (
    CONTROL,
    EVENTS,
    NAMES,
    SYSTEM,
    apply_url,
    ask,
    messages_in,
    page_of,
    prepare,
    snapshot,
    typed_in,
)
from tests.support.accounts import make_user, sign_in

FORGED: dict[str, Any] = {
    "id": "1",
    "go_live_enabled": "on",
    "kill_switch_engaged": "",
    "backend_complete": "on",
    "version": "6.6.6",
    "notes": "forged",
    "changed_by": "root",
    "reason": "forged",
    "revision": "99",
    "lease_ms": "5000",
    "event_head": "0" * 64,
    "sequence": "99",
    "actor": "root",
    "action": "delete_selected",
    "_selected_action": ["1", "2"],
    "select_across": "1",
    "index": "0",
    "post": "yes",
    "_save": "Save",
    "form-TOTAL_FORMS": "1",
    "form-INITIAL_FORMS": "1",
    "form-0-id": "1",
    "form-0-kill_switch_engaged": "",
}
TARGETS = [
    f"{base}{rest}"
    for base in (CONTROL, SYSTEM, EVENTS)
    for rest in (
        "",
        "add/",
        "1/",
        "1/change/",
        "1/delete/",
        "1/history/",
        "?_changelist_filters=x",
        "1/change/?_popup=1",
    )
]


@pytest.mark.parametrize("path", TARGETS)
def test_forged_form__to_a_page_of_the_models__changes_nothing(root: Client, path: str) -> None:
    before = snapshot()

    answers = [root.post(path, FORGED)]
    for method in ("PUT", "PATCH", "DELETE"):
        body = b"kill_switch_engaged=&go_live_enabled=on&reason=forged"
        answers.append(root.generic(method, path, body, "application/x-www-form-urlencoded"))

    # Django sends the old address of a form on to the new one.
    refusals = {302} if path.endswith("/event/1/") else {403, 404, 405}
    assert {answer.status_code for answer in answers} <= refusals
    assert snapshot() == before


@pytest.mark.parametrize("path", [f"{EVENTS}add/", f"{EVENTS}1/delete/"])
def test_record__add_and_delete__are_forbidden_also_to_look_at(root: Client, path: str) -> None:
    assert root.get(path).status_code == 403


def test_record__page_of_an_event__has_nothing_to_send(root: Client) -> None:
    page = root.get(f"{EVENTS}1/change/").content.decode()

    form = re.search(r'<form[^>]*id="event_form".*?</form>', page, re.DOTALL)
    assert form
    assert re.findall(r"<(?:select|textarea)\b", form[0]) == []
    assert re.findall(r"<input(?![^>]*csrfmiddlewaretoken)[^>]*>", form[0]) == []
    assert "_save" not in page


def test_record__list__offers_no_action(root: Client) -> None:
    page = root.get(EVENTS).content.decode()

    assert "delete_selected" not in page
    assert "_selected_action" not in page
    assert "addlink" not in re.sub(r'<nav class="sticky".*?</nav>', "", page, flags=re.DOTALL)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_apply__other_method__is_405_and_changes_nothing(root: Client, method: str) -> None:
    before = snapshot()

    for name in ("release", "edit"):
        response = root.generic(method, f"{apply_url(name)}?reason=x&override=backend_complete&version=6.6.6")
        assert response.status_code == 405
        assert response["Allow"] == "POST"

    assert snapshot() == before


def test_apply__followed_as_a_link__shows_the_page(root: Client) -> None:
    page = root.get(apply_url("engage")).content.decode()

    assert messages_in(page) == ["Nothing was done: a change is made with its button."]
    assert 'data-code="KILL_SWITCH_ENGAGED"' in page


@pytest.mark.parametrize("name", ["nothing", "ENGAGE", "engage%00", "engage%0A", "%FF", "__class__", "x" * 5000])
def test_apply__unknown_change__is_404(root: Client, name: str) -> None:
    before = snapshot()

    for path in (CONTROL, SYSTEM):
        for method in ("GET", "HEAD", "POST"):
            assert root.generic(method, f"{path}apply/{name}/").status_code == 404

    assert snapshot() == before


@pytest.mark.parametrize("name", NAMES)
def test_apply__on_the_page_of_the_other_row__is_404(root: Client, name: str) -> None:
    other = SYSTEM if page_of(CHANGES[name]) == CONTROL else CONTROL
    before = snapshot()

    assert root.post(f"{other}apply/{name}/", {"reason": "x"}).status_code == 404

    assert snapshot() == before


UNKNOWN_IDS = ("0", "-1", "abc", "%00", "%FF", "9" * 30, "None", "_5F", "1.5")
# Other ways to write the number of the one row; of an event they may be read as its number.
STRANGE_IDS = ("2", "01", "1.0", "%EF%BC%91", "1%0A", "%201")


@pytest.mark.parametrize(
    ("path", "ids"),
    [(CONTROL, (*UNKNOWN_IDS, *STRANGE_IDS)), (SYSTEM, (*UNKNOWN_IDS, *STRANGE_IDS)), (EVENTS, UNKNOWN_IDS)],
)
def test_object__unknown__is_404(root: Client, path: str, ids: tuple[str, ...]) -> None:
    for id in ids:
        assert root.get(f"{path}{id}/change/").status_code == 404
        assert root.head(f"{path}{id}/change/").status_code == 404


@pytest.mark.parametrize("path", [CONTROL, SYSTEM])
def test_object__the_one_row__has_its_own_address(root: Client, path: str) -> None:
    assert root.get(f"{path}1/change/").status_code == 200
    assert root.head(f"{path}1/change/").status_code == 200


NONSENSE = (
    "q=%00",
    "q=%FF",
    "q=" + "x" * 5000,
    "q='%22%3Cscript%3E%25_%5C",
    "action=%00",
    "subject=%FF",
    "at__year=99999999999999999999",
    "at__year=0",
    "at__year=2026&at__month=13&at__day=1",
    "at__gte=garbage",
    "p=999999",
    "p=-1",
    "p=%D9%A3",
    "o=99.-5.a",
    "all=",
    "changed__exact=%00",
    "sequence__gt=" + "9" * 40,
    "actor__password=x",
    "action__isnull=maybe",
    "_to_field=hash",
    "_popup=1",
    "e=1",
    "&".join(f"a{i}=1" for i in range(3000)),
)


def test_record__query_that_makes_no_sense__is_no_5xx(root: Client) -> None:
    for query in NONSENSE:
        response = root.generic("GET", EVENTS, QUERY_STRING=query)
        assert (query[:40], response.status_code in (200, 302, 400)) == (query[:40], True)


# -- requests from elsewhere -------------------------------------------------------------------------------------------


@pytest.fixture
def strict(database: None) -> Client:
    """A client for which CSRF is checked, as for a browser."""
    return sign_in(make_user("root", is_superuser=True), enforce_csrf_checks=True)


def _token(client: Client) -> str:
    token = typed_in(client.get(CONTROL).content.decode(), "engage", "csrfmiddlewaretoken")
    assert token
    return token


@pytest.mark.parametrize("name", NAMES)
def test_csrf__no_token__is_403_and_changes_nothing(strict: Client, name: str) -> None:
    prepare(name)
    before = snapshot()

    response = ask(strict, name)

    assert response.status_code == 403
    assert "came from elsewhere" in response.json()["detail"]
    assert snapshot() == before


def test_csrf__token_of_the_page__is_taken(strict: Client) -> None:
    assert ask(strict, "engage", csrfmiddlewaretoken=_token(strict)).status_code == 302


@pytest.mark.parametrize("token", ["", "x", "x" * 64, "\x00" * 64, "é" * 64, "x" * 100_000])
def test_csrf__wrong_token__is_403(strict: Client, token: str) -> None:
    _token(strict)
    before = snapshot()

    assert ask(strict, "engage", csrfmiddlewaretoken=token).status_code == 403

    assert snapshot() == before


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://testserver.evil.example", "https://[::1"])
def test_csrf__right_token_from_another_origin__is_403(strict: Client, origin: str) -> None:
    token, before = _token(strict), snapshot()

    response = strict.post(
        apply_url("release"), {"reason": "x", "csrfmiddlewaretoken": token}, headers={"Origin": origin}
    )

    assert response.status_code == 403
    assert snapshot() == before


def test_csrf__failure_in_a_browser__is_a_page_that_helps(strict: Client) -> None:
    response = strict.post(apply_url("engage"), {"reason": "x"}, headers={"Accept": "text/html"})

    assert response.status_code == 403
    assert "Go back, reload, try again." in response.content.decode()
