"""A page that is left open goes on telling the truth."""

from __future__ import annotations

import pytest
from django.db import connection
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Visitors
from tests.support.accounts import OPERATORS, make_user
from tests.support.changes import go_live, make_change
from tests.support.chromium import WAIT_MS
from tests.support.served import server_environment
from tests.support.server import GunicornServer

# A page is made of the same rows on any database; test_story.py has both.
pytestmark = [pytest.mark.browser, pytest.mark.sqlite_only]

CONTROL = "/admin/golive/golivestate/"


def _expect_code(page: Page, code: str) -> None:
    expect(page.locator("[data-status-url]")).to_have_attribute("data-code", code, timeout=WAIT_MS)
    expect(page.locator("[data-part=code]")).to_have_text(code)


def _let_time_pass(page: Page) -> None:
    """To the next time that the page asks."""
    page.clock.fast_forward(5_100)


def test_pages__left_open__notice_a_stop_by_themselves(visitors: Visitors) -> None:
    """Both pages of an operator, without any help: this is the one test that waits as a person does."""
    go_live()
    user = make_user(groups=[OPERATORS])
    pages = [visitors.open("/"), visitors.open(CONTROL, user=user)]
    for page in pages:
        _expect_code(page, "ALLOWED")

    make_change("engage", reason="Queue on fire.")

    for page in pages:
        _expect_code(page, "KILL_SWITCH_ENGAGED")
        expect(page.locator("body")).to_contain_text("Queue on fire.")
        expect(page).to_have_title(page.title())
        assert page.title().startswith("KILL_SWITCH_ENGAGED")


def test_status_page__nothing_changed__says_when_it_asked(visitors: Visitors) -> None:
    page = visitors.open()
    page.clock.install()
    page.goto("/")
    before = page.locator("[data-part=checked]").inner_text()

    _let_time_pass(page)

    expect(page.locator("[data-part=checked]")).not_to_have_text(before)
    _expect_code(page, "KILL_SWITCH_ENGAGED")


def test_status_page__without_script__asks_again(visitors: Visitors) -> None:
    page = visitors.open("/", with_script=False)

    assert page.locator("noscript meta[http-equiv=refresh]").count() or 'http-equiv="refresh"' in page.content()


def test_status_page__state_unknown_and_known_again__says_so(visitors: Visitors) -> None:
    visitors.complaints.expected_statuses.add(503)
    go_live()
    page = visitors.open()
    page.clock.install()
    page.goto("/")
    _expect_code(page, "ALLOWED")

    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE go_live_state RENAME TO go_live_state_away")
    try:
        _let_time_pass(page)
        _expect_code(page, "STATE_UNKNOWN")
        expect(page.locator("h1")).to_have_text("The go-live state cannot be known. Execution is not allowed.")
        expect(page.get_by_text("Below is the last known state.")).to_be_visible()
        assert page.title() == "STATE_UNKNOWN · Valhalla status"
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE go_live_state_away RENAME TO go_live_state")
    _let_time_pass(page)

    _expect_code(page, "ALLOWED")
    expect(page.get_by_text("Below is the last known state.")).to_be_hidden()


def test_pages__service_gone_and_back__say_so(browser: Browser, visitors: Visitors) -> None:
    go_live()
    user = make_user(groups=[OPERATORS])
    with GunicornServer(server_environment(), workers=1) as server:
        visitors.base_url = server.url("").rstrip("/")
        pages = [visitors.open(), visitors.open(user=user)]
        for page, path in zip(pages, ("/", CONTROL), strict=True):
            page.clock.install()
            page.goto(path)
            _expect_code(page, "ALLOWED")

        server.stop()
        for page in pages:
            _let_time_pass(page)
            _expect_code(page, "STATE_UNKNOWN")
        assert all("ERR_CONNECTION_REFUSED" in complaint for complaint in visitors.complaints.found)
        visitors.complaints.found.clear()

        server.start()
        for page in pages:
            _let_time_pass(page)
            _expect_code(page, "ALLOWED")


def test_room__dialog_open__is_not_reloaded_under_the_hands(visitors: Visitors) -> None:
    page = visitors.open(user=make_user(groups=[OPERATORS]))
    page.clock.install()
    page.goto(f"{CONTROL}?change=engage")
    page.locator("#engage-reason").fill("I am still writing")
    make_change("complete")

    with page.expect_response("**/api/status"):
        _let_time_pass(page)

    expect(page.locator("#engage-reason")).to_have_value("I am still writing")
    page.keyboard.press("Escape")
    with page.expect_navigation():
        _let_time_pass(page)
