"""Headless Chromium for tests and screenshots: start it, collect its errors, sign in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from playwright.sync_api import Browser, ConsoleMessage, Page, Response, sync_playwright

from tests.run import NO_BROWSER, find_chromium

ARGUMENTS = (
    "--no-sandbox",  # the sandbox does not work as root, the usual user in a container
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-sync",
    "--no-first-run",
)
WAIT_MS = 10_000
WIDE, NARROW = 1280, 360
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")


class NoBrowserError(RuntimeError):
    """Chromium was not found; the message says where it was searched for."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the system's Chromium, so that nothing must be downloaded. Raises NoBrowserError."""
    executable = find_chromium()
    if executable is None:
        raise NoBrowserError(NO_BROWSER)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Complaints:
    """Problems of a page: console errors and warnings, exceptions, responses with status 500 and above.

    A violation of the Content-Security-Policy is a console error. `expected_statuses` are intended responses, for each
    of which Chromium logs a console error.
    """

    expected_statuses: set[int] = field(default_factory=set)
    found: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("console", self._note_console)
        page.on("pageerror", lambda error: self.found.append(f"exception: {error}"))
        page.on("response", self._note_response)

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        if any(f"the server responded with a status of {status} " in message.text for status in self.expected_statuses):
            return
        self.found.append(f"{message.type}: {message.text}")

    def _note_response(self, response: Response) -> None:
        if response.status >= 500 and response.status not in self.expected_statuses:
            self.found.append(f"{response.status} for {response.url}")


def fill_in_login(page: Page, username: str, password: str) -> None:
    """Sign in through the form on the page, as a person does."""
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def find_overflow(page: Page) -> str | None:
    """Describe what makes the page scroll sideways; None if nothing does."""
    overflow: str | None = page.evaluate(
        """() => {
            const root = document.documentElement;
            if (root.scrollWidth <= root.clientWidth) {
                return null;
            }
            const guilty = [...document.querySelectorAll("body *")]
                .filter((element) => element.scrollWidth > root.clientWidth
                    || element.getBoundingClientRect().right > root.clientWidth + 1)
                .map((element) => `${element.tagName.toLowerCase()}.${element.className}`);
            return `${root.scrollWidth} px in ${root.clientWidth} px: ${guilty.slice(-6).join(", ")}`;
        }"""
    )
    return overflow
