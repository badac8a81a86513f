"""Who may do what: every identity at every endpoint, in both ways of setting up the service."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client

from golive.api.ofrep import FLAGS_PATH
from golive.api.openapi.document import make_document
from golive.domain.changes import ALL_PERMISSIONS, CHANGES
from golive.domain.scopes import SCOPES
from golive.gate import GATES
from golive.models import Event
from tests.api.callers import (
    ALERTMANAGER,
    BAD_TOKEN,
    bearer,
    make_expired_token,
    make_revoked_token,
    make_token,
    sign_in,
)
from tests.api.contract import find_template
from tests.support.accounts import make_user
from tests.support.changes import make_change

HISTORY = "/api/governance/go-live/history"
READS = (
    "/api/status",
    "/api/system/status",
    "/api/governance/go-live/state",
    "/api/governance/go-live/checklist",
    HISTORY,
    "/api/governance/runbook/status",
    "/api/governance/runbook/markdown",
)
# Read by POST.
FLAGS = (f"{FLAGS_PATH}/execution-allowed", FLAGS_PATH)
OPEN = ("/health", "/healthz", "/livez", "/readyz", "/", "/api/docs", "/api/openapi.json")
CHANGING = {f"{change.method} {change.path}": change.permission for change in CHANGES.values()}
WRITES = {**CHANGING, f"POST {ALERTMANAGER}": "golive.engage_kill_switch"}


@dataclass(frozen=True)
class Identity:
    """`holds`: the permissions, None for somebody who is nobody here. `is_bad`: shows credentials that are none."""

    headers: Callable[[Client], dict[str, str]]
    holds: frozenset[str] | None = None
    is_bad: bool = False
    is_reader: bool = False
    has_csrf: bool = True


def _token(*scopes: str) -> Identity:
    held = frozenset(SCOPES[scope] for scope in scopes)
    return Identity(lambda client: bearer(make_token(*scopes)), held, is_reader="read" in scopes)


def _person(*permissions: str, is_active: bool = True, has_csrf: bool = True) -> Identity:
    def headers(client: Client) -> dict[str, str]:
        user = make_user(permissions=permissions)
        csrf = sign_in(user, client)
        if not is_active:
            type(user).objects.filter(pk=user.pk).update(is_active=False)
        return {"X-CSRFToken": csrf} if has_csrf else {}

    held = frozenset(permissions) if is_active else None
    return Identity(headers, held, is_reader=is_active, has_csrf=has_csrf)


def _bad(make: Callable[[], str]) -> Identity:
    return Identity(lambda client: bearer(make()), is_bad=True)


IDENTITIES: dict[str, Identity] = {
    "nobody": Identity(lambda client: {}),
    "unknown token": _bad(lambda: BAD_TOKEN),
    "wrong secret": _bad(lambda: make_token()[:-43] + "z" * 43),
    "malformed token": _bad(lambda: "vgl_x"),
    "empty token": _bad(lambda: ""),
    "expired token": _bad(make_expired_token),
    "revoked token": _bad(make_revoked_token),
    "another scheme": Identity(lambda client: {"Authorization": f"Basic {make_token()}"}),
    **{f"scope {scope}": _token(scope) for scope in SCOPES},
    "all scopes": _token(*SCOPES),
    "person": _person(),
    "person with permissions": _person(*sorted(ALL_PERMISSIONS)),
    "person without CSRF": _person(*sorted(ALL_PERMISSIONS), has_csrf=False),
    "person gone inactive": _person(*sorted(ALL_PERMISSIONS), is_active=False),
}


def ask(client: Client, method: str, path: str, headers: dict[str, str]) -> Any:
    fields = {"reason": "Signed off"}
    if path == ALERTMANAGER:
        fields = {"status": "firing", "alerts": []}  # type: ignore[dict-item]
    content = b"" if method == "GET" else json.dumps(fields).encode()
    return client.generic(method, path, data=content, content_type="application/json", headers=headers)


def expect_write(identity: Identity, permission: str) -> int:
    if identity.is_bad or identity.holds is None:
        return 401
    return 200 if identity.has_csrf and permission in identity.holds else 403


def expect_read(identity: Identity, *, is_closed: bool) -> int:
    if identity.is_bad:
        return 401
    if not is_closed or identity.is_reader:
        return 200
    return 401 if identity.holds is None else 403


@pytest.mark.parametrize("endpoint", WRITES)
@pytest.mark.parametrize("name", IDENTITIES)
def test_write__is_for_those_who_may(client: Client, name: str, endpoint: str) -> None:
    make_change("complete")
    method, path = endpoint.split()
    headers = IDENTITIES[name].headers(client)
    count = Event.objects.count()

    response = ask(client, method, path, headers)

    assert response.status_code == expect_write(IDENTITIES[name], WRITES[endpoint]), response.content
    if response.status_code == 200:
        assert Event.objects.count() > count
    else:
        assert Event.objects.count() == count
        assert ("WWW-Authenticate" in response) == (response.status_code == 401)


@pytest.mark.parametrize("is_closed", [False, True], ids=["open", "closed"])
@pytest.mark.parametrize("name", IDENTITIES)
def test_reads__are_for_those_who_may(client: Client, settings: Any, name: str, is_closed: bool) -> None:
    """The history is closed in production either way: it has names and reasons."""
    settings.GOLIVE_READ_TOKEN_REQUIRED = is_closed
    settings.GOLIVE_PUBLIC_DETAILS = False
    identity = IDENTITIES[name]
    headers = identity.headers(client)

    answers = {path: ask(client, "GET", path, headers).status_code for path in READS}
    answers |= {path: ask(client, "POST", path, headers).status_code for path in FLAGS}

    assert answers == {path: expect_read(identity, is_closed=is_closed or path == HISTORY) for path in (*READS, *FLAGS)}


@pytest.mark.parametrize("is_closed", [False, True], ids=["open", "closed"])
@pytest.mark.parametrize("name", [name for name in IDENTITIES if "token" in name or "scope" in name])
def test_api_key__is_a_token_where_flags_are_read_and_nothing_elsewhere(
    client: Client, settings: Any, name: str, is_closed: bool
) -> None:
    settings.GOLIVE_READ_TOKEN_REQUIRED = is_closed
    settings.GOLIVE_PUBLIC_DETAILS = False
    token = IDENTITIES[name].headers(client)["Authorization"].removeprefix("Bearer ")
    headers = {"X-API-Key": token}

    flags = {path: ask(client, "POST", path, headers).status_code for path in FLAGS}
    reads = {path: ask(client, "GET", path, headers).status_code for path in READS}
    writes = {path: ask(client, method, path, headers).status_code for method, path in map(str.split, WRITES)}

    assert flags == dict.fromkeys(FLAGS, expect_read(IDENTITIES[name], is_closed=is_closed))
    nobody = IDENTITIES["nobody"]
    assert reads == {path: expect_read(nobody, is_closed=is_closed or path == HISTORY) for path in READS}
    assert set(writes.values()) == {401}


@pytest.mark.parametrize("name", IDENTITIES)
def test_details__are_for_readers(client: Client, settings: Any, name: str) -> None:
    settings.GOLIVE_PUBLIC_DETAILS = False
    make_change("complete")
    make_change("release", actor="ann", reason="A secret plan")
    headers = IDENTITIES[name].headers(client)

    response = ask(client, "GET", "/api/status", headers)

    if response.status_code == 200:
        shown = response.json()["go_live"]
        is_shown = IDENTITIES[name].is_reader
        assert (shown["changed_by"], shown["reason"]) == (("ann", "A secret plan") if is_shown else (None, None))
    else:
        assert b"ann" not in response.content


@pytest.mark.parametrize("name", IDENTITIES)
def test_open__asks_nobody(client: Client, settings: Any, name: str) -> None:
    settings.GOLIVE_READ_TOKEN_REQUIRED = True
    headers = IDENTITIES[name].headers(client)

    assert {path: ask(client, "GET", path, headers).status_code for path in OPEN} == dict.fromkeys(OPEN, 200)


def test_matrix__names_every_documented_operation() -> None:
    documented = {
        f"{method.upper()} {path}"
        for path, methods in make_document()["paths"].items()
        for method in methods
        if path.lstrip("/") not in GATES
    }

    flags = {f"POST {find_template(path)}" for path in FLAGS}
    assert documented == {f"GET {path}" for path in (*READS, *OPEN)} | flags | set(WRITES)
