"""Who may see what: names and reasons are for those with credentials, unless the environment says otherwise."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests.http import endpoints
from tests.http.endpoints import assert_problem
from tests.people import OPERATORS, go_live, make_change, make_user, sign_in

NAME, REASON = "ann-of-the-night-shift", "The queue is on fire at customer Smith."
OPEN = (*endpoints.LIVENESS, endpoints.READINESS)
CLOSED = tuple(path for path in endpoints.READS if path != endpoints.READINESS)


@pytest.fixture
def private(client: Client, settings: Any) -> Client:
    """Nobody in particular, in production's way, after a stop by somebody for a reason."""
    settings.GOLIVE_PUBLIC_DETAILS = False
    go_live()
    make_change("engage", reason=REASON, actor=NAME)
    return client


@pytest.mark.parametrize("path", [*endpoints.ALL, "/"])
def test_reader_without_credentials__sees_no_name_and_no_reason(private: Client, path: str) -> None:
    response = private.get(path)

    assert NAME not in response.content.decode()
    assert REASON not in response.content.decode()


def test_project__that_does_not_say_what_is_public__answers_and_tells_no_name(private: Client, settings: Any) -> None:
    """One that includes the views of the app, and has none of the settings of this project."""
    for name in ("GOLIVE_PUBLIC_DETAILS", "GOLIVE_READ_TOKEN_REQUIRED", "GOLIVE_TRUSTED_PROXIES"):
        delattr(settings, name)

    answers = {path: private.get(path) for path in [*endpoints.ALL, "/"]}
    refused = private.post("/api/governance/go-live/disable", headers={"Authorization": "Bearer wrong"})

    assert {path for path, answer in answers.items() if answer.status_code != 200} == {endpoints.HISTORY}
    assert not any(NAME in answer.content.decode() for answer in answers.values())
    assert refused.status_code == 401


def test_reader_without_credentials__gets_null_and_all_else(private: Client) -> None:
    state, status = private.get(endpoints.STATE).json(), private.get(endpoints.STATUS).json()

    assert (state["changed_by"], state["reason"]) == (None, None)
    assert (state["code"], state["revision"]) == ("KILL_SWITCH_ENGAGED", 4)
    assert status["go_live"] == state


def test_reader_with_a_session__sees_name_and_reason(private: Client) -> None:
    signed_in = sign_in(make_user(groups=[OPERATORS]))

    state = signed_in.get(endpoints.STATE).json()

    assert (state["changed_by"], state["reason"]) == (NAME, REASON)
    assert signed_in.get(endpoints.STATUS).json()["go_live"] == state
    assert REASON in signed_in.get("/").content.decode()


def test_history__without_credentials__is_401(private: Client) -> None:
    problem = assert_problem(private.get(endpoints.HISTORY), 401, "UNAUTHENTICATED", path=endpoints.HISTORY)

    assert REASON not in str(problem)
    assert private.get(endpoints.HISTORY)["WWW-Authenticate"].startswith("Bearer")


def test_history__with_a_session__is_told(private: Client) -> None:
    events = sign_in(make_user()).get(endpoints.HISTORY).json()["events"]

    assert (events[0]["actor"], events[0]["reason"]) == (NAME, REASON)


@pytest.mark.parametrize(
    "cookie",
    ["nonsense-nonsense", "", "a" * 4000, '"' + "\\000" * 32 + '"', "é" * 32, "../../../../etc/passwd", "'; DROP"],
)
def test_session__forged__shows_nothing(private: Client, cookie: str) -> None:
    for path in (endpoints.STATE, endpoints.STATUS, "/"):
        response = private.get(path, headers={"Cookie": f"sessionid={cookie}"})
        assert response.status_code == 200
        assert REASON not in response.content.decode()
    assert private.get("/admin/", headers={"Cookie": f"sessionid={cookie}"}).status_code == 302


def test_session__ended_by_signing_out__shows_nothing(private: Client) -> None:
    signed_in = sign_in(make_user())
    signed_in.post("/admin/logout/")

    assert signed_in.get(endpoints.STATE).json()["reason"] is None


def test_session__of_a_deactivated_account__shows_nothing(private: Client) -> None:
    user = make_user()
    signed_in = sign_in(user)
    user.is_active = False
    user.save()

    assert signed_in.get(endpoints.STATE).json()["reason"] is None


def test_public_details__on__shows_all_to_all(private: Client, settings: Any) -> None:
    settings.GOLIVE_PUBLIC_DETAILS = True

    assert private.get(endpoints.STATE).json()["reason"] == REASON
    assert private.get(endpoints.HISTORY).json()["events"][0]["reason"] == REASON
    assert REASON in private.get("/").content.decode()


# -- GOLIVE_READ_TOKEN_REQUIRED ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("public_details", [True, False])
@pytest.mark.parametrize("path", CLOSED)
def test_credentials_required__none__is_401(reader: Client, settings: Any, path: str, public_details: bool) -> None:
    settings.GOLIVE_READ_TOKEN_REQUIRED = True
    settings.GOLIVE_PUBLIC_DETAILS = public_details

    response = reader.get(path)

    assert_problem(response, 401, "UNAUTHENTICATED", path=path)
    assert response["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", CLOSED)
def test_credentials_required__session__is_answered(client: Client, settings: Any, path: str) -> None:
    settings.GOLIVE_READ_TOKEN_REQUIRED = True

    assert sign_in(make_user()).get(path).status_code == 200


@pytest.mark.parametrize("path", OPEN)
def test_credentials_required__probes__stay_open(client: Client, settings: Any, path: str) -> None:
    settings.GOLIVE_READ_TOKEN_REQUIRED = True

    assert client.get(path).status_code == 200


def test_credentials_required__status_page__gives_nothing_away(client: Client, settings: Any) -> None:
    settings.GOLIVE_READ_TOKEN_REQUIRED = True
    head = sign_in(make_user()).get(endpoints.STATE).json()["event_head"]

    page = client.get("/").content.decode()

    assert "Sign in to see the state" in page
    assert "KILL_SWITCH_ENGAGED" not in page
    assert head[:12] not in page
    assert "data-status-url" not in page
