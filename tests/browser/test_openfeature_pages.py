"""What a page decides that asks with OpenFeature's own provider for pages: with the options of
docs/consumers/openfeature.md, and without.

The provider answers from what it has. That is what the document warns of, and the tests hold the warning true.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.api.service import Service, running_service
from tests.support.node import FOLDER, install_packages
from tests.support.server import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.node]

# Ends a hang. Nothing is measured with it.
PATIENCE_MS = 60_000
WEB = "/node_modules/@openfeature/ofrep-web-provider"
IMPORTS = {
    "@openfeature/core": "/node_modules/@openfeature/core/dist/esm/index.js",
    "@openfeature/web-sdk": "/node_modules/@openfeature/web-sdk/dist/esm/index.js",
    "@openfeature/ofrep-web-provider": f"{WEB}/index.esm.js",
    "@openfeature/ofrep-core": f"{WEB}/node_modules/@openfeature/ofrep-core/index.esm.js",
}
(EXAMPLE,) = re.findall(r"```js\n(.*?)```", (ROOT / "docs/consumers/openfeature.md").read_text(), re.DOTALL)
AS_IT_COMES = """
import { OpenFeature } from "@openfeature/web-sdk";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";
await OpenFeature.setProviderAndWait(new OFREPWebProvider({ baseUrl: "https://valhalla.example.com" }));
const isAllowed = () => OpenFeature.getClient().getBooleanValue("execution-allowed", false);
window.details = () => OpenFeature.getClient().getBooleanDetails("execution-allowed", false);
"""


class Pages:
    """Serves the packages, and a page that runs each of two scripts: /example and /as-it-comes."""

    def __init__(self) -> None:
        install_packages()
        self.service = ""
        pages = self

        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments, directory=str(FOLDER))

            def do_GET(self) -> None:
                script = {"/example": EXAMPLE, "/as-it-comes": AS_IT_COMES}.get(self.path)
                if script is None:
                    super().do_GET()
                    return
                content = pages.write(script).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def write(self, script: str) -> str:
        script = script.replace("https://valhalla.example.com", self.service)
        return (
            f'<!doctype html><script type="importmap">{json.dumps({"imports": IMPORTS})}</script>'
            f'<script type="module">{script}\nwindow.isAllowed = isAllowed;</script>'
        )

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def pages() -> Iterator[Pages]:
    served = Pages()
    yield served
    served.close()


@pytest.fixture(scope="module")
def service(pages: Pages) -> Iterator[Service]:
    with running_service(CORS_ALLOWED_ORIGINS=pages.url) as running:
        pages.service = running.server.url("")
        yield running


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    """A window of its own, with a storage of its own. Execution is allowed."""
    service.allow_execution()
    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        yield page


def open_page(page: Page, pages: Pages, path: str) -> None:
    page.goto(pages.url + path)
    page.wait_for_function("window.isAllowed !== undefined")


def wait_until(page: Page, allowed: bool) -> None:
    page.wait_for_function("wanted => window.isAllowed() === wanted", arg=allowed)


def test_page__as_in_the_readme__sees_an_acknowledged_stop(service: Service, pages: Pages, page: Page) -> None:
    open_page(page, pages, "/example")
    wait_until(page, True)
    assert service.call("engage").status == 200

    wait_until(page, False)
    service.allow_execution()
    wait_until(page, True)


def test_page__as_in_the_readme__service_away__takes_the_safe_default(
    service: Service, pages: Pages, page: Page
) -> None:
    """The one that was open, and one that is opened anew; both see the service again when it is back."""
    open_page(page, pages, "/example")
    wait_until(page, True)
    again = page.context.new_page()
    again.set_default_timeout(PATIENCE_MS)
    service.server.stop()
    try:
        wait_until(page, False)
        with again.expect_event("requestfailed"):
            open_page(again, pages, "/example")
        at_first = again.evaluate("window.isAllowed()")
        stored = again.evaluate("Object.keys(localStorage)")
    finally:
        service.server.start()

    assert (at_first, stored) == (False, [])
    wait_until(page, True)
    wait_until(again, True)


def test_page__as_the_provider_comes__goes_on_after_an_acknowledged_stop(
    service: Service, pages: Pages, page: Page
) -> None:
    open_page(page, pages, "/as-it-comes")
    assert page.evaluate("window.isAllowed()") is True
    assert service.call("engage").status == 200

    assert page.evaluate("window.isAllowed()") is True


def test_page__as_the_provider_comes__begins_with_what_an_earlier_visit_knew(
    service: Service, pages: Pages, page: Page
) -> None:
    open_page(page, pages, "/as-it-comes")
    service.call("engage")
    service.server.stop()
    try:
        with page.expect_event("requestfailed"):
            open_page(page, pages, "/as-it-comes")
        details = page.evaluate("window.details()")
    finally:
        service.server.start()

    assert (details["value"], details["reason"]) == (True, "CACHED")
