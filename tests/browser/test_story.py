"""The main job in a browser, from the login to the stop, with scripts and without."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from django.core.management import call_command
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visitors
from tests.support.accounts import OPERATORS, RELEASE_MANAGERS, make_user
from tests.support.changes import go_live, make_change
from tests.support.chromium import fill_in_login
from tests.support.server import GunicornServer, request

pytestmark = pytest.mark.browser

CONTROL, SYSTEM = "/admin/golive/golivestate/", "/admin/golive/systemmetadata/"
LABELS = {
    "complete": "Mark the backend complete",
    "release": "Release the kill switch",
    "enable": "Enable go-live",
    "engage": "Engage the kill switch",
}


def _ask(page: Page, name: str, reason: str) -> None:
    """Open the dialog by its button, write the reason, and send it by the dialog's own button."""
    page.get_by_role("link", name=LABELS[name], exact=True).click()
    dialog = page.locator(f"#dialog-{name}")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Reason").fill(reason)
    dialog.get_by_role("button", name=LABELS[name]).click()


def _expect_code(page: Page, code: str) -> None:
    expect(page.locator(".golive-banner")).to_have_attribute("data-code", code)


@pytest.mark.parametrize("with_script", [True, False], ids=["with script", "without script"])
def test_story__sign_in_be_refused_complete_release_enable_engage(
    visitors: Visitors, server: GunicornServer, with_script: bool
) -> None:
    printed = StringIO()
    call_command("create_operator", "--username", "olga", stdout=printed)
    password = re.search(r"Password: (\S+)", printed.getvalue())
    assert password
    visitors.complaints.expected_statuses.add(412)
    page = visitors.open("/", with_script=with_script)

    page.get_by_role("link", name="Operators").click()
    fill_in_login(page, "olga", password[1])
    _expect_code(page, "KILL_SWITCH_ENGAGED")

    _ask(page, "enable", "Too early.")
    refusal = page.locator("#dialog-enable").get_by_role("alert")
    expect(refusal).to_contain_text("backend_complete")
    expect(refusal).to_contain_text("Mark the backend complete first.")
    expect(page.locator("#dialog-enable").get_by_label("Reason")).to_have_value("Too early.")
    page.locator("#dialog-enable").get_by_role("link", name="Cancel").click()
    expect(page.locator("#dialog-enable")).to_be_hidden()

    page.goto(SYSTEM)
    _ask(page, "complete", "All tests are green.")
    expect(page.locator(".messagelist")).to_contain_text("Mark the backend complete: done.")
    page.goto(CONTROL)
    _ask(page, "release", "Signed off\nby both leads.")
    _expect_code(page, "GO_LIVE_DISABLED")
    _ask(page, "enable", "Launch.")
    _expect_code(page, "ALLOWED")
    allowed = request("GET", server.url("/api/governance/go-live/state")).json()
    _ask(page, "engage", "Queue on fire.")
    _expect_code(page, "KILL_SWITCH_ENGAGED")
    stopped = request("GET", server.url("/api/governance/go-live/state")).json()

    assert (allowed["execution_allowed"], allowed["code"]) == (True, "ALLOWED")
    assert (stopped["execution_allowed"], stopped["code"]) == (False, "KILL_SWITCH_ENGAGED")
    page.get_by_role("link", name="The whole record").click()
    page.goto("/admin/golive/event/")
    rows = [" ".join(row.split()) for row in page.locator("#result_list tbody tr").all_inner_texts()]
    told = ("engage olga Queue on fire.", "enable olga Launch.", "release olga Signed off by both leads.")
    for row, (action, who, *why) in zip(rows, (text.split(" ", 2) for text in told), strict=False):
        assert re.search(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d {action} {who} {re.escape(why[0])} admin", row)
    assert "complete olga All tests are green." in rows[3]


def test_two_operators__same_page__second_is_told_of_the_conflict(visitors: Visitors) -> None:
    make_change("complete")
    visitors.complaints.expected_statuses.add(412)
    first = visitors.open(CONTROL, user=make_user("ann", groups=[RELEASE_MANAGERS]))
    second = visitors.open(CONTROL, user=make_user("bob", groups=[RELEASE_MANAGERS]))
    second.get_by_role("link", name=LABELS["enable"]).click()
    dialog = second.locator("#dialog-enable")
    dialog.get_by_label("Reason").fill("Bob's reason.")

    _ask(first, "release", "Ann's reason.")
    expect(first.locator(".messagelist")).to_contain_text("done")
    dialog.get_by_role("button", name=LABELS["enable"]).click()

    expect(dialog.get_by_role("alert")).to_contain_text(
        "Changed by ann since you looked: revision 2, not 1 (release at "
    )
    expect(dialog.get_by_label("Reason")).to_have_value("Bob's reason.")
    # What stands behind the dialog is what ann made of it; bob has looked, and asks again.
    expect(second.locator(".golive-facts")).to_contain_text("Ann's reason.")
    dialog.get_by_role("button", name=LABELS["enable"]).click()
    _expect_code(second, "ALLOWED")


def test_submit__clicked_twice__asks_once(visitors: Visitors, server: GunicornServer) -> None:
    go_live()
    page = visitors.open(CONTROL, user=make_user(groups=[OPERATORS]))
    page.get_by_role("link", name=LABELS["engage"]).click()

    button = page.locator("#dialog-engage").get_by_role("button", name=LABELS["engage"])
    count = """button => {
        let count = 0;
        button.form.addEventListener("submit", () => count++);
        button.click();
        button.click();
        return count;
    }"""
    submitted = button.evaluate(count)

    assert submitted == 1
    expect(page.locator(".messagelist")).to_contain_text("done")
    events = request("GET", server.url("/api/governance/go-live/history")).json()["events"]
    assert [event["action"] for event in events[:2]] == ["engage", "enable"]


def test_session_over__operator_who_stops__signs_in_and_stops(visitors: Visitors) -> None:
    go_live()
    user = make_user("ann", groups=[OPERATORS], password="correct horse battery")
    page = visitors.open(CONTROL, user=user)
    page.get_by_role("link", name=LABELS["engage"]).click()
    page.context.clear_cookies(name="sessionid")

    page.locator("#dialog-engage").get_by_role("button", name=LABELS["engage"]).click()
    fill_in_login(page, "ann", "correct horse battery")

    dialog = page.locator("#dialog-engage")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name=LABELS["engage"]).click()
    _expect_code(page, "KILL_SWITCH_ENGAGED")


def test_refused_page__reloaded__shows_the_page_and_asks_nothing(visitors: Visitors) -> None:
    visitors.complaints.expected_statuses.add(412)
    page = visitors.open(CONTROL, user=make_user(groups=[RELEASE_MANAGERS]))
    _ask(page, "enable", "Too early.")
    expect(page.locator("#dialog-enable").get_by_role("alert")).to_be_visible()

    with page.expect_response(lambda response: response.url.endswith(CONTROL)) as reloaded:
        page.reload()

    assert reloaded.value.request.method == "GET"
    expect(page.locator("#dialog-enable")).to_be_hidden()


def test_back__after_a_stop__does_not_show_what_was(visitors: Visitors) -> None:
    go_live()
    page = visitors.open("/", user=make_user(groups=[OPERATORS]))
    expect(page.locator("h1")).to_have_text("Execution is allowed.")
    page.goto(CONTROL)
    _ask(page, "engage", "Stop.")
    _expect_code(page, "KILL_SWITCH_ENGAGED")

    page.go_back()
    page.go_back()

    expect(page.locator("[data-code]")).to_have_attribute("data-code", "KILL_SWITCH_ENGAGED")
