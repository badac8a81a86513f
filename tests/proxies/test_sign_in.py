"""A sign-in (oauth2-proxy, SSO) beside the gate: who is not signed in stays out, and so does everybody after a stop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.service import Service
from tests.proxies.site import Site, assert_denied, open_tunnel, running_site

pytestmark = [pytest.mark.proxy, pytest.mark.slow]

SIGNED_IN = {"Cookie": "signed_in=yes"}
CADDY = """
:LISTEN {
	import golive
	forward_auth 127.0.0.1:4180 {
		uri /oauth2/auth
	}
	reverse_proxy BACKEND
}
"""
SITES = {"caddy": {"two servers": CADDY}}


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def running(request: pytest.FixtureRequest, plane: Service) -> Iterator[Site]:
    """nginx with the second example of the README, Caddy with a `forward_auth` besides."""
    with running_site(request.param, plane, SITES.get(request.param)) as site:
        yield site


@pytest.mark.parametrize("is_stopped", [False, True])
def test_sign_in__missing__reaches_nothing(site: Site, is_stopped: bool) -> None:
    if is_stopped:
        site.stop()

    answer = site.ask("GET", "/pay", at="two servers")

    assert answer.status in ((302, 401) if not is_stopped or site.name == "nginx" else (503,))
    assert site.backend.reached == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_sign_in__given__reaches_the_application_until_a_stop(site: Site, method: str) -> None:
    body = b"the body" if method == "POST" else None
    answer = site.ask(method, "/pay/%2e%2e/a?x=%2F", SIGNED_IN, body, at="two servers")
    assert (answer.status, answer.json()["length"]) == (200, len(body or b""))
    assert site.backend.reached == [f"{method} /pay/%2e%2e/a?x=%2F"]

    site.stop()

    assert_denied(site, site.ask(method, "/pay", SIGNED_IN, body, at="two servers"), "KILL_SWITCH_ENGAGED")


def test_sign_in__given__the_rest_is_as_without(site: Site) -> None:
    cookie = b"Cookie: signed_in=yes\r\n"
    assert open_tunnel(site, cookie + b"Upgrade: websocket", at="two servers")[0]
    assert not open_tunnel(site, cookie + b"Upgrade: h2c", at="two servers")[0]
    answer = site.ask("GET", "/pay", {**SIGNED_IN, "X-Answer": "403"}, at="two servers")

    assert (answer.status, "X-GoLive-Code" in answer.headers) == (403, False)
