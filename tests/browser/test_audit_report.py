"""The page of an audit, opened from a file as people do: the answer, the graph, the search, the keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, expect

from golive.migration_graph.model import Report
from golive.migration_graph.reports import render
from tests.migration_graph.reports import (
    get_key,
    make_chain,
    make_finding,
    make_graph,
    make_incident,
    make_report,
    make_sound,
    make_tie,
)
from tests.migration_graph.test_reports_drawings import HOSTILE, make_hostile
from tests.support.chromium import NARROW, WAIT_MS, WIDE, Complaints, Scheme, find_overflow

pytestmark = pytest.mark.browser

Show = Callable[..., Page]
SEVERE = ("serious", "critical")
IN_VIEW = """(element) => {
    const row = element.getBoundingClientRect();
    const frame = document.getElementById("graph").getBoundingClientRect();
    return Math.abs((row.top + row.bottom) / 2 - (frame.top + frame.bottom) / 2) / frame.height;
}"""


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Show]:
    """Opens the page of a report. In the end, no page may have complained, and none may have asked for anything."""
    complaints, asked = Complaints(), []
    with ExitStack() as stack:

        def open_page(
            report: Report,
            *,
            width: int = WIDE,
            scheme: Scheme = "light",
            with_script: bool = True,
            with_policy: bool = True,
        ) -> Page:
            file = tmp_path / "report.html"
            file.write_text(render(report, "html"))
            context = stack.enter_context(
                browser.new_context(
                    viewport={"width": width, "height": 800},
                    color_scheme=scheme,
                    java_script_enabled=with_script,
                    bypass_csp=not with_policy,
                )
            )
            context.set_default_timeout(WAIT_MS)
            page = context.new_page()
            complaints.watch(page)
            page.on("request", lambda request: asked.append(request.url))
            page.on("dialog", lambda dialog: complaints.found.append(f"dialog: {dialog.message}"))
            page.goto(file.as_uri())
            return page

        yield open_page
        assert complaints.found == []
        assert {url for url in asked if not url.startswith("data:")} == {(tmp_path / "report.html").as_uri()}


def make_braid(joins: int) -> Report:
    """Three revisions for each join, none of which can be folded, with an error in the middle."""
    parents: dict[str, list[str]] = {"base": []}
    for n in range(joins):
        below = f"join{n - 1}" if n else "base"
        parents |= {f"left{n}": [below], f"right{n}": [below], f"join{n}": [f"left{n}", f"right{n}"]}
    name = f"left{joins // 2}"
    finding = make_finding(file=get_key(name), line=3, revisions=(name,))
    return make_report(make_graph(parents), finding, merges=joins, branch_points=joins)


def find_row(page: Page, name: str) -> Any:
    return page.locator(".row", has=page.locator("code", has_text=name)).first


def test_page__incident__answers_first_and_folds_what_is_sound(show: Show) -> None:
    page = show(make_incident())

    expect(page.get_by_role("heading", name="Put back None")).to_be_in_viewport()
    expect(page.get_by_text("66 revisions")).to_be_visible()
    expect(find_row(page, "r000")).to_be_visible()
    expect(find_row(page, "r050")).to_be_hidden()

    page.get_by_text("66 revisions").click()

    expect(find_row(page, "r050")).to_be_visible()


def test_page__a_thousand_revisions__opens_with_the_defect_in_the_middle_and_is_quick(show: Show) -> None:
    page = show(make_braid(333))

    loaded_ms = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    rows = page.locator(".row")
    assert rows.count() == 1_000
    assert find_row(page, "left166").evaluate(IN_VIEW) < 0.05
    assert loaded_ms < 3_000

    searched_ms = page.evaluate(
        """() => {
            const began = performance.now();
            const search = document.getElementById("search");
            search.value = "join3";
            search.dispatchEvent(new Event("input"));
            document.getElementById("graph").getBoundingClientRect();
            return performance.now() - began;
        }"""
    )

    expect(page.locator("output")).to_have_text("1 of 44")
    assert searched_ms < 500


def test_page__search__goes_through_what_it_finds_and_unfolds_it(show: Show) -> None:
    page = show(make_incident())

    page.keyboard.press("/")
    page.keyboard.type("R05")

    expect(page.locator("output")).to_have_text("1 of 10")
    expect(find_row(page, "r059")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("output")).to_have_text("2 of 10")
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Shift+Enter")
    expect(page.locator("output")).to_have_text("10 of 10")
    expect(page.locator(".picked code")).to_have_text("r050")
    page.locator("#search").fill("nobody")
    expect(page.locator("output")).to_have_text("Nothing found")
    page.keyboard.press("Escape")
    expect(page.locator("output")).to_have_text("")
    expect(page.locator(":focus")).to_have_text("r050")


def test_page__keys__move_and_return_to_the_defect(show: Show) -> None:
    page = show(make_incident())

    page.keyboard.press("d")
    expect(page.locator(":focus")).to_have_text("r000")
    page.keyboard.press("k")
    expect(page.locator(":focus")).to_have_text("r020")  # the run between them is folded
    page.keyboard.press("u")
    expect(page.get_by_role("button", name="Fold all")).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(page.locator(":focus")).to_have_text("r019")
    page.keyboard.press("u")
    expect(find_row(page, "r019")).to_be_hidden()
    page.keyboard.press("j")
    expect(page.locator(":focus")).to_have_text("r000")


def test_page__run__opens_by_keyboard(show: Show) -> None:
    page = show(make_incident())

    page.get_by_text("19 revisions").locator("xpath=ancestor::summary").focus()
    page.keyboard.press("Enter")

    expect(find_row(page, "r010")).to_be_visible()


def test_page__without_script__has_all_but_the_tools(show: Show) -> None:
    page = show(make_incident(), with_script=False)

    expect(page.locator("#search")).to_be_hidden()
    page.get_by_text("66 revisions").click()
    expect(find_row(page, "r050")).to_be_visible()


@pytest.mark.parametrize("name", [name for name in HOSTILE if name.strip()])
def test_page__hostile_name__runs_nothing_and_is_shown(show: Show, name: str) -> None:
    page = show(make_hostile(name))

    page.wait_for_load_state()

    assert page.locator("script").count() == 1
    assert page.locator("img, iframe, object, subgraph").count() == 0


def test_page__script_put_in__is_refused_by_the_policy(browser: Browser, tmp_path: Path) -> None:
    page = browser.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    file = tmp_path / "tampered.html"
    file.write_text(render(make_tie(), "html").replace("<main>", "<main><script>window.evil = 1</script>"))

    page.goto(file.as_uri())

    assert page.evaluate("window.evil") is None
    assert any("Content Security Policy" in text for text in refused)
    page.close()


REPORTS: dict[str, Callable[[], Report]] = {
    "incident": make_incident,
    "tie": make_tie,
    "sound": make_sound,
    "many lanes": lambda: make_report(
        make_graph({**{f"b{n}": [] for n in range(40)}, "all": [f"b{n}" for n in range(40)]})
    ),
    "endless": lambda: make_hostile("x" * 2_000),
    "empty": lambda: make_report(make_graph({})),
    "chain": lambda: make_report(make_graph(make_chain(1_000))),
}


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize(("scheme", "width"), [("light", WIDE), ("dark", NARROW)])
def test_page__any_report__fits_and_can_be_used_by_everybody(show: Show, name: str, scheme: Scheme, width: int) -> None:
    page = show(REPORTS[name](), width=width, scheme=scheme, with_policy=False)

    assert find_overflow(page) is None
    violations: list[dict[str, Any]] = Axe().run(page).response["violations"]
    found = [
        f"{violation['id']} at {node['target']}: {node['failureSummary']}"
        for violation in violations
        if violation["impact"] in SEVERE
        for node in violation["nodes"]
    ]
    assert "\n".join(found) == ""
