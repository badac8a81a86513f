"""What nobody has foreseen, as drivers raise it: never a success, and never taken for a refusal by a rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.test import Client

from golive.domain.changes import CHANGES, Direction
from golive.models import Event
from golive.state import singletons, snapshots
from tests.api.callers import ALERTMANAGER, bearer, make_token
from tests.http import endpoints
from tests.http.endpoints import assert_problem, execute
from tests.support.changes import go_live

STOPS = [change for change in CHANGES.values() if change.direction is Direction.SAFE]


@pytest.fixture
def unusable(database: None) -> Iterator[dict[str, str]]:
    """The headers of a valid token, while every connection is refused by Django or the driver before it is made."""
    headers = bearer(make_token())
    settings = connections.settings["default"]
    before = settings["OPTIONS"]
    snapshots.stop_all()
    connections.close_all()
    settings["OPTIONS"] = {**before, "isolation_level": 9, "no_such_parameter": 1}
    if connection.vendor == "postgresql":
        # libpq refuses that by an error of its own; the one that is meant here comes from Django.
        del settings["OPTIONS"]["no_such_parameter"]
    wrapper_before, connection.settings_dict = connection.settings_dict, settings
    try:
        yield headers
    finally:
        settings["OPTIONS"] = before
        connection.settings_dict = wrapper_before
        snapshots.stop_all()
        connections.close_all()


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


def test_unusable__is_what_it_says(unusable: dict[str, str]) -> None:
    """Not one of Django's database errors, or these tests would show nothing."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the next line is about its kind
        connection.ensure_connection()

    assert type(caught.value).__name__ in ("ImproperlyConfigured", "TypeError")


@pytest.mark.parametrize("change", STOPS, ids=lambda change: change.name)
def test_stop__is_not_applied(client: Client, unusable: dict[str, str], change: Any) -> None:
    assert_problem(client.post(change.path, headers=unusable), 503, "NOT_APPLIED")


def test_alert__is_not_applied_and_so_repeated(client: Client, unusable: dict[str, str]) -> None:
    response = client.post(ALERTMANAGER, data={}, content_type="application/json", headers=unusable)

    assert_problem(response, 503, "NOT_APPLIED")


@pytest.mark.parametrize("path", [endpoints.STATUS, endpoints.STATE, endpoints.SYSTEM])
@pytest.mark.parametrize("has_token", [True, False])
def test_read__is_unknown(client: Client, unusable: dict[str, str], path: str, *, has_token: bool) -> None:
    assert_problem(client.get(path, headers=unusable if has_token else {}), 503, "STATE_UNKNOWN")


def test_history__is_unknown(client: Client, unusable: dict[str, str]) -> None:
    assert_problem(client.get(endpoints.HISTORY, headers=unusable), 503, "STATE_UNKNOWN")


@pytest.mark.parametrize("has_token", [True, False])
def test_runbook_and_checklist__are_200_and_not_ok(
    client: Client, unusable: dict[str, str], *, has_token: bool
) -> None:
    headers = unusable if has_token else {}

    runbook, checklist = (client.get(path, headers=headers) for path in (endpoints.RUNBOOK, endpoints.CHECKLIST))

    assert (runbook.status_code, runbook.json()["ok_to_enable_go_live"]) == (200, False)
    assert (checklist.status_code, checklist.json()["ok"]) == (200, False)


def test_status_page_and_flags__are_the_safe_ones(client: Client, unusable: dict[str, str]) -> None:
    page = client.get("/", headers={"Accept": "text/html"})
    flag = client.post(
        "/ofrep/v1/evaluate/flags/execution-allowed", data={}, content_type="application/json", headers=unusable
    )

    assert b"Execution is allowed." not in page.content
    assert page.status_code == 200
    assert (flag.status_code, flag.json()["value"]) == (200, False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("engage",),
        ("history",),
        ("history", "--verify"),
        ("token", "list"),
        ("reconcile", "--reason", "x"),
    ],
    ids=" ".join,
)
def test_command__exits_2_in_one_line(unusable: dict[str, str], arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError) as caught:
        call_command("golive", *arguments)

    assert caught.value.returncode == 2
    _, *more = str(caught.value).splitlines()
    assert all(line.startswith("Environment: ") for line in more)
    assert len(more) <= 1


def test_change__that_fails_after_its_commit__does_not_say_that_nothing_was_changed(
    client: Client, database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from golive.api import changes

    def fail(*args: Any) -> None:
        raise RuntimeError("made to fail")

    monkeypatch.setattr(changes, "describe", fail)

    response = client.post(CHANGES["engage"].path, headers=bearer(make_token()))

    assert "nothing" not in assert_problem(response, 500, "INTERNAL_ERROR")["detail"]


@pytest.mark.postgresql
@pytest.mark.parametrize("style", ["German", "SQL, DMY", "Postgres"])
def test_database__whose_dates_are_written_in_another_way__works(client: Client, database: None, style: str) -> None:
    headers = bearer(make_token())
    go_live()
    execute(f"ALTER ROLE CURRENT_USER SET datestyle = '{style}'")
    try:
        snapshots.stop_all()
        connections.close_all()

        assert client.post(CHANGES["engage"].path, headers=headers).status_code == 200
        assert client.get(endpoints.HISTORY, headers=headers).status_code == 200
        assert singletons.read_go_live().kill_switch_engaged
        assert Event.objects.first() is not None
    finally:
        execute("ALTER ROLE CURRENT_USER RESET datestyle")
        connections.close_all()
