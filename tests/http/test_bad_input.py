"""What nobody should send: answered in the API's own form, and never with a 5xx."""

from __future__ import annotations

from io import BytesIO
from typing import Any, cast

import pytest
from django.test import Client

from tests.http import endpoints
from tests.http.endpoints import READS, assert_problem
from tests.support.accounts import make_user, sign_in

UNKNOWN_PATHS = (
    "/api",
    "/api/",
    "/api/nothing",
    "/api/status/x",
    "/api/statusx",
    "/api//status",
    "/api/status//",
    "/api/Status",
    "/api/system",
    "/api/governance/go-live",
    "/api/governance/go-live/state/..",
    "/api/../admin",
    "/api/%2e%2e/admin",
    "/api/%00",
    "/api/status%00",
    "/api/status%0A",
    "/api/%0A/x",
    "/api/%FF%FE",
    "/api/status%C0%AF",
    "/api/%F0%9F%9B%91",
    "/api/<script>alert(1)</script>",
    "/api/" + "x" * 8000,
    "/api/" + "x/" * 4000,
    "/api/?" + "y" * 8000,
)
QUERIES = (
    "limit=%FF",
    "before=%C3%28",
    "%FF=%FE",
    "%00=%00",
    "limit=%00",
    "limit=1%00",
    "limit[]=1",
    "limit=" + "9" * 5000,
    "x=" + "y" * 100_000,
    "=",
    "&&&;;;===",
    "&".join(f"a{i}=1" for i in range(5000)),
    "&".join("limit=1" for _ in range(5000)),
)
HEADERS: tuple[dict[str, str], ...] = (
    {"Accept": "\x00"},
    {"Accept": ",".join(f"a/{i}" for i in range(2000))},
    {"Accept": ";;;,,,q=/"},
    {"Accept": "application/json;q=nonsense"},
    {"Accept-Encoding": "\xff"},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer " + "x" * 8000},
    {"Authorization": "Basic %%%"},
    {"Cookie": "=;;; sessionid; =x; \xff=\xfe"},
    {"Cookie": "; ".join(f"c{i}=v" for i in range(1000))},
    {"Content-Length": "-1"},
    {"Content-Length": "abc"},
    {"Content-Type": "application/json; charset=nonsense"},
    {"Content-Type": "multipart/form-data; boundary="},
    {"If-None-Match": "W/" * 4000},
    {"If-None-Match": '"' + "x" * 8000},
    {"Origin": "\x00"},
    {"Origin": "null"},
    {"Origin": "https://[::1"},
    {"Origin": "https://" + "a" * 8000 + ".weweb.io"},
    {"Range": "bytes=0-0"},
    {"X-Forwarded-For": "," * 4000},
    {"X-Forwarded-For": "not an address"},
    {"X-Forwarded-Proto": "gopher"},
    {"X-HTTP-Method-Override": "DELETE"},
)


@pytest.mark.parametrize("path", UNKNOWN_PATHS, ids=lambda path: path[:40])
def test_unknown_path__any_method__is_404(reader: Client, path: str) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"):
        assert_problem(reader.generic(method, path), 404, "NOT_FOUND")
    assert reader.head(path).status_code == 404


def test_unknown_path__in_a_browser__is_problem_json_all_the_same(reader: Client) -> None:
    assert_problem(reader.get("/api/nothing", headers={"Accept": "text/html"}), 404, "NOT_FOUND", path="/api/nothing")


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query[:30])
def test_query__malformed_or_endless__is_no_5xx(reader: Client, query: str) -> None:
    for path in (*READS, "/"):
        response = reader.generic("GET", path, QUERY_STRING=query)
        if path == endpoints.HISTORY and response.status_code != 200:
            assert_problem(response, response.status_code, response.json()["code"])
            assert response.status_code in (400, 422)
        else:
            assert response.status_code == 200


def test_query__thousands_of_parameters_that_are_looked_at__is_400(reader: Client) -> None:
    query = "&".join(f"a{i}=1" for i in range(5000))

    assert_problem(reader.generic("GET", endpoints.HISTORY, QUERY_STRING=query), 400, "BAD_REQUEST")


