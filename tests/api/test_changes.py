"""The changes over HTTP: what they answer, what they record, and how strict they are in which direction."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from golive.domain.changes import CHANGES, Direction
from golive.models import Event
from golive.state import singletons
from tests.api.callers import bearer, call, make_token, sign_in
from tests.support.accounts import make_user
from tests.support.changes import go_live, make_change, newest

SAFE = [name for name, change in CHANGES.items() if change.direction is Direction.SAFE]
STRICT = [name for name, change in CHANGES.items() if change.direction is not Direction.SAFE]
LIVE = [name for name, change in CHANGES.items() if change.direction is Direction.LIVE]
GOOD = {"reason": "Signed off", "notes": "x"}


def fields_for(name: str) -> dict[str, Any]:
    return {"reason": "Signed off", **({"notes": "new"} if CHANGES[name].takes else {})}


# -- what is answered and recorded -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHANGES)
def test_change__by_token__is_answered_with_the_new_state_and_recorded(client: Client, name: str) -> None:
    if name != "complete":
        make_change("complete")
    token = make_token()

    response = call(client, name, fields_for(name), token=token, headers={"X-Request-ID": "call-1"})

    assert response.status_code == 200
    answer, event = response.json(), newest()
    assert answer["event"] == Event.objects.filter(action=name).first().sequence  # type: ignore[union-attr]
    assert (event.actor, event.channel, event.request_id, event.user_id) == ("token:bot", "api", "call-1", None)
    assert event.reason == "Signed off"
    assert response["X-Request-ID"] == "call-1"
    assert response["Cache-Control"] == "no-store"
    shown = client.get(_read_path(name), headers=bearer(token)).json()
    assert {key: answer[key] for key in shown} == shown
    assert "notes_on_request" not in answer


def _read_path(name: str) -> str:
    return "/api/system/status" if CHANGES[name].subject == "system_metadata" else "/api/governance/go-live/state"


@pytest.mark.parametrize("name", CHANGES)
def test_change__with_a_trailing_slash__works_alike(client: Client, name: str) -> None:
    make_change("complete")

    response = client.generic(
        CHANGES[name].method,
        f"{CHANGES[name].path}/",
        data=json.dumps(fields_for(name)),
        content_type="application/json",
        headers=bearer(make_token()),
    )

    assert response.status_code == 200


def test_change__that_changes_nothing__is_acknowledged_and_recorded(client: Client) -> None:
    before = singletons.read_go_live()

    answer = call(client, "engage", {"reason": "Me too"}, token=make_token("engage")).json()

    assert (answer["changed"], answer["revision"]) == (False, before.revision + 1)
    assert answer["reason"] == "Me too"
    assert newest().reason == "Me too"
    assert newest().sequence == answer["event"]


@pytest.mark.parametrize("name", ["enable", "release", "complete"])
def test_old_call__with_changed_by_and_reason__works_once_a_token_is_added(client: Client, name: str) -> None:
    """The calls of the system that this one replaces."""
    if name != "complete":
        make_change("complete")

    response = call(client, name, {"changed_by": "ops@valhalla", "reason": "Planned"}, token=make_token())

    assert response.status_code == 200
    assert (newest().actor, newest().on_behalf_of) == ("token:bot", "ops@valhalla")


def test_change__by_a_signed_in_person__is_theirs(client: Client) -> None:
    maria = make_user(permissions=["golive.engage_kill_switch"])
    csrf = sign_in(maria, client)

    response = call(client, "engage", {"changed_by": "somebody else"}, headers={"X-CSRFToken": csrf})

    assert response.status_code == 200
    event = newest()
    assert (event.actor, event.user_id, event.on_behalf_of) == ("maria", maria.pk, "somebody else")


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_csrf_token__in_the_body__is_not_looked_for(client: Client, kind: str) -> None:
    csrf = sign_in(make_user(permissions=["golive.engage_kill_switch"]), client)

    response = call(client, "engage", content=f"csrfmiddlewaretoken={csrf}".encode(), content_type=kind)

    assert response.status_code == 403
    assert response.json()["code"] == "PERMISSION_DENIED"


def test_bearer_and_session__together__the_token_alone_counts(client: Client) -> None:
    csrf = sign_in(make_user(permissions=["golive.engage_kill_switch"]), client)

    refused = call(client, "engage", token=make_token("disable"), headers={"X-CSRFToken": csrf})
    other_scheme = call(client, "engage", headers={"Authorization": "Basic eDp5", "X-CSRFToken": csrf})

    assert refused.status_code == 403
    assert other_scheme.status_code == 200


# -- checklist, override, revision -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["release", "enable"])
def test_guarded__checklist_fails__is_412_with_the_items(client: Client, name: str) -> None:
    token = make_token(name)
    count = Event.objects.count()

    response = call(client, name, {"reason": "Now"}, token=token)

    assert response.status_code == 412
    assert [item["id"] for item in response.json()["failed"]] == ["backend_complete"]
    assert Event.objects.count() == count


@pytest.mark.parametrize("name", ["release", "enable"])
def test_guarded__override_with_the_scope__passes_and_keeps_what_failed(client: Client, name: str) -> None:
    without = call(client, name, {"reason": "Now", "override": ["backend_complete"]}, token=make_token(name))
    response = call(
        client, name, {"reason": "Now", "override": ["backend_complete"]}, token=make_token(name, "override", name="b2")
    )

    assert without.status_code == 403
    assert response.status_code == 200
    assert newest().override
    assert [item["id"] for item in newest().failed_checks or ()] == ["backend_complete"]


@pytest.mark.parametrize("name", STRICT)
def test_expected_revision__of_another_state__is_412_with_state_and_name(client: Client, name: str) -> None:
    make_change("complete")
    make_change("edit", notes="somebody was here", actor="ann")
    make_change("release", actor="ann")
    stale, token, reader = 1, make_token(), make_token("read", name="r")

    response = call(client, name, {**fields_for(name), "expected_revision": stale}, token=token)

    assert response.status_code == 412
    problem = response.json()
    assert (problem["code"], problem["changed_by"]) == ("REVISION_MISMATCH", "ann")
    shown = client.get(_read_path(name), headers=bearer(reader)).json()
    assert problem["current"] == shown


@pytest.mark.parametrize("name", SAFE)
@pytest.mark.parametrize("revision", [999, "x", -1, 1.5, [], True])
def test_expected_revision__toward_safe__is_ignored_and_said(client: Client, name: str, revision: Any) -> None:
    response = call(client, name, {"expected_revision": revision}, token=make_token())

    assert response.status_code == 200
    assert "expected_revision" in response.json()["notes_on_request"][0]


def test_two_toward_live__on_one_revision__one_wins_and_the_other_is_told(client: Client) -> None:
    make_change("complete")
    revision = singletons.read_go_live().revision
    one, other = make_token(name="one"), make_token(name="other")

    won = call(client, "release", {"reason": "a", "expected_revision": revision}, token=one)
    lost = call(client, "enable", {"reason": "b", "expected_revision": revision}, token=other)

    assert (won.status_code, lost.status_code) == (200, 412)
    assert lost.json()["changed_by"] == "token:one"
    assert lost.json()["current"]["revision"] == revision + 1


def test_release__that_did_not_see_an_engage__does_not_undo_it(client: Client) -> None:
    go_live()
    seen = singletons.read_go_live().revision
    token = make_token()

    assert call(client, "engage", {"reason": "Fire"}, token=token).status_code == 200
    response = call(client, "release", {"reason": "All good", "expected_revision": seen}, token=token)

    assert response.status_code == 412
    assert singletons.read_go_live().kill_switch_engaged


# -- what refuses toward live and is cleaned toward safe ---------------------------------------------------------------

DEEP = b'{"reason":' + b"[" * 6000 + b"]" * 6000 + b"}"
MALFORMED = {
    "empty": (b"", 400),
    "not JSON": (b"reason=now", 400),
    "half": (b'{"reason": "no', 400),
    "an array": (b"[]", 400),
    "a text": (b'"now"', 400),
    "null": (b"null", 400),
    "named twice": (b'{"reason": "a", "reason": "b"}', 400),
    "named twice inside": (b'{"reason": {"a": 1, "a": 2}}', 400),
    "NaN": (b'{"reason": NaN}', 400),
    "infinite": (b'{"reason": -Infinity}', 400),
    "deep": (DEEP, 400),
    "deep but short": (b'{"reason":' + b"[" * 30 + b"]" * 30 + b"}", 400),
    "invalid UTF-8": (b'{"reason": "\xff\xfe"}', 400),
    "UTF-16": ('{"reason": "a"}'.encode("utf-16"), 400),
    "a number of many digits": (b'{"expected_revision": ' + b"9" * 5000 + b"}", 400),
    "a lone surrogate": (b'{"reason": "\\ud800"}', 422),
    "a lone surrogate as a name": (b'{"\\ud800": 1, "reason": "x"}', 422),
    "NUL": (b'{"reason": "a\\u0000b"}', 422),
    "control characters": (b'{"reason": "a\\u001b[31mb"}', 422),
    "a raw control character": (b'{"reason": "a\x01b"}', 400),
    "a long reason": (json.dumps({"reason": "x" * 1001}).encode(), 422),
    "a long name": (json.dumps({"reason": "x", "changed_by": "y" * 201}).encode(), 422),
    "a number for a reason": (b'{"reason": 5}', 422),
    "a huge float": (b'{"reason": 1e999}', 422),
    "an object for a reason": (b'{"reason": {"a": [1]}}', 422),
    "an unknown field": (b'{"reason": "x", "why": 1}', 422),
    "too large": (json.dumps({"reason": "x" * 17_000}).encode(), 413),
    "too large with spaces": (b" " * 16_384 + b'{"reason": "x"}', 413),
}


@pytest.mark.parametrize("body", MALFORMED)
@pytest.mark.parametrize("name", STRICT)
def test_strict__malformed__is_refused_and_nothing_is_recorded(client: Client, name: str, body: str) -> None:
    make_change("complete")
    token = make_token()
    count = Event.objects.count()
    content, status = MALFORMED[body]

    response = call(client, name, content=content, token=token)

    assert response.status_code == status, response.content
    assert Event.objects.count() == count


@pytest.mark.parametrize("body", MALFORMED)
@pytest.mark.parametrize("name", SAFE)
def test_stop__malformed__is_done_and_said(client: Client, name: str, body: str) -> None:
    go_live()
    content, _ = MALFORMED[body]

    response = call(client, name, content=content, token=make_token())

    assert response.status_code == 200, response.content
    assert response.json()["changed"]
    assert ("notes_on_request" in response.json()) == (body != "empty")
    assert len(newest().reason) <= 1000
    assert not response.json()["execution"]["allowed"]


@pytest.mark.parametrize("name", SAFE)
def test_stop__readable_in_part__keeps_what_can_be_read(client: Client, name: str) -> None:
    response = call(client, name, content=b'\xef\xbb\xbf{"reason": "fire \xff", "changed_by": "x"}', token=make_token())

    assert response.status_code == 200
    assert newest().reason == "fire \N{REPLACEMENT CHARACTER}"
    assert "UTF-8" in response.json()["notes_on_request"][0]


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x"])
@pytest.mark.parametrize("name", SAFE)
def test_stop__any_content_type__is_done_with_its_reason(client: Client, name: str, kind: str | None) -> None:
    response = call(client, name, {"reason": "Fire"}, content_type=kind, token=make_token())

    assert response.status_code == 200
    assert newest().reason == "Fire"


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"]
)
@pytest.mark.parametrize("name", STRICT)
def test_strict__another_content_type__is_415(client: Client, name: str, kind: str | None) -> None:
    response = call(client, name, {"reason": "x"}, content_type=kind, token=make_token())

    assert response.status_code == 415


@pytest.mark.parametrize("name", STRICT)
def test_strict__malformed_by_somebody_who_may_not__is_403(client: Client, name: str) -> None:
    """What the body should be is for those to know who may send one."""
    assert call(client, name, content=b"{", token=make_token("read")).status_code == 403


@pytest.mark.parametrize("name", LIVE)
@pytest.mark.parametrize("reason", ["", "  \n ", None])
def test_toward_live__without_a_reason__is_422_and_names_the_field(client: Client, name: str, reason: Any) -> None:
    response = call(client, name, {"reason": reason}, token=make_token())

    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == ["reason"]


@pytest.mark.parametrize("name", STRICT)
def test_strict__exactly_at_the_limits__is_taken(client: Client, name: str) -> None:
    make_change("complete")
    fields = {"reason": "é" * 1000, "changed_by": "y" * 200}
    content = json.dumps(fields, ensure_ascii=False).encode()

    response = call(client, name, content=content + b" " * (16_384 - len(content)), token=make_token())

    assert response.status_code == 200
    assert newest().reason == "é" * 1000


def test_edit__nothing_said__changes_nothing_and_is_recorded(client: Client) -> None:
    response = call(client, "edit", {}, token=make_token("complete"))

    assert response.status_code == 200
    assert response.json()["changed"] is False


def test_missing_row__is_state_unknown(client: Client) -> None:
    from django.db import connection

    token = make_token()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM go_live_state")

    response = call(client, "engage", token=token)

    assert (response.status_code, response.json()["code"]) == (503, "STATE_UNKNOWN")
    assert response.json()["execution_allowed"] is False
