"""Ways round a proxy that asks: other forms of a site, other spellings of a path, and tunnels."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress

import pytest

from tests.proxies.site import Site, assert_denied, open_tunnel

pytestmark = [pytest.mark.proxy, pytest.mark.slow]

CADDY = {
    "bare": "reverse_proxy BACKEND",
    "handle": "handle /pay* {\n\t\treverse_proxy BACKEND\n\t}\n\thandle {\n\t\trespond other\n\t}",
    "handle_path": "handle_path /pay* {\n\t\treverse_proxy BACKEND\n\t}",
    "route": "route /pay* {\n\t\treverse_proxy BACKEND\n\t}",
    "matcher": "@pay path /pay*\n\treverse_proxy @pay BACKEND",
    "nested": "handle /pay* {\n\t\troute {\n\t\t\treverse_proxy BACKEND\n\t\t}\n\t}",
    "rewrite": "rewrite /pay* /deed{uri}\n\thandle /deed* {\n\t\treverse_proxy BACKEND\n\t}",
    "own forward_auth": "forward_auth BACKEND {\n\t\turi /sign-in\n\t}\n\thandle {\n\t\treverse_proxy BACKEND\n\t}",
    "file_server": "root * FOLDER\n\trewrite * /page.html\n\tfile_server",
    "respond": "respond deed",
    "redir": "redir /pay /elsewhere",
}
_PASS = "proxy_pass http://BACKEND;"
NGINX = {
    "bare": f"location / {{ {_PASS} }}",
    "prefix": f"location ^~ /pay {{ {_PASS} }}",
    "expression": f"location ~* ^/PAY {{ {_PASS} }}",
    "nested": f"location / {{ location /pay {{ {_PASS} }} }}",
    "rewrite": f"rewrite ^/pay /deed last; location /deed {{ {_PASS} }}",
    "named": f"location / {{ try_files /none @deed; }} location @deed {{ {_PASS} }}",
    "if": f"location / {{ if ($request_method) {{ {_PASS} }} }}",
    "error page": f"location / {{ error_page 404 = @deed; try_files /none =404; }} location @deed {{ {_PASS} }}",
    "files": "location / { root FOLDER; try_files /page.html =404; }",
}
_RULES = """
    bind :LISTEN
    http-request lua.golive
    http-request deny deny_status 503 unless { var(txn.golive) -m str passed }
