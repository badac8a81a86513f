"""The operator's room: what is asked for is done, recorded and told; what is refused comes back with the reason why."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests.http import endpoints
from tests.http.console_pages import (
    BROWSER,
    CONTROL,
    EVENTS,
    SYSTEM,
    apply_url,
    ask,
    dialog_in,
    follow,
    is_open,
    messages_in,
    newest_event,
    snapshot,
    typed_in,
)
from tests.http.endpoints import without_table
from tests.support.accounts import make_user, sign_in
from tests.support.changes import go_live, make_change

MARKUP = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>&amp;</textarea></dialog>"


# -- the whole way -----------------------------------------------------------------------------------------------------


def test_story__refused_completed_released_enabled_engaged__is_told_by_state_and_history(manager: Client) -> None:
    refused = ask(manager, "enable", reason="Let us begin.")
    assert refused.status_code == 412
    assert "backend_complete" in dialog_in(refused.content.decode(), "enable")
    for name in ("complete", "release", "enable"):
        assert ask(manager, name, reason=f"Step {name}.").status_code == 302
    allowed = manager.get(endpoints.STATE).json()
    assert ask(manager, "engage", reason="Enough.").status_code == 302

    stopped = manager.get(endpoints.STATE).json()
    events = manager.get(endpoints.HISTORY).json()["events"]
    assert (allowed["execution_allowed"], allowed["code"]) == (True, "ALLOWED")
    assert (stopped["execution_allowed"], stopped["code"]) == (False, "KILL_SWITCH_ENGAGED")
    assert [(event["action"], event["actor"], event["reason"]) for event in events[:4]] == [
        ("engage", "maria", "Enough."),
        ("enable", "maria", "Step enable."),
        ("release", "maria", "Step release."),
        ("complete", "maria", "Step complete."),
    ]


def test_change__made__is_told_and_shown(manager: Client) -> None:
    go_live()

    page = follow(manager, ask(manager, "engage", reason="Queue on fire."))

    (told,) = messages_in(page)
    assert told.startswith("Engage the kill switch: done. The kill switch is engaged. Execution is not allowed.")
    assert told.endswith(" No permit is held.")
    assert 'data-code="KILL_SWITCH_ENGAGED"' in page
    assert "Queue on fire." in page
    assert "maria" in page


def test_event__of_a_change__knows_who_and_where_from(root: Client, settings: Any) -> None:
    settings.GOLIVE_TRUSTED_PROXIES = 1

    root.post(apply_url("engage"), {"reason": "x"}, headers={"X-Forwarded-For": "6.6.6.6, 203.0.113.9"})

    event = newest_event()
    assert (event["actor"], event["channel"], event["remote_addr"]) == ("root", "admin", "203.0.113.9")
    assert event["user_id"]
    assert event["request_id"]
    assert event["on_behalf_of"] is None


def test_name_in_the_form__is_not_who_did_it(root: Client) -> None:
    ask(root, "engage", changed_by="somebody else", actor="somebody else")

    assert newest_event()["actor"] == "root"


def test_change__that_changes_nothing__is_told_and_recorded(manager: Client) -> None:
    page = follow(manager, ask(manager, "engage", reason="Me too."))

    (told,) = messages_in(page)
    assert told == "Already engaged. Your request was recorded. No permit is held."
    event = newest_event()
    assert (event["action"], bool(event["changed"]), event["reason"]) == ("engage", False, "Me too.")
    shown = manager.get(endpoints.STATE).json()
    # Whoever has not seen this stop must not be able to undo it.
    assert (shown["revision"], shown["changed_by"], shown["reason"]) == (2, event["actor"], "Me too.")


def test_edit__version_and_notes__are_stored_and_shown_again(manager: Client) -> None:
    notes = "First line.\r\nSecond line: ü 停."

    page = follow(manager, ask(manager, "edit", version="3.0.0-rc.1", notes=notes))

    status = manager.get(endpoints.SYSTEM).json()
    assert (status["version"], status["notes"]) == ("3.0.0-rc.1", "First line.\nSecond line: ü 停.")
    assert typed_in(page, "edit", "notes") == "First line.\nSecond line: ü 停."
    assert typed_in(page, "edit", "version") == "3.0.0-rc.1"


def test_edit__notes_emptied__are_gone(manager: Client) -> None:
    make_change("edit", notes="Old.")

    ask(manager, "edit", notes="")

    assert manager.get(endpoints.SYSTEM).json()["notes"] is None


def test_reopen__while_executing__stops_execution(manager: Client) -> None:
    go_live()

    follow(manager, ask(manager, "reopen", reason=""))

    assert manager.get(endpoints.STATE).json()["code"] == "KILL_SWITCH_ENGAGED"
    assert manager.get(endpoints.SYSTEM).json()["backend_complete"] is False


# -- toward safe is never refused --------------------------------------------------------------------------------------


def test_toward_safe__endless_reason_full_of_control_characters__is_done_and_told(manager: Client) -> None:
    go_live()
    reason = "".join(f"{chr(number % 32)}x" for number in range(2_500))
    assert len(reason) == 5_000

    page = follow(manager, ask(manager, "engage", reason=reason))

    assert manager.get(endpoints.STATE).json()["code"] == "KILL_SWITCH_ENGAGED"
    told = " ".join(messages_in(page))
    assert "Engage the kill switch: done." in told
    assert "control characters" in told
    assert "was cut to 1,000" in told
    assert len(newest_event()["reason"]) <= 1_000


@pytest.mark.parametrize(
    "fields",
    [
        {"reason": ""},
        {"reason": " \t\r\n "},
        {"reason": "\x00" * 50},
        {"reason": "\ufffd\u202e\u2028 \U0001f6d1"},
        {"expected_revision": "99999"},
        {"expected_revision": "nonsense"},
        {"override": "backend_complete"},
        {"unknown": "x" * 10_000, "another[]": "\x00"},
    ],
    ids=str,
)
def test_toward_safe__whatever_is_sent__is_done(manager: Client, fields: dict[str, str]) -> None:
    go_live()

    for name in ("engage", "disable", "reopen"):
        assert ask(manager, name, **fields).status_code == 302
        assert newest_event()["action"] == name
        assert newest_event()["changed"]


@pytest.mark.parametrize("name", ["engage", "disable"])
def test_toward_safe__without_system_metadata__is_done(manager: Client, name: str) -> None:
    """It needs the permission and its own row, and nothing else that may be broken."""
    go_live()
    with without_table("system_metadata"):
        assert ask(manager, name).status_code == 302
        assert manager.get(CONTROL).status_code == 200

    assert manager.get(endpoints.STATE).json()["execution_allowed"] is False


# -- the dialogs without a script --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["engage", "disable", "release", "enable"])
def test_dialog__asked_for_in_the_address__is_open(root: Client, name: str) -> None:
    page = root.get(CONTROL, {"change": name}).content.decode()

    assert [other for other in ("engage", "disable", "release", "enable") if is_open(page, other)] == [name]


@pytest.mark.parametrize("name", ["", "nothing", "complete", "\x00", "<script>", "engage\n"])
def test_dialog__unknown_in_the_address__opens_none(root: Client, name: str) -> None:
    response = root.get(CONTROL, {"change": name})

    assert response.status_code == 200
    assert " open>" not in response.content.decode()


# -- what people write -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [CONTROL, SYSTEM, EVENTS, f"{EVENTS}3/change/", f"{EVENTS}4/change/", "/admin/", "/"])
def test_markup__in_reason_notes_version_and_username__is_escaped_everywhere(database: None, path: str) -> None:
    author = sign_in(make_user(MARKUP, is_superuser=True), headers={"Accept": BROWSER})
    ask(author, "complete", reason=MARKUP, version=MARKUP, notes=MARKUP)
    ask(author, "release", reason=MARKUP)

    page = author.get(path).content.decode()

    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "</textarea></dialog>&" not in page
    assert "&lt;script&gt;alert(" in page


# -- the record --------------------------------------------------------------------------------------------------------


def test_record__list__shows_who_when_why(root: Client) -> None:
    make_change("engage", reason="Queue on fire.", actor="ann")
    event = newest_event()

    page = root.get(EVENTS).content.decode()

    for text in ("ann", "Queue on fire.", "engage (no change)", f"{event['at']:%Y-%m-%d %H:%M:%S}", "#3"):
        assert text in page


def test_record__event__shows_every_column(root: Client) -> None:
    ask(root, "complete", reason="Line one.\r\nLine two.")
    event = newest_event()

    page = root.get(f"{EVENTS}{event['sequence']}/change/").content.decode()

    for column in ("actor", "channel", "subject", "action", "request_id", "remote_addr", "previous_hash", "hash"):
        assert str(event[column]) in page
    assert "Line one.<br>Line two." in page
    assert "&quot;backend_complete&quot;: true" in page


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?q=fire", ["#5"]),
        ("?q=ann", ["#5"]),
        ("?action=release", ["#4"]),
        ("?q=nobody", []),
        ("?changed__exact=0", []),
    ],
)
def test_record__searched_and_filtered__shows_what_fits(root: Client, query: str, expected: list[str]) -> None:
    import re

    make_change("complete")
    make_change("release")
    make_change("engage", reason="Queue on fire.", actor="ann")

    page = root.get(f"{EVENTS}{query}").content.decode()

    assert re.findall(r">(#\d+)<", page) == expected
    assert ("No event is like that." in page) is (not expected)


def test_record__after_its_author_is_deleted__stays(root: Client) -> None:
    user = make_user("leaver", is_superuser=True)
    ask(sign_in(user), "engage", reason="Last act.")
    before, user_id = snapshot(), user.pk

    user.delete()

    assert snapshot() == before
    assert newest_event()["user_id"] == user_id
    assert "leaver" in root.get(EVENTS).content.decode()
