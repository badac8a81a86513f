"""Who may do what in the operator's room: every kind of person by every change."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from golive.domain.changes import ALL_PERMISSIONS, CHANGES
from tests.http.console_pages import (
    CONTROL,
    EVENTS,
    FIELDS,
    LOGIN,
    NAMES,
    SYSTEM,
    apply_url,
    ask,
    dialog_in,
    newest_event,
    page_of,
    prepare,
    snapshot,
)
from tests.support.accounts import OPERATORS, OVERRIDE, RELEASE_MANAGERS, make_user, sign_in

ALL_BUT_OVERRIDE = frozenset(NAMES)
GUARDED = tuple(name for name, change in CHANGES.items() if change.is_guarded)


@dataclass(frozen=True)
class Persona:
    """A kind of person: how the account is made, and which changes it may make."""

    name: str
    make: Callable[[], User]
    may: frozenset[str]
    sees_rows: bool = True
    may_override: bool = False

    def client(self) -> Client:
        return sign_in(self.make())


PERSONAS = (
    Persona("staff without permission", make_user, frozenset(), sees_rows=False),
    Persona("operator", lambda: make_user(groups=[OPERATORS]), frozenset({"engage", "disable"})),
    Persona("release manager", lambda: make_user(groups=[RELEASE_MANAGERS]), ALL_BUT_OVERRIDE),
    Persona(
        "override holder",
        lambda: make_user(groups=[RELEASE_MANAGERS], permissions=[OVERRIDE]),
        ALL_BUT_OVERRIDE,
        may_override=True,
    ),
    Persona("superuser", lambda: make_user(is_superuser=True), ALL_BUT_OVERRIDE, may_override=True),
)
OUTSIDERS: dict[str, Callable[[], Client]] = {
    "nobody": lambda: Client(raise_request_exception=False),
    "not of the staff": lambda: sign_in(make_user(is_staff=False, permissions=ALL_PERMISSIONS)),
}

ADMITTED = [persona for persona in PERSONAS if persona.sees_rows]

by_persona = pytest.mark.parametrize("persona", PERSONAS, ids=lambda persona: persona.name)
by_outsider = pytest.mark.parametrize("outsider", OUTSIDERS.values(), ids=OUTSIDERS.keys())
by_change = pytest.mark.parametrize("name", NAMES)


@pytest.mark.usefixtures("database")
@by_change
@by_persona
def test_change__by_each_kind_of_person__is_made_or_refused(persona: Persona, name: str) -> None:
    prepare(name)
    client = persona.client()
    before = snapshot()

    response = ask(client, name)

    if name in persona.may:
        event = newest_event()
        assert response.status_code == 302
        assert response["Location"] == page_of(CHANGES[name])
        assert (event["action"], event["actor"], event["channel"], bool(event["changed"])) == (
            name,
            "maria",
            "admin",
            True,
        )
        assert event["reason"] == "It is time."
    else:
        assert response.status_code == 403
        assert CHANGES[name].permission in response.content.decode()
        assert snapshot() == before


@pytest.mark.usefixtures("database")
@by_change
@by_outsider
def test_change__by_an_outsider__leads_to_the_login_and_changes_nothing(
    outsider: Callable[[], Client], name: str
) -> None:
    prepare(name)
    client = outsider()
    before = snapshot()

    response = client.post(apply_url(name), {"reason": "Me too.", **FIELDS.get(name, {})})

    assert response.status_code == 302
    assert response["Location"] == f"{LOGIN}?next={page_of(CHANGES[name])}%3Fchange%3D{name}"
    assert snapshot() == before


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("persona", ADMITTED, ids=lambda persona: persona.name)
def test_button__for_each_kind_of_person__is_there_or_disabled(persona: Persona) -> None:
    client = persona.client()
    pages = {path: client.get(path).content.decode() for path in (CONTROL, SYSTEM)}

    for name, change in CHANGES.items():
        page = pages[page_of(change)]
        link = re.search(rf'<a class="golive-button"[^>]*data-dialog="dialog-{name}"[^>]*>{change.label}</a>', page)
        disabled = re.search(
            rf'<button type="button" class="golive-button" disabled[^>]*>{change.label}</button>', page
        )
        may = name in persona.may
        assert (name, bool(link)) == (name, may)
        assert (name, bool(disabled)) == (name, not may)
        assert (name, bool(dialog_in(page, name))) == (name, may)
        assert may or f"You do not have the permission {change.permission}." in page


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("name", GUARDED)
@by_persona
def test_override__by_each_kind_of_person__passes_or_is_refused(persona: Persona, name: str) -> None:
    client = persona.client()
    before = snapshot()

    response = ask(client, name, override="backend_complete")

    if persona.may_override:
        event = newest_event()
        assert response.status_code == 302
        assert (event["action"], bool(event["override"])) == (name, True)
        assert "backend_complete" in str(event["failed_checks"])
    else:
        assert response.status_code == 403
        assert snapshot() == before


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("persona", ADMITTED, ids=lambda persona: persona.name)
def test_override__box__is_offered_to_those_who_may(persona: Persona) -> None:
    page = persona.client().get(CONTROL).content.decode()

    assert ('name="override"' in page) is persona.may_override


@pytest.mark.usefixtures("database")
@by_persona
def test_pages__for_each_kind_of_person__are_open_or_closed(persona: Persona) -> None:
    client = persona.client()

    statuses = {path: client.get(path).status_code for path in (CONTROL, SYSTEM, EVENTS, f"{EVENTS}1/change/")}

    assert set(statuses.values()) == {200 if persona.sees_rows else 403}
    assert client.get("/admin/").status_code == 200


@pytest.mark.usefixtures("database")
@by_outsider
@pytest.mark.parametrize("path", ["/admin/", CONTROL, SYSTEM, EVENTS, f"{EVENTS}1/change/"])
def test_pages__for_an_outsider__lead_to_the_login(outsider: Callable[[], Client], path: str) -> None:
    response = outsider().get(path)

    assert response.status_code == 302
    assert response["Location"] == f"{LOGIN}?next={path}"


@pytest.mark.usefixtures("database")
def test_permission__taken_away__counts_at_once() -> None:
    user = make_user(groups=[OPERATORS])
    client = sign_in(user)
    assert ask(client, "engage").status_code == 302

    user.groups.clear()

    assert ask(client, "engage").status_code == 403


@pytest.mark.usefixtures("database")
@by_change
def test_single_permission__is_enough_for_page_and_change(name: str) -> None:
    """Whoever may make a change sees what they change, also without the permission to view."""
    prepare(name)
    client = sign_in(make_user(permissions=[CHANGES[name].permission]))

    page = client.get(page_of(CHANGES[name]))

    assert page.status_code == 200
    assert "/admin/golive/event/" not in page.content.decode()
    assert ask(client, name).status_code == 302


@pytest.mark.usefixtures("database")
def test_groups__as_migrated__hold_what_the_contract_says() -> None:
    def held(group: str) -> set[str]:
        return set(Group.objects.get(name=group).permissions.values_list("codename", flat=True))

    seen = {"view_golivestate", "view_systemmetadata", "view_event"}
    assert held(OPERATORS) == seen | {"engage_kill_switch", "disable_go_live"}
    assert held(RELEASE_MANAGERS) == seen | {
        permission.removeprefix("golive.") for permission in ALL_PERMISSIONS - {OVERRIDE}
    }
