"""What the operator's room refuses: nothing is done, nothing typed is lost, and the page says why."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.http import endpoints
from tests.http.endpoints import execute
from tests.http.rooms import (
    BROWSER,
    CONTROL,
    SYSTEM,
    ask,
    dialog_in,
    follow,
    is_open,
    messages_in,
    newest_event,
    snapshot,
    typed_in,
)
from tests.people import OPERATORS, make_change, make_user, sign_in

MARKUP = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>&amp;</textarea></dialog>"


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

    response = ask(manager, "enable", reason="I know better.", override="backend_complete")

    page = response.content.decode()
    assert response.status_code == 403
    assert "golive.override_checklist" in dialog_in(page, "enable")
    assert typed_in(page, "enable") == "I know better."
    assert snapshot() == before


def test_override__holder__passes_and_the_event_keeps_what_failed(root: Client) -> None:
    page = follow(root, ask(root, "release", override="backend_complete"))

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
    assert "Changed by li.wei since you looked: revision 2, not 1 (release at " in dialog_in(page, "enable")
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


def test_markup__in_what_is_refused__is_escaped(root: Client) -> None:
    page = ask(root, "complete", reason="", version=MARKUP, notes=MARKUP).content.decode()

    assert "<script>alert" not in page
    assert typed_in(page, "complete", "notes") == MARKUP
    assert typed_in(page, "complete", "version") == MARKUP
