"""Everything works from the keyboard, and the focus is where it is needed."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visitors
from tests.support.accounts import OPERATORS, RELEASE_MANAGERS, make_user
from tests.support.changes import go_live

# A page is made of the same rows on any database; test_story.py has both.
pytestmark = [pytest.mark.browser, pytest.mark.sqlite_only]

CONTROL = "/admin/golive/golivestate/"


def _tab_to(page: Page, selector: str) -> None:
    """Press Tab until the element has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{selector} cannot be reached by Tab")


def test_stop__by_keyboard_alone__is_made(visitors: Visitors) -> None:
    go_live()
    page = visitors.open(CONTROL, user=make_user(groups=[OPERATORS]))
    reason = page.locator("#engage-reason")

    _tab_to(page, "[data-dialog=dialog-engage]")
    page.keyboard.press("Enter")
    expect(reason).to_be_focused()
    page.keyboard.type("Queue on fire.")
    _tab_to(page, "#dialog-engage button[type=submit]")
    page.keyboard.press("Enter")

    expect(page.locator(".golive-banner")).to_have_attribute("data-code", "KILL_SWITCH_ENGAGED")
    expect(page.locator(".golive-facts")).to_contain_text("Queue on fire.")


def test_dialog__with_other_fields__has_the_focus_in_the_reason(visitors: Visitors) -> None:
    page = visitors.open("/admin/golive/systemmetadata/", user=make_user(groups=[RELEASE_MANAGERS]))

    _tab_to(page, "[data-dialog=dialog-complete]")
    page.keyboard.press("Enter")

    expect(page.locator("#complete-reason")).to_be_focused()


def test_dialog__escape__closes_it_and_gives_the_focus_back(visitors: Visitors) -> None:
    page = visitors.open(CONTROL, user=make_user(groups=[OPERATORS]))
    _tab_to(page, "[data-dialog=dialog-engage]")
    page.keyboard.press("Enter")
    expect(page.locator("#engage-reason")).to_be_focused()

    page.keyboard.press("Escape")

    expect(page.locator("#dialog-engage")).to_be_hidden()
    expect(page.locator("[data-dialog=dialog-engage]")).to_be_focused()


def test_dialog__cancel_by_keyboard__closes_it(visitors: Visitors) -> None:
    page = visitors.open(CONTROL, user=make_user(groups=[OPERATORS]))
    _tab_to(page, "[data-dialog=dialog-engage]")
    page.keyboard.press("Enter")

    _tab_to(page, "#dialog-engage [data-close]")
    page.keyboard.press("Enter")

    expect(page.locator("#dialog-engage")).to_be_hidden()
    expect(page).to_have_url(f"{visitors.base_url}{CONTROL}")


def test_dialog__open__keeps_the_focus(visitors: Visitors) -> None:
    page = visitors.open(f"{CONTROL}?change=engage", user=make_user(groups=[OPERATORS]))
    expect(page.locator("#engage-reason")).to_be_focused()

    for _ in range(12):
        page.keyboard.press("Tab")
        is_inside = "document.activeElement === document.body || !!document.activeElement.closest('#dialog-engage')"
        assert page.evaluate(is_inside)


@pytest.mark.parametrize("with_script", [True, False], ids=["with script", "without script"])
def test_dialog__that_comes_back_refused__has_the_focus_in_the_reason(visitors: Visitors, with_script: bool) -> None:
    visitors.complaints.expected_statuses.add(412)
    page = visitors.open(f"{CONTROL}?change=enable", user=make_user(groups=[RELEASE_MANAGERS]), with_script=with_script)
    expect(page.locator("#enable-reason")).to_be_focused()

    page.keyboard.type("Too early.")
    page.locator("#dialog-enable button[type=submit]").press("Enter")

    expect(page.locator("#dialog-enable").get_by_role("alert")).to_be_visible()
    expect(page.locator("#enable-reason")).to_be_focused()


def test_focus__wherever_it_is__can_be_seen(visitors: Visitors) -> None:
    page = visitors.open(CONTROL, user=make_user(groups=[RELEASE_MANAGERS]))

    for name in ("engage", "disable", "release", "enable"):
        _tab_to(page, f"[data-dialog=dialog-{name}]")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_skip_link__first_tab__leads_past_the_navigation(visitors: Visitors) -> None:
    page = visitors.open(CONTROL, user=make_user(groups=[OPERATORS]))

    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    _tab_to(page, "[data-dialog=dialog-engage]")

    expect(page.locator("[data-dialog=dialog-engage]")).to_be_focused()
