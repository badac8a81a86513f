"""The operator's room: what is asked for is done, recorded and told; what is refused comes back with the reason why."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests.http import endpoints
from tests.http.endpoints import execute, without_table
from tests.http.rooms import (
    CONTROL,
    EVENTS,
    SYSTEM,
    apply_url,
    ask,
    dialog_in,
    is_open,
    messages_in,
    newest_event,
    snapshot,
    typed_in,
)
from tests.people import OPERATORS, RELEASE_MANAGERS, go_live, make_change, make_user, sign_in

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
MARKUP = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>&amp;</textarea></dialog>"


@pytest.fixture
def manager(database: None) -> Client:
    return sign_in(make_user(groups=[RELEASE_MANAGERS]), headers={"Accept": BROWSER})


@pytest.fixture
def root(database: None) -> Client:
    return sign_in(make_user("root", is_superuser=True), headers={"Accept": BROWSER})


def _follow(client: Client, response: Any) -> str:
    assert response.status_code == 302
    return client.get(response["Location"]).content.decode()


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

    page = _follow(manager, ask(manager, "engage", reason="Queue on fire."))

    assert messages_in(page) == ["Engage the kill switch: done. The kill switch is engaged. Execution is not allowed."]
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
    page = _follow(manager, ask(manager, "engage", reason="Me too."))

    assert messages_in(page) == ["Engage the kill switch: it was so already. Your request is recorded."]
    event = newest_event()
    assert (event["action"], bool(event["changed"]), event["reason"]) == ("engage", False, "Me too.")
    assert manager.get(endpoints.STATE).json()["revision"] == 1


def test_edit__version_and_notes__are_stored_and_shown_again(manager: Client) -> None:
    notes = "First line.\r\nSecond line: ü 停."

    page = _follow(manager, ask(manager, "edit", version="3.0.0-rc.1", notes=notes))

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

    _follow(manager, ask(manager, "reopen", reason=""))

    assert manager.get(endpoints.STATE).json()["code"] == "KILL_SWITCH_ENGAGED"
    assert manager.get(endpoints.SYSTEM).json()["backend_complete"] is False


# -- toward safe is never refused --------------------------------------------------------------------------------------


def test_toward_safe__endless_reason_full_of_control_characters__is_done_and_told(manager: Client) -> None:
    go_live()
    reason = "".join(f"{chr(number % 32)}x" for number in range(2_500))
    assert len(reason) == 5_000

    page = _follow(manager, ask(manager, "engage", reason=reason))

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
        {"override": "true"},
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


# -- refused: nothing is done, nothing typed is lost, and the page says why --------------------------------------------


def test_checklist_fails__is_412_and_names_the_items(manager: Client) -> None:
    before = snapshot()

    response = ask(manager, "release", reason="Line one.\r\nLine two: \"<b>&amp;</b>'")

    page = response.content.decode()
    assert response.status_code == 412
    assert is_open(page, "release")
    assert "<code>backend_complete</code> Mark the backend complete first." in dialog_in(page, "release")
    assert typed_in(page, "release") == "Line one.\r\nLine two: \"<b>&amp;</b>'"
    assert not is_open(page, "enable")
    assert snapshot() == before


def test_checklist_fails__in_two_ways__names_both(manager: Client) -> None:
    execute("UPDATE go_live_state SET go_live_enabled = true WHERE id = 1")

    dialog = dialog_in(ask(manager, "release").content.decode(), "release")

    assert "<code>backend_complete</code>" in dialog
    assert "<code>events_intact</code>" in dialog


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("", "is required"),
        (" \r\n\t ", "is required"),
        ("x" * 1_001, "1,001 characters long; at most 1,000"),
        ("bell \x07", "control characters"),
        ("nul \x00", "control characters"),
    ],
    ids=["empty", "blank", "too long", "bell", "nul"],
)
def test_reason__that_does_not_do__is_422_and_says_why(manager: Client, reason: str, why: str) -> None:
    before = snapshot()

    for name in ("complete", "release", "enable"):
        response = ask(manager, name, reason=reason)
        page = response.content.decode()
        assert response.status_code == 422
        assert is_open(page, name)
        assert f'id="fault-{name}-reason"' in dialog_in(page, name)
        assert why in dialog_in(page, name)
        assert typed_in(page, name) == reason

    assert snapshot() == before


def test_reason__of_exactly_1000_characters_on_many_lines__is_taken(manager: Client) -> None:
    """A browser sends each line end as two characters, and counts it as one."""
    make_change("complete")
    reason = "\n".join(["x" * 99] * 10)
    assert len(reason) == 999

    assert ask(manager, "release", reason=reason.replace("\n", "\r\n") + "x").status_code == 302

    assert newest_event()["reason"] == reason + "x"


def test_complete__several_faults__names_each_and_keeps_all_that_was_typed(manager: Client) -> None:
    response = ask(manager, "complete", reason="", version="  ", notes="Long\x00 notes")

    page = response.content.decode()
    assert response.status_code == 422
    for field in ("reason", "version", "notes"):
        assert f'id="fault-complete-{field}"' in page
    assert typed_in(page, "complete", "notes") == "Long\x00 notes"
    assert typed_in(page, "complete", "version") == "  "
    # The other dialog with these fields shows what is stored.
    assert typed_in(page, "edit", "version") == "1.0.0"


def test_override__without_the_permission__is_403_and_keeps_the_reason(manager: Client) -> None:
    before = snapshot()

    response = ask(manager, "enable", reason="I know better.", override="true")

    page = response.content.decode()
    assert response.status_code == 403
    assert "golive.override_checklist" in dialog_in(page, "enable")
    assert typed_in(page, "enable") == "I know better."
    assert snapshot() == before


def test_override__holder__passes_and_the_event_keeps_what_failed(root: Client) -> None:
    page = _follow(root, ask(root, "release", override="true"))

    event = root.get(endpoints.HISTORY).json()["events"][0]
    assert event["override"] is True
    assert [item["id"] for item in event["failed_checks"]] == ["backend_complete"]
    assert '<span class="golive-tag">override</span>' in page


def test_revision__changed_meanwhile__is_412_and_names_who(manager: Client) -> None:
    make_change("complete")
    page = manager.get(CONTROL).content.decode()
    seen = typed_in(page, "enable", "expected_revision")
    make_change("release", actor="li.wei")
    before = snapshot()

    response = ask(manager, "enable", reason="Mine.", expected_revision=seen)

    page = response.content.decode()
    assert response.status_code == 412
    assert "Changed by li.wei since you looked: revision 2, not 1." in dialog_in(page, "enable")
    assert typed_in(page, "enable") == "Mine."
    assert snapshot() == before
    # Having looked, the same dialog can be sent again.
    assert typed_in(page, "enable", "expected_revision") == "2"
    assert ask(manager, "enable", expected_revision="2").status_code == 302


def test_revision__of_the_system_changed_meanwhile__names_who(manager: Client) -> None:
    seen = typed_in(manager.get(SYSTEM).content.decode(), "edit", "expected_revision")
    make_change("edit", version="9.9", actor="li.wei")

    response = ask(manager, "edit", version="1.1", notes="Mine.", expected_revision=seen)

    page = response.content.decode()
    assert response.status_code == 412
    assert "Changed by li.wei" in dialog_in(page, "edit")
    assert typed_in(page, "edit", "notes") == "Mine."
    assert manager.get(endpoints.SYSTEM).json()["version"] == "9.9"


@pytest.mark.parametrize("revision", ["0", "-1", "abc", "1.0", "٣", "9" * 30, " 1"])
def test_revision__malformed__is_422(manager: Client, revision: str) -> None:
    make_change("complete")

    response = ask(manager, "release", expected_revision=revision)

    assert response.status_code == 422
    assert "expected_revision" in dialog_in(response.content.decode(), "release")


def test_refused__twice_in_a_row__still_works_without_a_reload(manager: Client) -> None:
    """The refused page stands at the address of the change: its links must not."""
    page = ask(manager, "enable").content.decode()

    assert f'href="{CONTROL}?change=engage"' in page
    assert f'href="{CONTROL}" data-close' in page
    assert 'href="?' not in dialog_in(page, "enable")


def test_permission_missing__page_says_which(database: None) -> None:
    operator = sign_in(make_user(groups=[OPERATORS]), headers={"Accept": BROWSER})

    response = ask(operator, "enable")

    assert response.status_code == 403
    assert messages_in(response.content.decode()) == ["This needs the permission golive.enable_go_live."]


@pytest.mark.parametrize("name", ["engage", "release"])
def test_row_missing__is_503_and_says_so(root: Client, name: str) -> None:
    make_change("complete")
    execute("DELETE FROM go_live_state")

    response = ask(root, name, reason="Stop it.")

    page = response.content.decode()
    assert response.status_code in (412, 503)
    assert 'data-code="STATE_UNKNOWN"' in page
    assert typed_in(page, name) == "Stop it."
    assert is_open(page, name)


def test_page__row_missing__says_what_to_do(root: Client) -> None:
    execute("DELETE FROM go_live_state")

    page = root.get(CONTROL).content.decode()

    assert 'data-code="STATE_UNKNOWN"' in page
    assert "manage.py migrate" in page


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


def test_markup__in_what_is_refused__is_escaped(root: Client) -> None:
    page = ask(root, "complete", reason="", version=MARKUP, notes=MARKUP).content.decode()

    assert "<script>alert" not in page
    assert typed_in(page, "complete", "notes") == MARKUP
    assert typed_in(page, "complete", "version") == MARKUP


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
