"""What the operator's room refuses: nothing is done, nothing typed is lost, and the page says why."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from tests.http import endpoints
from tests.http.console_pages import (
    BROWSER,
    CONTROL,
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
from tests.http.endpoints import execute
from tests.support.accounts import OPERATORS, make_user, sign_in
from tests.support.changes import fake_checklist, make_change
from tests.support.factories import make_result

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


# -- one box for each failing item -------------------------------------------------------------------------------------


def boxes_in(page: str, name: str) -> dict[str, bool]:
    """The items that a dialog offers to pass, and whether each is ticked."""
    boxes = re.findall(r'<input type="checkbox" name="override" value="([^"]*)"( checked)?>', dialog_in(page, name))
    return {item: bool(checked) for item, checked in boxes}


def fail_too(monkeypatch: pytest.MonkeyPatch, *ids: str) -> None:
    """Let the checklist find that these fail."""
    fake_checklist(monkeypatch, *(make_result(id, ok=False) for id in ids), make_result("events_intact"))


def test_override__dialogs__have_a_box_for_each_failing_item_none_ticked(
    root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_too(monkeypatch, "backend_complete", "environment")

    page = root.get(CONTROL).content.decode()

    for name in ("release", "enable"):
        assert boxes_in(page, name) == {"backend_complete": False, "environment": False}
        assert "What environment found" in dialog_in(page, name)
    for name in ("engage", "disable"):
        assert boxes_in(page, name) == {}


def test_override__nothing_fails__there_is_no_box(root: Client) -> None:
    make_change("complete")

    assert 'name="override"' not in root.get(CONTROL).content.decode()


def test_override__something_fails_that_was_not_shown__is_refused_and_shown(
    root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_too(monkeypatch, "backend_complete")
    assert boxes_in(root.get(CONTROL).content.decode(), "release") == {"backend_complete": False}
    fail_too(monkeypatch, "backend_complete", "environment")
    before = snapshot()

    response = ask(root, "release", reason="The board decided.", override="backend_complete")

    page = response.content.decode()
    assert response.status_code == 412
    assert "Refused: the checklist fails." in dialog_in(page, "release")
    assert "<li><code>environment</code> What environment found</li>" in dialog_in(page, "release")
    # What was consented to stays ticked; what is new is for them to judge.
    assert boxes_in(page, "release") == {"backend_complete": True, "environment": False}
    assert snapshot() == before


def test_override__several_items__are_passed_and_kept(root: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_too(monkeypatch, "backend_complete", "environment")

    response = root.post(
        apply_url("release"), {"reason": "The board decided.", "override": ["backend_complete", "environment"]}
    )

    assert response.status_code == 302
    event = root.get(endpoints.HISTORY).json()["events"][0]
    assert [item["id"] for item in event["failed_checks"]] == ["backend_complete", "environment"]


@pytest.mark.parametrize("override", ["true", "*", "on", "", "no_such_item"])
def test_override__of_what_is_no_item__is_422_and_says_so(root: Client, override: str) -> None:
    before = snapshot()

    response = ask(root, "release", override=override)

    assert response.status_code == 422
    assert 'id="fault-release-override"' in dialog_in(response.content.decode(), "release")
    assert snapshot() == before


def test_revision__a_stop_that_changed_nothing_meanwhile__is_412_and_says_who_and_why(manager: Client) -> None:
    make_change("complete")
    seen = typed_in(manager.get(CONTROL).content.decode(), "release", "expected_revision")
    make_change("engage", actor="li.wei", reason="There is a second leak.")

    response = ask(manager, "release", reason="Mended.", expected_revision=seen)

    told = dialog_in(response.content.decode(), "release")
    assert response.status_code == 412
    assert all(word in told for word in ("li.wei", "engage", "There is a second leak."))