@pytest.mark.parametrize("headers", HEADERS, ids=lambda headers: str(headers)[:40])
def test_header__malformed_or_endless__is_no_5xx(reader: Client, headers: dict[str, str]) -> None:
    # A bad token is refused wherever credentials are looked at.
    refused = (401,) if headers.get("Authorization", "").startswith("Bearer") else ()
    for path in (endpoints.STATE, endpoints.HISTORY):
        assert reader.get(path, headers=headers).status_code in (refused or (200, 304))
    for path in ("/", "/health"):
        assert reader.get(path, headers=headers).status_code in (200, 304)
    assert reader.get("/api/nothing", headers=headers).status_code == 404


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{"),
        ("application/json", b"\xff\xfe"),
        ("application/json", b"[" * 100_000),
        ("application/x-www-form-urlencoded", b"x=" + b"y" * 5_000_000),
        ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % i for i in range(5000))),
        ("multipart/form-data; boundary=x", b"nonsense"),
        ("multipart/form-data", b""),
        ("", b"\x00" * 5_000_000),
    ],
    ids=lambda value: str(value[:30]),
)
def test_body__huge_or_malformed__is_refused_unread(reader: Client, content_type: str, body: bytes) -> None:
    for path in (*READS, "/"):
        assert_problem(reader.generic("POST", path, body, content_type), 405, "METHOD_NOT_ALLOWED")
    assert_problem(reader.generic("POST", "/api/nothing", body, content_type), 404, "NOT_FOUND")


def test_body__with_a_get__is_ignored(reader: Client) -> None:
    response = reader.generic("GET", endpoints.STATE, data=b"\xff" * 5_000_000, content_type="application/json")

    assert response.status_code == 200


class _Interrupted(BytesIO):
    """A body that the client stops sending."""

    def read(self, *args: Any, **kwargs: Any) -> bytes:
        raise OSError("the client went away")


def test_body__that_breaks_off__is_no_error_of_ours(client: Client) -> None:
    operator = sign_in(make_user(is_superuser=True), enforce_csrf_checks=True)

    response = operator.generic(
        "POST",
        "/admin/golive/golivestate/apply/engage/",
        CONTENT_TYPE="application/x-www-form-urlencoded",
        CONTENT_LENGTH="10",
        **cast(Any, {"wsgi.input": _Interrupted()}),
    )

    assert response.status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "bad host", "testserver:abc", "a" * 300, "\x00", ""])
def test_host__not_ours__is_400(reader: Client, host: str) -> None:
    for path in (endpoints.STATE, endpoints.CHECKLIST, "/api/nothing"):
        assert_problem(reader.get(path, headers={"Host": host}), 400, "BAD_REQUEST", path=path)


@pytest.mark.parametrize("headers", [{"Accept": "text/html"}, {"Accept": "*/*"}])
def test_host__not_ours_in_a_browser__is_400(reader: Client, headers: dict[str, str]) -> None:
    response = reader.get("/", headers={"Host": "evil.example", **headers})

    assert response.status_code == 400
    assert "evil.example" not in response.content.decode()


@pytest.mark.parametrize(
    "path", ["/nothing", "/static/nothing.css", "/static/../valhalla/settings.py", "/.env", "/%FF"]
)
def test_unknown_path__outside_the_api__fits_the_client(reader: Client, path: str) -> None:
    page, problem = reader.get(path, headers={"Accept": "text/html,*/*;q=0.8"}), reader.get(path)

    assert page.status_code == 404
    assert page["Content-Type"].startswith("text/html")
    assert "There is nothing here" in page.content.decode()
    assert_problem(problem, 404, "NOT_FOUND")


def test_unknown_path__with_markup__is_escaped(reader: Client) -> None:
    response = reader.get("/<script>alert(1)</script>", headers={"Accept": "text/html"})

    assert b"<script>alert" not in response.content
