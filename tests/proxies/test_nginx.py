"""What only nginx does: it makes errors of what the gate says, and holds a request until its body is whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.service import Service
from tests.proxies.site import Site, assert_denied, running_site

pytestmark = [pytest.mark.proxy, pytest.mark.slow]

SITES = {
    "intercepting": "location / { proxy_intercept_errors on; proxy_pass http://BACKEND; }",
    "forbidding": "location / { deny all; }",
    "without index": "location / { root FOLDER; }",
    "looping": "location / { rewrite ^ /again last; } location /again { rewrite ^ / last; }",
}


@pytest.fixture(scope="module")
def running(plane: Service) -> Iterator[Site]:
    sites = {name: f"server {{ listen LISTEN; include golive.nginx.conf; {text} }}" for name, text in SITES.items()}
    with running_site("nginx", plane, sites) as site:
        yield site


@pytest.mark.parametrize(
    ("at", "answered", "status"),
    [
        ("intercepting", 403, 403),
        ("intercepting", 500, 500),
        ("intercepting", 503, 503),
        ("forbidding", 200, 403),
        ("without index", 200, 403),
        ("looping", 200, 500),
    ],
)
def test_error__of_the_application_or_of_nginx__is_not_reported_as_a_denial(
    site: Site, at: str, answered: int, status: int
) -> None:
    answer = site.ask("GET", "/", {"X-Answer": str(answered)}, at=at)

    assert answer.status == status
    assert not {"X-GoLive-Code", "Retry-After", "Cache-Control"} & set(answer.headers)
    assert "ALLOWED" not in answer.text
    assert "Execution" not in answer.text


@pytest.mark.parametrize("at", ["intercepting", "without index"])
def test_stop__where_errors_have_other_causes_too__is_reported_as_one(site: Site, at: str) -> None:
    site.stop()

    assert_denied(site, site.ask("GET", "/", {"X-Answer": "403"}, at=at), "KILL_SWITCH_ENGAGED")


def test_gate__gone_where_errors_have_other_causes_too__is_reported_as_unknown(site: Site) -> None:
    site.plane.server.stop()
    try:
        assert_denied(site, site.ask("GET", "/", {"X-Answer": "500"}, at="intercepting"), "STATE_UNKNOWN")
    finally:
        site.plane.server.start()


@pytest.mark.parametrize("framing", [b"Content-Length: 10", b"Transfer-Encoding: chunked"])
def test_body__whole_only_after_the_stop__reaches_nothing_with_two_servers(site: Site, framing: bytes) -> None:
    first, rest = (b"hello", b"world") if b"Length" in framing else (b"5\r\nhello\r\n", b"5\r\nworld\r\n0\r\n\r\n")
    head = b"POST /pay HTTP/1.1\r\nHost: x\r\nCookie: signed_in=yes\r\nConnection: close\r\n"
    with site.connect("two servers") as connection, connection.makefile("rb") as answers:
        connection.sendall(head + framing + b"\r\nExpect: 100-continue\r\n\r\n")
        # nginx has looked at the headers: it asks for the body.
        assert answers.readline().startswith(b"HTTP/1.1 100")
        connection.sendall(first)
        site.stop()
        connection.sendall(rest)
        answer = answers.read()

    assert b"HTTP/1.1 503" in answer
    assert b"KILL_SWITCH_ENGAGED" in answer
    assert site.backend.reached == []


def test_body__whole_only_after_the_stop__goes_on_with_one_server(site: Site) -> None:
    """What docs/consumers/proxies warns of: the gate was asked when the headers were in."""
    with site.connect() as connection, connection.makefile("rb") as answers:
        connection.sendall(b"POST /pay HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10\r\n")
        connection.sendall(b"Expect: 100-continue\r\n\r\n")
        assert answers.readline().startswith(b"HTTP/1.1 100")
        site.stop()
        assert site.backend.reached == []
        connection.sendall(b"helloworld")
        answers.read()

    assert site.backend.reached == ["POST /pay"]