"""
HAPROXY = {
    "use_backend": "use_backend app if { path_beg /pay }",
    "redirect": "http-request redirect location /elsewhere",
    "return": "http-request return status 200",
}
SITES = {
    "nginx": {name: f"server {{ listen LISTEN; include golive.nginx.conf; {text} }}" for name, text in NGINX.items()},
    "caddy": {name: f":LISTEN {{\n\timport golive\n\t{text}\n}}\n" for name, text in CADDY.items()},
    "haproxy": {name: f"frontend {name}{_RULES}    {text}\n" for name, text in HAPROXY.items()},
}
# Each of them is /pay or /health to somebody: to who decodes, to who resolves dots, to who compares beginnings or ends.
TARGETS = [
    "/pay",
    "/PAY",
    "/pay/",
    "/pay.",
    "//pay",
    "/./pay",
    "/pay/health",
    "/pay?/health",
    "/pay;/health",
    "/pay#/health",
    "/pay/../health",
    "/pay/..//health",
    "/pay/./../health",
    "/pay//../health",
    "/pay/%2e%2e/health",
    "/pay/%2E%2E/health",
    "/pay/.%2e/health",
    "/pay/%2e./health",
    "/pay/..%2fhealth",
    "/pay%2f../health",
    "/pay%2f..%2fhealth",
    "/pay/%2e%2e%2fhealth",
    "/pay/%252e%252e/health",
    "/pay/..;/health",
    "/pay;x=1/../health",
    "/pay;x=1/%2e%2e/health",
    "/pay/..\\health",
    "/pay\\..\\health",
    "/pay/..%5chealth",
    "/pay/%5c../health",
    "/pay/a/../../health",
    "/pay/a/%2e%2e/%2e%2e/health",
    "/pay/..%00/health",
    "/pay%00/../health",
    "/pay/%c0%ae%c0%ae/health",
    "/pay/%ef%bc%8e%ef%bc%8e/health",
    "/health",
    "/health/",
    "/health.",
    "/HEALTH",
    "/Health",
    "//health",
    "///health",
    "/./health",
    "/%68ealth",
    "/healt%68",
    "/%2fhealth",
    "/health%2f",
    "/health%20",
    "/health%00",
    "/health%00/../pay",
    "/health%0a",
    "/health;",
    "/health;/../pay",
    "/health;x=/../pay",
    "/health?",
    "/health?/../pay",
    "/health#",
    "/health#/../pay",
    "/health%23/../pay",
    "/health%3f/../pay",
    "/health/../pay",
    "/health/..%2fpay",
    "/health/%2e%2e/pay",
    "/health/%2e%2e%2fpay",
    "/health/..;/pay",
    "/health/..\\pay",
    "/health\\..\\pay",
    "/health%5c..%5cpay",
    "/healthy",
    "/health.html",
    "/health/pay",
    "/x/../health",
    "/x/%2e%2e/health",
    "http://x/pay",
    "http://x/health",
    "http://x/pay/../health",
    "http://x/pay/%2e%2e/health",
    "http://x//health",
    "http://x/health#/../pay",
    "http://health/pay",
    "http:///health",
    "http://x:80/health?/pay",
    "x/health",
    "health",
    "/ health",
    "/health /pay",
    "*",
]


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "CONNECT"])
def test_target__however_it_is_spelled__reaches_nothing_but_the_exempt_view(site: Site, method: str) -> None:
    """What an application makes of a target does not matter: only the exempt one itself gets through."""
    site.stop()
    reached: dict[str, list[str]] = {}

    for target in TARGETS:
        site.backend.reached.clear()
        length = "Content-Length: 0\r\n" if method == "POST" else ""
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{length}\r\n"
        site.send(head.encode("latin-1"))
        reached[target] = [each for each in site.backend.reached if not is_exempt(each)]

    assert {target: requests for target, requests in reached.items() if requests} == {}


def is_exempt(reached: str) -> bool:
    """The exempt path, letter for letter. nginx hands on the query with it."""
    return reached.split(" ", 1)[1].partition("?")[0] == "/health"


@pytest.mark.parametrize("smuggled", [b"GET /pay HTTP/1.1\r\nHost: x\r\n\r\n", b"0\r\n\r\nGET /pay HTTP/1.1\r\n\r\n"])
@pytest.mark.parametrize(
    "lengths",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Content-Length: 0\r\nContent-Length: 40",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding : chunked",
        b"Content-Length: 0",
    ],
)
def test_request__behind_an_exempt_one__is_guarded_too(site: Site, lengths: bytes, smuggled: bytes) -> None:
    """On one connection: said openly, or hidden in a body whose end can be read in two ways."""
    site.stop()

    site.send(b"POST /health HTTP/1.1\r\nHost: x\r\n" + lengths + b"\r\n\r\n" + smuggled + b"GARBAGE\r\n\r\n")

    assert set(site.backend.reached) <= {"POST /health"}


@pytest.mark.parametrize(
    "upgrade",
    [
        b"Upgrade: h2c",
        b"Upgrade: H2C",
        b"Upgrade: h2c, websocket",
        b"Upgrade: websocket, h2c",
        b"Upgrade: h2c\r\nUpgrade: websocket",
        b"Upgrade: websocket\r\nUpgrade: h2c",
        b"Upgrade: websocket/13 h2c",
        b"Upgrade: xwebsocket",
        b"Upgrade: websocketx",
        b"Upgrade: TLS/1.0",
        b"Upgrade:\th2c",
    ],
)
@pytest.mark.parametrize("path", [b"/socket", b"/health"])
def test_upgrade__to_anything_but_a_websocket__makes_no_tunnel(site: Site, upgrade: bytes, path: bytes) -> None:
    """In a tunnel further requests would go by, after a stop too. The path that is left out leads to none either."""
    is_open, reached = open_tunnel(site, upgrade, path=path)

    assert not is_open or all("h2c" not in each for each in reached[1:])
    assert reached in ([f"GET {path.decode()}"], [f"GET {path.decode()}", "websocket: hello"])


def test_upgrade__asked_for_by_a_client_of_http2__makes_no_tunnel(site: Site) -> None:
    """curl's own h2c, which goes on in HTTP/2 when the server agrees."""
    done = subprocess.run(
        [shutil.which("curl") or "curl", "-sv", "--http2", f"http://127.0.0.1:{site.ports['main']}/pay"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "Upgrade: h2c" in done.stderr
    assert "101 Switching Protocols" not in done.stderr
    assert '"length": 0' in done.stdout
    assert site.backend.reached == ["GET /pay"]


@pytest.mark.parametrize("target", [b"/pay", b"/health", b"http://x/health", b"x:80", b"health:80"])
def test_connect__makes_no_tunnel(site: Site, target: bytes) -> None:
    """A proxy that takes an answer of 200 to CONNECT for a tunnel looks into nothing that follows."""
    with site.connect() as connection, connection.makefile("rb") as answers, suppress(ConnectionError):
        connection.sendall(b"CONNECT " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        answers.readline()
        site.stop()
        connection.sendall(b"GET /pay HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answers.read()

    assert site.backend.reached == []


@pytest.mark.parametrize("value", [b"websocket", b"WebSocket", b"WEBSOCKET"])
def test_upgrade__to_a_websocket__is_handed_on_in_any_case(site: Site, value: bytes) -> None:
    is_open, reached = open_tunnel(site, b"Upgrade: " + value)

    assert is_open
    assert reached[1].lower() == "websocket: hello"


def test_site__in_any_of_the_usual_forms__is_guarded(site: Site) -> None:
    forms = [name for name in site.ports if name not in ("main", "two servers")]
    allowed = {name: site.ask("GET", "/pay", at=name).status for name in forms}
    site.stop()

    denied = {name: site.ask("GET", "/pay", at=name) for name in forms}

    assert {name: status for name, status in allowed.items() if status not in (200, 302)} == {}
    # With an error page of its own a location denies without those of the server.
    own_page = denied.pop("error page", None)
    assert own_page is None or own_page.status == 403
    for answer in denied.values():
        assert_denied(site, answer, "KILL_SWITCH_ENGAGED")
    assert site.backend.reached == []
