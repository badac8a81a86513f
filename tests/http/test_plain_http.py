"""Over plain HTTP in production: a stop is done, probes answer, and everything else is refused in words; no redirect
ever answers a program. And the same paths under `//`."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from golive.domain.changes import CHANGES, Direction
from golive.middleware import READ_METHODS
from golive.state import singletons
from tests.api.callers import ALERTMANAGER, bearer, make_token
from tests.http import endpoints
from tests.http.console_pages import CONTROL, LOGIN, apply_url
from tests.http.endpoints import assert_problem
from tests.support.accounts import make_user, sign_in
from tests.support.changes import go_live

STOPS = [change for change in CHANGES.values() if change.direction is Direction.SAFE]
OTHERS = [change for change in CHANGES.values() if change.direction is not Direction.SAFE]
FLAGS = "/ofrep/v1/evaluate/flags"


@pytest.fixture
def plain(database: None, settings: Any) -> Client:
    """A client that comes over plain HTTP to a service in the settings of production."""
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_REDIRECT_EXEMPT = [r"^(api|ofrep|readyz)(/|$)"]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.ALLOWED_HOSTS = ["valhalla.example.com"]
    return Client(raise_request_exception=False, headers={"Host": "valhalla.example.com"})


INSIDE = {"Host": "10.0.0.5:10000"}


@pytest.mark.parametrize("change", STOPS, ids=lambda change: change.name)
@pytest.mark.parametrize("headers", [{}, INSIDE, {"X-Forwarded-Proto": "http"}], ids=["host", "address", "proxied"])
def test_stop__over_plain_http__is_done(plain: Client, change: Any, headers: dict[str, str]) -> None:
    go_live()

    response = plain.post(change.path, headers={**headers, **bearer(make_token())})

    assert response.status_code == 200
    assert response.json()["changed"] is True


@pytest.mark.parametrize("headers", [{}, INSIDE], ids=["host", "address"])
def test_alert__over_plain_http__engages(plain: Client, headers: dict[str, str]) -> None:
    go_live()
    message = {"status": "firing", "alerts": [{"status": "firing"}]}

    response = plain.post(
        ALERTMANAGER, data=message, content_type="application/json", headers={**headers, **bearer(make_token("engage"))}
    )

    assert response.status_code == 200
    assert singletons.read_go_live().kill_switch_engaged


def test_stop__without_credentials__is_401_by_any_host(plain: Client) -> None:
    assert_problem(plain.post(CHANGES["engage"].path, headers=INSIDE), 401, "UNAUTHENTICATED")


@pytest.mark.parametrize("change", OTHERS, ids=lambda change: change.name)
def test_change_toward_live__over_plain_http__is_refused_in_words(plain: Client, change: Any) -> None:
    response = plain.generic(
        change.method,
        change.path,
        data=b'{"reason": "x"}',
        content_type="application/json",
        headers=bearer(make_token()),
    )

    problem = assert_problem(response, 403, "TLS_REQUIRED", path=change.path)
    assert "X-Forwarded-Proto" in problem["detail"]


@pytest.mark.parametrize("path", [path for path in endpoints.READS if path != endpoints.READINESS])
def test_read_with_a_token__over_plain_http__is_refused_in_words(plain: Client, path: str) -> None:
    assert_problem(plain.get(path, headers=bearer(make_token())), 403, "TLS_REQUIRED", path=path)


def test_flag_with_a_key__over_plain_http__is_refused_in_words(plain: Client) -> None:
    response = plain.post(FLAGS, data={}, content_type="application/json", headers={"X-API-Key": make_token()})

    assert_problem(response, 403, "TLS_REQUIRED", path=FLAGS)


@pytest.mark.parametrize("path", [endpoints.STATUS, endpoints.STATE, endpoints.SYSTEM, endpoints.RUNBOOK])
def test_read_without_credentials__over_plain_http__is_answered(plain: Client, path: str) -> None:
    assert plain.get(path).status_code == 200


def test_read_of_a_session__over_plain_http__is_refused_in_words(plain: Client) -> None:
    visitor = sign_in(make_user(), headers={"Host": "valhalla.example.com"})

    assert_problem(visitor.get(endpoints.STATUS), 403, "TLS_REQUIRED")


def test_everything__behind_a_proxy_that_says_https__is_as_usual(plain: Client) -> None:
    headers = {"X-Forwarded-Proto": "https", **bearer(make_token())}

    assert plain.get(endpoints.HISTORY, headers=headers).status_code == 200
    assert plain.post(CHANGES["enable"].path, headers=headers).status_code == 415


@pytest.mark.parametrize("method", sorted({*endpoints.WRITING_METHODS} - {*READ_METHODS}))
@pytest.mark.parametrize("path", [LOGIN, CONTROL, apply_url("engage"), "/", "/api/nothing", "/nothing", "/static/x"])
def test_no_read__over_plain_http__is_never_redirected(plain: Client, method: str, path: str) -> None:
    response = plain.generic(method, path)

    assert response.status_code >= 400
    if not path.startswith("/api"):
        assert_problem(response, 403, "TLS_REQUIRED", path=path)


@pytest.mark.parametrize("path", ["/", LOGIN, "/nothing"])
def test_page__over_plain_http__is_redirected(plain: Client, path: str) -> None:
    response = plain.get(path)

    assert (response.status_code, response["Location"]) == (301, f"https://valhalla.example.com{path}")


# -- hosts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["10.0.0.5:10000", "evil.example", "bad host", ""])
@pytest.mark.parametrize("path", ["/readyz", "/readyz/", *endpoints.LIVENESS])
def test_probe__by_any_host_over_plain_http__is_answered(plain: Client, path: str, host: str) -> None:
    response = plain.get(path, headers={"Host": host, "Authorization": "Bearer any"})

    assert response.status_code == 200


@pytest.mark.parametrize("path", [endpoints.STATUS, CHANGES["release"].path, LOGIN])
def test_other__by_an_unknown_host__is_refused(plain: Client, path: str) -> None:
    assert plain.get(path, headers={**INSIDE, "X-Forwarded-Proto": "https"}).status_code == 400


# -- slashes in front --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slashes", ["//", "///"])
@pytest.mark.parametrize("path", [*endpoints.ALL, "/api/docs", "/api/openapi.json"])
def test_slashes_in_front__count_as_one(reader: Client, path: str, slashes: str) -> None:
    plain, slashed = reader.get(path), reader.get("/", PATH_INFO=slashes + path.lstrip("/"))

    assert slashed.status_code == plain.status_code == 200
    assert slashed["Content-Type"] == plain["Content-Type"]


def test_slashes_in_front__of_a_stop_and_a_flag__count_as_one(client: Client) -> None:
    go_live()
    headers = bearer(make_token())

    stop = client.post("/", headers=headers, PATH_INFO=f"/{CHANGES['engage'].path}")
    flags = client.post("/", data={}, content_type="application/json", PATH_INFO=f"/{FLAGS}")
    unknown = client.post("/", PATH_INFO="//api/nothing")

    assert (stop.status_code, stop.json()["changed"]) == (200, True)
    assert flags.status_code == 200
    assert_problem(unknown, 404, "NOT_FOUND")
    assert singletons.read_go_live().kill_switch_engaged
