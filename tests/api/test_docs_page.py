"""The page /api/docs in a browser: wide and narrow, light and dark, and nothing that the content policy stops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser

from tests.api.service import Service, running_service
from tests.support.chromium import NARROW, WIDE, Complaints, chromium, find_overflow

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_service(workers=1) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_docs__fit_and_work(service: Service, browser: Browser, width: int, scheme: Literal["light", "dark"]) -> None:
    complaints = Complaints()
    with browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme) as context:
        page = context.new_page()
        complaints.watch(page)
        page.goto(service.server.url("/api/docs"))
        page.get_by_role("link", name="POST /api/governance/go-live/kill-switch/engage").click()
        article = page.locator("#engage")
        for summary in article.locator("summary").all():
            summary.click()

        assert article.locator("pre").last.is_visible()
        assert find_overflow(page) is None
        assert complaints.found == []
        background, color = page.evaluate(
            "() => { const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]; }"
        )
        assert background != color
