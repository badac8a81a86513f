"""Fixtures for tests in a browser: the real service under gunicorn on the database of the tests, and Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize

from tests.support.accounts import sign_in
from tests.support.chromium import WAIT_MS, WIDE, Complaints, Scheme, chromium
from tests.support.served import server_environment
from tests.support.server import GunicornServer


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as browser, pytest.MonkeyPatch.context() as patch:
        # Playwright leaves its event loop running in this thread, and Django would take the tests for coroutines.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        yield browser
        # While that loop runs, Django keeps other connections than outside of it, which nobody else could close.
        connections.close_all()


@pytest.fixture(scope="package")
def server(django_db_setup: None) -> Iterator[GunicornServer]:
    with GunicornServer(server_environment(), application="tests.support.patient_wsgi:application") as server:
        yield server


class Visitors:
    """Opens browser windows, each of a person of their own, and keeps what the browser complains of."""

    def __init__(self, browser: Browser, base_url: str, stack: ExitStack) -> None:
        self.base_url = base_url
        self.complaints = Complaints()
        self._browser = browser
        self._stack = stack

    def open(
        self,
        path: str | None = None,
        *,
        user: User | None = None,
        width: int = WIDE,
        scheme: Scheme = "light",
        with_script: bool = True,
        with_policy: bool = True,
    ) -> Page:
        """A window of `user` (None: not signed in), at `path` if there is one.

        Without the content security policy, tools can do in the page what its own scripts may not.
        """
        size: ViewportSize = {"width": width, "height": 800}
        context = self._browser.new_context(
            base_url=self.base_url,
            viewport=size,
            color_scheme=scheme,
            java_script_enabled=with_script,
            bypass_csp=not with_policy,
        )
        self._stack.enter_context(context)
        context.set_default_timeout(WAIT_MS)
        if user is not None:
            self.sign_in(context, user)
        page = context.new_page()
        self.complaints.watch(page)
        if path is not None:
            page.goto(path)
        return page

    def sign_in(self, context: BrowserContext, user: User) -> None:
        """By the session's cookie; hashing a password takes long, and one test does it by the form."""
        cookies: dict[str, Any] = sign_in(user).cookies
        context.add_cookies([{"name": "sessionid", "value": cookies["sessionid"].value, "url": self.base_url}])


@pytest.fixture
def visitors(browser: Browser, server: GunicornServer, database: None) -> Iterator[Visitors]:
    """Windows onto the service. In the end, none of them may have complained."""
    with ExitStack() as stack:
        visitors = Visitors(browser, server.url("").rstrip("/"), stack)
        yield visitors
        assert visitors.complaints.found == []
