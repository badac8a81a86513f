"""Every page fits a narrow window and can be used by everybody, whatever people have written into it."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from django.db import connection
from playwright.sync_api import Page

from golive.controls.token_changes import make_token
from golive.domain.changes import Channel
from golive.domain.scopes import SCOPES
from tests.browser.conftest import Visitors
from tests.support.accounts import OPERATORS, RELEASE_MANAGERS, make_user
from tests.support.changes import make_change
from tests.support.chromium import NARROW, WIDE, Scheme, find_overflow
from tests.support.factories import make_actor

# A page is made of the same rows on any database; test_story.py has both.
pytestmark = [pytest.mark.browser, pytest.mark.sqlite_only]

CONTROL, SYSTEM, EVENTS = "/admin/golive/golivestate/", "/admin/golive/systemmetadata/", "/admin/golive/event/"
TOKENS = "/admin/golive/apitoken/"
PUBLIC = ("/", "/nothing", "/api/docs", "/admin/login/")
ROOMS = (
    "/admin/",
    CONTROL,
    f"{CONTROL}?change=engage",
    f"{CONTROL}?change=enable",
    SYSTEM,
    f"{SYSTEM}?change=complete",
    f"{SYSTEM}?change=edit",
    EVENTS,
    f"{EVENTS}?q=nobody",
    f"{EVENTS}1/change/",
    f"{EVENTS}4/change/",
    f"{EVENTS}6/change/",
    TOKENS,
    f"{TOKENS}?q=nobody",
    f"{TOKENS}add/",
    "/admin/password_change/",
)
UNBROKEN = "x" * 1_000
SEVERE = ("serious", "critical")


def _write_at_length() -> None:
    """The longest that the rules let in, without a place to break it."""
    name = "a.very.long.username.that.nobody.can.break@subsidiary.example.com" * 2
    make_change("complete", reason=UNBROKEN, version="9" * 200, notes="y" * 10_000, actor=name)
    make_change("release", reason=UNBROKEN, actor=name)
    make_change("engage", reason="<b>" * 300, actor=name)
    make_change("enable", reason=UNBROKEN, actor=name)
    make_token("w" * 64, scopes=list(SCOPES), actor=make_actor(name), channel=Channel.ADMIN)


def _lose_the_row() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM go_live_state")


@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("with_script", [True, False], ids=["with script", "without script"])
def test_page__endless_words__does_not_scroll_sideways(visitors: Visitors, width: int, with_script: bool) -> None:
    _write_at_length()
    user = make_user("u" * 150, is_superuser=True)
    stranger = visitors.open(width=width, with_script=with_script)
    visitors.complaints.expected_statuses.add(404)
    found: dict[str, str | None] = {}

    for path in PUBLIC:
        stranger.goto(path)
        found[path] = find_overflow(stranger)
    page = visitors.open(width=width, user=user, with_script=with_script)
    for path in ROOMS:
        page.goto(path)
        found[path] = find_overflow(page)

    assert {path: overflow for path, overflow in found.items() if overflow} == {}


def test_page__narrow_after_a_refusal_at_length__does_not_scroll_sideways(visitors: Visitors) -> None:
    visitors.complaints.expected_statuses |= {412, 422}
    page = visitors.open(f"{CONTROL}?change=enable", width=NARROW, user=make_user(groups=[RELEASE_MANAGERS]))

    page.locator("#enable-reason").fill(UNBROKEN)
    with page.expect_navigation():
        page.locator("#dialog-enable button[type=submit]").click()

    assert find_overflow(page) is None


@pytest.mark.parametrize(("scheme", "width"), [("light", WIDE), ("dark", NARROW)])
def test_page__axe__finds_nothing_severe(visitors: Visitors, scheme: Scheme, width: int) -> None:
    _write_at_length()
    make_change("engage")  # changes nothing: a tag in the list
    make_change("release", override=["backend_complete"])
    visitors.complaints.expected_statuses |= {404, 412, 503}
    users = {"root": make_user("root", is_superuser=True), "ann": make_user("ann", groups=[OPERATORS])}
    windows = {
        name: visitors.open(width=width, scheme=scheme, user=user, with_policy=False)
        for name, user in {**users, "nobody": None}.items()
    }
    found = [
        problem
        for name, paths in (("nobody", PUBLIC), ("root", ROOMS), ("ann", (CONTROL, SYSTEM)))
        for path in paths
        for problem in _find_severe(windows[name], path)
    ]

    _lose_the_row()
    found += [problem for path in ("/", CONTROL) for problem in _find_severe(windows["root"], path)]

    assert "\n".join(found) == ""


def test_dialog__refused__axe_finds_nothing_severe(visitors: Visitors) -> None:
    visitors.complaints.expected_statuses |= {412, 422}
    user = make_user(groups=[RELEASE_MANAGERS])
    page = visitors.open(f"{SYSTEM}?change=complete", user=user, with_policy=False)

    page.locator("#complete-version").fill(" ")
    with page.expect_navigation():
        page.locator("#dialog-complete button[type=submit]").click()

    assert "\n".join(_check(page)) == ""


def _find_severe(page: Page, path: str) -> list[str]:
    page.goto(path)
    return _check(page)


def _check(page: Page) -> list[str]:
    """What axe-core calls serious or critical: which rule, where, why."""
    violations: list[dict[str, Any]] = Axe().run(page).response["violations"]
    return [
        f"{page.url}: {violation['id']} at {node['target']}: {node['failureSummary'].splitlines()[-1].strip()}"
        for violation in violations
        if violation["impact"] in SEVERE
        for node in violation["nodes"]
    ]
