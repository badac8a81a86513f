"""Unknown is closed: a row or table that is missing, or values that mean nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import pytest
from django.test import Client

from tests.http import endpoints
from tests.http.endpoints import assert_problem, execute, without_table
from tests.support.accounts import make_user, sign_in
from tests.support.changes import go_live


@contextmanager
def _without_row(table: str) -> Iterator[None]:
    execute(f"DELETE FROM {table}")
    yield


Breakage = Callable[[], AbstractContextManager[None]]

BROKEN_GO_LIVE: dict[str, Breakage] = {
    "no row of go_live_state": partial(_without_row, "go_live_state"),
    "no table go_live_state": partial(without_table, "go_live_state"),
}
BROKEN_SYSTEM: dict[str, Breakage] = {
    "no row of system_metadata": partial(_without_row, "system_metadata"),
    "no table system_metadata": partial(without_table, "system_metadata"),
}
BROKEN = {**BROKEN_GO_LIVE, **BROKEN_SYSTEM}

broken_go_live = pytest.mark.parametrize("breakage", BROKEN_GO_LIVE.values(), ids=BROKEN_GO_LIVE.keys())
broken_system = pytest.mark.parametrize("breakage", BROKEN_SYSTEM.values(), ids=BROKEN_SYSTEM.keys())
broken = pytest.mark.parametrize("breakage", BROKEN.values(), ids=BROKEN.keys())


def _assert_unknown(client: Client, path: str) -> None:
    response = client.get(path)

    problem = assert_problem(response, 503, "STATE_UNKNOWN", path=path)
    assert problem["execution_allowed"] is False
    assert response["Retry-After"] == "1"
    assert "ETag" not in response


@broken_go_live
@pytest.mark.parametrize("path", [endpoints.STATE, endpoints.STATUS])
def test_go_live_state__missing__is_unknown_and_closed(client: Client, path: str, breakage: Breakage) -> None:
    go_live()
    with breakage():
        _assert_unknown(client, path)


@broken_system
@pytest.mark.parametrize("path", [endpoints.SYSTEM, endpoints.STATUS])
def test_system_metadata__missing__is_unknown_and_closed(client: Client, path: str, breakage: Breakage) -> None:
    go_live()
    with breakage():
        _assert_unknown(client, path)


@broken_system
def test_state__only_system_metadata_missing__is_still_told(client: Client, breakage: Breakage) -> None:
    with breakage():
        assert client.get(endpoints.STATE).json()["code"] == "KILL_SWITCH_ENGAGED"


def test_known_tag__state_unknown__is_no_304(client: Client) -> None:
    """A consumer that holds "allowed" must not be told that nothing has changed."""
    go_live()
    tag = client.get(endpoints.STATE)["ETag"]
    execute("DELETE FROM go_live_state")

    for offer in (tag, "*"):
        response = client.get(endpoints.STATE, headers={"If-None-Match": offer})
        assert_problem(response, 503, "STATE_UNKNOWN")


@broken
def test_read__of_a_missing_row__does_not_make_one(client: Client, breakage: Breakage) -> None:
    with breakage():
        for path in endpoints.ALL:
            client.get(path)
        assert client.get(endpoints.STATUS).status_code == 503


@broken
def test_liveness__broken_database__is_ok(client: Client, breakage: Breakage) -> None:
    with breakage():
        for path in endpoints.LIVENESS:
            assert client.get(path).json() == {"status": "ok"}


@broken
def test_readiness__row_or_table_missing__is_503_and_says_which(client: Client, breakage: Breakage) -> None:
    with breakage():
        response = client.get(endpoints.READINESS)

    found = response.json()
    assert response.status_code == 503
    assert response["Retry-After"] == "1"
    assert found["ok"] is False
    assert found["checks"]["singleton_rows"]["ok"] is False
    assert found["checks"]["database"]["ok"] is True


def test_readiness__migration_not_applied__is_503_and_names_it(client: Client) -> None:
    execute("DELETE FROM django_migrations WHERE app = 'golive' AND name = '0004_api_tokens'")
    try:
        response = client.get(endpoints.READINESS)
    finally:
        execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('golive', '0004_api_tokens', CURRENT_TIMESTAMP)"
        )

    check = response.json()["checks"]["migrations_applied"]
    assert response.status_code == 503
    assert check["ok"] is False
    assert "golive.0004_api_tokens" in check["detail"]


@broken
def test_checklist__row_or_table_missing__fails(client: Client, breakage: Breakage) -> None:
    with breakage():
        response = client.get(endpoints.CHECKLIST)

    assert response.status_code == 200
    assert response.json()["ok"] is False


@broken
def test_runbook__row_or_table_missing__is_200_with_a_blocker(client: Client, breakage: Breakage) -> None:
    with breakage():
        response, markdown = client.get(endpoints.RUNBOOK), client.get(endpoints.MARKDOWN)

    found = response.json()
    assert (response.status_code, markdown.status_code) == (200, 200)
    assert found["blockers"]
    assert found["ok_to_enable_go_live"] is False
    assert "NOT OK" in markdown.content.decode()


def test_history__table_missing__is_503(client: Client) -> None:
    with without_table("golive_event"):
        assert_problem(client.get(endpoints.HISTORY), 503, "STATE_UNKNOWN")
        assert client.get(endpoints.STATE).status_code == 200
        assert client.get(endpoints.RUNBOOK).json()["ok_to_enable_go_live"] is False


@broken
def test_status_page__state_unknown__is_a_page_that_says_so(client: Client, breakage: Breakage) -> None:
    go_live()
    with breakage():
        response = client.get("/")

    page = response.content.decode()
    assert response.status_code == 200
    assert 'data-code="STATE_UNKNOWN"' in page
    assert "Execution is not allowed." in page
    assert "Execution is allowed." not in page


@pytest.mark.parametrize("path", [endpoints.STATE, endpoints.STATUS, "/"])
def test_session_table_missing__reader_with_a_cookie__is_not_an_error_of_ours(
    client: Client, settings: Any, path: str
) -> None:
    settings.GOLIVE_PUBLIC_DETAILS = False
    signed_in = sign_in(make_user())
    with without_table("django_session"):
        response = signed_in.get(path)

    assert response.status_code in (200, 503)
    assert b"INTERNAL_ERROR" not in response.content


# -- values that mean nothing; PostgreSQL's types refuse all of these --------------------------------------------------

GARBAGE = (
    ("kill_switch_engaged", "'banana'"),
    ("kill_switch_engaged", "2"),
    ("kill_switch_engaged", "-1"),
    ("kill_switch_engaged", "x'00'"),
    ("kill_switch_engaged", "'false'"),
    ("kill_switch_engaged", "''"),
    ("go_live_enabled", "'true'"),
    ("go_live_enabled", "0.5"),
    ("updated_at", "'2026-13-45 00:00:00'"),
    ("reason", "x'ff'"),
    ("changed_by", "x'ff00'"),
    ("event_head", "x'ff'"),
    ("revision", "'abc'"),
    ("revision", "1.5"),
)


@pytest.mark.sqlite_only
@pytest.mark.parametrize(("column", "value"), GARBAGE)
def test_go_live_state__garbage_in_a_column__is_unknown_and_closed(client: Client, column: str, value: str) -> None:
    go_live()
    execute(f"UPDATE go_live_state SET {column} = {value}")

    _assert_unknown(client, endpoints.STATE)
    _assert_unknown(client, endpoints.STATUS)
    assert client.get(endpoints.RUNBOOK).json()["blockers"]
    assert client.get(endpoints.READINESS).status_code == 503
    assert 'data-code="STATE_UNKNOWN"' in client.get("/").content.decode()


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    ("column", "value"), [("backend_complete", "'yes'"), ("backend_complete", "7"), ("version", "x'ff'")]
)
def test_system_metadata__garbage_in_a_column__is_unknown_and_closed(client: Client, column: str, value: str) -> None:
    go_live()
    execute(f"UPDATE system_metadata SET {column} = {value}")

    _assert_unknown(client, endpoints.SYSTEM)
    _assert_unknown(client, endpoints.STATUS)
    assert client.get(endpoints.CHECKLIST).json()["ok"] is False


@pytest.mark.parametrize("value", ["false", "true"])
def test_state__plain_sql_that_means_something__is_told_as_it_is(client: Client, value: str) -> None:
    execute(f"UPDATE go_live_state SET kill_switch_engaged = {value}, go_live_enabled = true WHERE id = 1")

    assert client.get(endpoints.STATE).json()["execution_allowed"] is (value == "false")


# -- without any database ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["testserver", "evil.example", "10.0.0.7:8000", "bad host", "a" * 300, ""])
@pytest.mark.parametrize("path", [*endpoints.LIVENESS, *(f"{path}/" for path in endpoints.LIVENESS)])
def test_liveness__any_host_and_no_database__is_ok(path: str, host: str) -> None:
    """Without the `database` fixture every access to the database raises."""
    client = Client(raise_request_exception=False, headers={"Host": host})

    for method in ("GET", "HEAD"):
        response = client.generic(method, path, secure=False)
        assert response.status_code == 200
    assert json.loads(client.get(path).content) == {"status": "ok"}


def test_liveness__production_over_plain_http__is_not_redirected(settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True

    assert Client().get("/health").status_code == 200
