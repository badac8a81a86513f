"""Tokens on the record: who made and revoked which, in the same transaction, and never anything of a secret."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from golive.controls import token_changes
from golive.domain.changes import Channel
from golive.domain.errors import InvalidRequestError, NotAppliedError, StateUnknownError
from golive.identity import token_owners, tokens
from golive.identity.checks import check_token_owners
from golive.models import ApiToken, Event
from golive.readiness.checks import check_events_intact
from golive.state import history
from tests.api.callers import issue, make_token, revoke
from tests.support.accounts import make_user
from tests.support.changes import check_sound, problem_keys
from tests.support.factories import make_actor
from tests.support.faults import failing_writes, run_sql

ENGAGE, MAKE, REVOKE = "golive.engage_kill_switch", "golive.add_apitoken", "golive.revoke_apitoken"
LIST = "/admin/golive/apitoken/"


@pytest.fixture(autouse=True)
def _in_database(database: None) -> None:
    pass


def token_events() -> list[Event]:
    return list(Event.objects.filter(subject="api_token").order_by("sequence"))


def sign_in(*permissions: str, username: str = "maria") -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(make_user(permissions=permissions, username=username))
    return client


def make_in_admin(client: Client, **fields: Any) -> Any:
    return client.post(f"{LIST}add/", {"name": "bot", "scopes": ["engage"], "expires": "30", **fields})


# -- the events --------------------------------------------------------------------------------------------------------


def test_token__made_and_revoked_at_a_shell__are_two_events() -> None:
    for words in (
        ("create", "bot", "--scope", "engage", "--scope", "read", "--expires", "90d", "--actor", "ann"),
        ("revoke", "bot", "--actor", "bea"),
        ("revoke", "bot", "--actor", "eve"),  # it was so already
    ):
        call_command("golive", "token", *words)

    row = ApiToken.objects.get()
    created, revoked = token_events()
    values = history.token_values(row)
    assert set(values) == {"name", "prefix", "scopes", "expires_at"}
    assert (created.action, created.actor, created.channel, created.before, created.after) == (
        *("create", "ann", "cli", None),
        values,
    )
    assert (revoked.action, revoked.actor, revoked.channel, revoked.before, revoked.after) == (
        *("revoke", "bea", "cli"),
        *(values, None),
    )
    assert (row.created_by, row.revoked_by) == ("ann", "bea")
    check_sound()


def test_token__made_and_revoked_in_the_admin__are_two_events_of_the_user() -> None:
    operator = sign_in(MAKE, REVOKE, ENGAGE)
    make_in_admin(operator)
    operator.post(f"{LIST}{ApiToken.objects.get().pk}/revoke/", headers={"X-Request-ID": "r-1"})

    user = User.objects.get()
    assert [(e.action, e.actor, e.user_id, e.channel) for e in token_events()] == [
        ("create", "maria", user.pk, "admin"),
        ("revoke", "maria", user.pk, "admin"),
    ]
    assert (token_events()[1].request_id, token_events()[1].remote_addr) == ("r-1", "127.0.0.1")
    assert ApiToken.objects.get().revoked_by == "maria"
    user.delete()
    assert len(token_events()) == 2
    check_sound()


def test_token__whatever_is_done__nothing_of_the_secret_is_recorded() -> None:
    token, text = issue("bot", scopes=["engage"])
    revoke("bot")

    written = json.dumps([history.event_values(event) for event in Event.objects.all()])
    assert text.rpartition("_")[2] not in written
    assert token.secret_hash not in written


@pytest.mark.parametrize("table", ["golive_event", "golive_apitoken"])
def test_token__one_of_the_two_cannot_be_written__neither_is(table: str) -> None:
    make_token(name="old")
    with failing_writes(table, "INSERT"), pytest.raises(NotAppliedError):
        issue("bot", scopes=["engage"])
    with failing_writes("golive_event", "INSERT"), pytest.raises(NotAppliedError):
        revoke("old")

    assert [(token.name, token.revoked_at) for token in ApiToken.objects.all()] == [("old", None)]
    assert len(token_events()) == 1
    check_sound()


def test_token__the_state_is_missing__is_not_made() -> None:
    run_sql("DELETE FROM go_live_state")

    with pytest.raises(StateUnknownError):
        issue("bot", scopes=["engage"])
    with pytest.raises(CommandError) as caught:
        call_command("golive", "token", "create", "bot", "--scope", "engage")
    response = make_in_admin(sign_in(MAKE, ENGAGE))

    assert caught.value.returncode == 2
    assert response.status_code == 503
    assert not ApiToken.objects.exists()


def test_make__scopes_of_an_iterator__are_all_of_them() -> None:
    token, _ = issue("bot", scopes=iter(["engage", "read", "release"]))

    assert token.scopes == ["read", "engage", "release"]


def test_revoke__by_number__leaves_another_token_of_that_name() -> None:
    """Between the page and the click the token was replaced by one of the same name."""
    old, _ = issue("pager", scopes=["engage"])
    client = sign_in(REVOKE)
    assert client.get(f"{LIST}{old.pk}/revoke/").status_code == 200
    revoke("pager")
    new, text = issue("pager", scopes=["engage"])

    assert client.post(f"{LIST}{old.pk}/revoke/").status_code == 302

    assert tokens.verify_token(text) is not None
    assert ApiToken.objects.get(pk=new.pk).revoked_at is None
    assert ApiToken.objects.get(pk=old.pk).revoked_by == "test"


def test_revoke__no_such_token__is_refused() -> None:
    with pytest.raises(InvalidRequestError):
        token_changes.revoke_token(77, actor=make_actor(), channel=Channel.CLI)


@pytest.mark.parametrize("lookup", ["secret_hash__startswith", "secret_hash", "name__regex", "scopes__0", "prefix"])
def test_list__filtered_by_what_is_no_filter__is_400(lookup: str) -> None:
    make_token()

    assert sign_in("golive.view_apitoken").get(LIST, {lookup: "a"}).status_code == 400


# -- tokens that were altered by SQL -----------------------------------------------------------------------------------


def test_verify__a_revoked_token_is_valid_again__is_a_problem_until_it_is_revoked() -> None:
    token, _ = issue("bot", scopes=["engage"])
    revoke("bot")
    ApiToken.objects.update(revoked_at=None, revoked_by=None)

    assert problem_keys() == {f"token:{token.prefix}"}
    # The check's words are for everybody, and a token's name is not.
    assert "bot" not in check_events_intact().detail
    revoke("bot")
    check_sound()


@pytest.mark.parametrize(
    "altered", [{"scopes": ["engage", "release"]}, {"name": "other"}, {"expires_at": None}], ids=repr
)
def test_verify__a_token_is_not_as_it_was_made__is_a_problem(altered: dict[str, Any]) -> None:
    token, _ = issue("bot", scopes=["engage"], expires_in=timedelta(days=1))
    ApiToken.objects.update(**altered)

    assert problem_keys() == {f"token:{token.prefix}"}


def test_verify__a_token_that_is_older_than_its_recording__is_no_problem() -> None:
    ApiToken.objects.create(
        name="old", prefix="p", secret_hash="h", scopes=["read"], created_by="ann", created_at=datetime.now(UTC)
    )

    check_sound()


# -- tokens that outlive the rights of their makers --------------------------------------------------------------------


def find_faults() -> dict[str, str]:
    faults = token_owners.find_owner_faults(now=datetime.now(UTC))
    return {token.name: faults[token.pk] for token in ApiToken.objects.filter(pk__in=faults)}


def test_owner__may_still_do_it__is_fine() -> None:
    make_in_admin(sign_in(MAKE, ENGAGE))
    make_token("release", "override", name="made-at-a-shell")

    assert find_faults() == {}
    assert check_token_owners().ok


def _lose_right(user: User) -> None:
    user.user_permissions.clear()


def _leave(user: User) -> None:
    user.is_active = False
    user.save()


def _be_replaced(user: User) -> None:
    """Somebody else who gets the same name did not make the token."""
    user.delete()
    make_user(permissions=[ENGAGE], username="maria")


@pytest.mark.parametrize(
    ("lose", "words"),
    [
        (_lose_right, "may not engage"),
        (_leave, "not active"),
        (User.delete, "no account"),
        (_be_replaced, "no account"),
    ],
)
def test_owner__lost_the_right__is_counted_for_all_and_named_at_a_shell(
    lose: Any, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_in_admin(sign_in(MAKE, ENGAGE))
    lose(User.objects.get(username="maria"))

    found = check_token_owners()
    call_command("golive", "token", "list")

    assert words in find_faults()["bot"]
    assert not found.ok
    # Public: what it is called, and who made it, is not for everybody.
    assert "bot" not in found.detail
    assert "maria" not in found.detail
    assert words in capsys.readouterr().out
    revoke("bot")
    assert check_token_owners().ok


@pytest.mark.parametrize(("created_by", "is_fine"), [("root@host", True), ("gone", False), ("maria", True)])
def test_owner__of_a_token_without_an_event__is_judged_by_name(created_by: str, is_fine: bool) -> None:
    make_user(permissions=[ENGAGE], username="maria")
    ApiToken.objects.create(
        name="old", prefix="p", secret_hash="h", scopes=["engage"], created_by=created_by, created_at=datetime.now(UTC)
    )

    assert check_token_owners().ok is is_fine
