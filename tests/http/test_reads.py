"""The read endpoints: what each answers, key by key, and what a consumer sees as the state changes."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests.http import endpoints
from tests.http.endpoints import describe
from tests.support.changes import go_live, make_change

SYSTEM_SHAPE = {
    "version": "str",
    "backend_complete": "bool",
    "notes": "str",
    "updated_at": "time",
    "completed_at": "time",
    "revision": "int",
}
GO_LIVE_SHAPE = {
    "go_live_enabled": "bool",
    "kill_switch_engaged": "bool",
    "changed_by": "str",
    "reason": "str",
    "updated_at": "time",
    "revision": "int",
    "event_head": "str",
    "lease_ms": "int",
    "execution_allowed": "bool",
    "code": "str",
}
CHECK_SHAPE = {"ok": "bool", "detail": "str"}
REQUIRED = (
    "backend_complete",
    "migrations_applied",
    "migration_graph",
    "environment",
    "events_intact",
    "stop_possible",
)


def _get(client: Client, path: str) -> Any:
    response = client.get(path)
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    return response.json()


def test_system_status__after_changes__has_every_key_and_type(client: Client) -> None:
    make_change("complete", version="2.4.0", notes="Ready.\nReally.")

    found = _get(client, endpoints.SYSTEM)

    assert describe(found) == SYSTEM_SHAPE
    assert list(found) == list(SYSTEM_SHAPE)
    assert (found["version"], found["notes"], found["revision"]) == ("2.4.0", "Ready.\nReally.", 2)
    assert found["updated_at"] == found["completed_at"]


def test_system_status__after_first_deploy__has_safe_defaults(client: Client) -> None:
    assert _get(client, endpoints.SYSTEM) == {
        "version": "1.0.0",
        "backend_complete": False,
        "notes": None,
        "updated_at": None,
        "completed_at": None,
        "revision": 1,
    }


def test_state__after_changes__has_every_key_and_type(client: Client) -> None:
    make_change("engage", reason="To be sure.", actor="ann")
    make_change("complete")
    make_change("release", reason="Tested.", actor="li")

    found = _get(client, endpoints.STATE)

    assert describe(found) == GO_LIVE_SHAPE
    assert list(found) == list(GO_LIVE_SHAPE)
    assert (found["changed_by"], found["reason"], found["revision"]) == ("li", "Tested.", 3)
    assert (found["execution_allowed"], found["code"]) == (False, "GO_LIVE_DISABLED")


def test_state__after_first_deploy__has_safe_defaults(client: Client) -> None:
    found = _get(client, endpoints.STATE)

    assert len(found.pop("event_head")) == 64
    assert found == {
        "go_live_enabled": False,
        "kill_switch_engaged": True,
        "changed_by": None,
        "reason": None,
        "updated_at": None,
        "revision": 1,
        "lease_ms": 250,
        "execution_allowed": False,
        "code": "KILL_SWITCH_ENGAGED",
    }


def test_status__after_changes__joins_both_rows_and_the_decision(client: Client, settings: Any) -> None:
    settings.RELEASE = "0123abc"
    go_live()

    found = _get(client, endpoints.STATUS)

    assert list(found) == ["system", "go_live", "execution", "release", "environment"]
    assert found["system"] == _get(client, endpoints.SYSTEM)
    assert found["go_live"] == _get(client, endpoints.STATE)
    assert found["execution"] == {"allowed": True, "code": "ALLOWED", "message": "Execution is allowed."}
    assert found["release"] == "0123abc"


def test_status__release_unknown__is_null(client: Client) -> None:
    assert _get(client, endpoints.STATUS)["release"] is None


def test_decision__as_changes_are_made__is_the_same_on_state_and_status(client: Client) -> None:
    seen = []
    for name in ("complete", "release", "enable", "engage", "disable", "release", "enable", "reopen"):
        make_change(name)
        state, status = _get(client, endpoints.STATE), _get(client, endpoints.STATUS)
        assert status["execution"]["allowed"] is state["execution_allowed"]
        assert status["execution"]["code"] == state["code"]
        seen.append((name, state["execution_allowed"], state["code"]))

    assert seen == [
        ("complete", False, "KILL_SWITCH_ENGAGED"),
        ("release", False, "GO_LIVE_DISABLED"),
        ("enable", True, "ALLOWED"),
        ("engage", False, "KILL_SWITCH_ENGAGED"),
        ("disable", False, "KILL_SWITCH_ENGAGED"),
        ("release", False, "GO_LIVE_DISABLED"),
        ("enable", True, "ALLOWED"),
        ("reopen", False, "KILL_SWITCH_ENGAGED"),
    ]


def test_checklist__incomplete_backend__names_what_fails(client: Client) -> None:
    found = _get(client, endpoints.CHECKLIST)

    assert list(found) == ["ok", "required", "warnings"]
    assert found["ok"] is False
    assert tuple(found["required"]) == REQUIRED
    assert all(describe(check) == CHECK_SHAPE for part in ("required", "warnings") for check in found[part].values())
    assert [name for name, check in found["required"].items() if not check["ok"]] == ["backend_complete"]
    assert "complete" in found["required"]["backend_complete"]["detail"]


def test_checklist__failing_warning__holds_all_the_same(client: Client) -> None:
    make_change("complete")

    found = _get(client, endpoints.CHECKLIST)

    # Nobody is in the group Operators, and the release is not known: both are warnings.
    assert [name for name, check in found["warnings"].items() if not check["ok"]] == [
        "kill_switch_reach",
        "release_known",
    ]
    assert found["ok"] is True
    assert all(check["ok"] for check in found["required"].values())


def test_checklist__row_changed_behind_the_controls__fails(client: Client) -> None:
    make_change("complete")
    endpoints.execute("UPDATE go_live_state SET go_live_enabled = true WHERE id = 1")

    found = _get(client, endpoints.CHECKLIST)

    assert found["ok"] is False
    assert [name for name, check in found["required"].items() if not check["ok"]] == ["events_intact"]
    assert "go_live_enabled" in found["required"]["events_intact"]["detail"]


def test_readiness__all_in_order__is_200_with_each_check(client: Client, settings: Any) -> None:
    settings.RELEASE = "0123abc"

    found = _get(client, endpoints.READINESS)

    assert describe(found) == {
        "ok": "bool",
        "checks": {
            "database": CHECK_SHAPE,
            "singleton_rows": CHECK_SHAPE,
            "migrations_applied": CHECK_SHAPE,
            "stop_possible": CHECK_SHAPE,
        },
        "release": "str",
        "environment": "str",
    }
    assert found["ok"] is True
    assert found["release"] == "0123abc"


@pytest.mark.parametrize("path", endpoints.LIVENESS)
def test_liveness__is_ok(client: Client, path: str) -> None:
    assert _get(client, path) == {"status": "ok"}


def test_text__beyond_ascii__is_utf_8(client: Client) -> None:
    go_live()
    make_change("engage", reason="Störung: 停止 🛑", actor="Jörg")

    response = client.get(endpoints.STATE)

    assert "Störung: 停止 🛑" in response.content.decode("utf-8")
    assert response.json()["changed_by"] == "Jörg"


@pytest.mark.parametrize("path", endpoints.ALL)
def test_read__again_and_again__changes_nothing(client: Client, path: str) -> None:
    before = client.get(endpoints.STATUS).content, client.get(endpoints.HISTORY).content

    for _ in range(3):
        client.get(path)

    assert (client.get(endpoints.STATUS).content, client.get(endpoints.HISTORY).content) == before
