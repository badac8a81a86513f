"""The runbook: the checklist for people, which answers whatever happens to its checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from golive.domain.checklist import Severity
from golive.readiness import Finding, registry
from tests.http import endpoints
from tests.http.endpoints import describe
from tests.support.accounts import OPERATORS, make_user
from tests.support.changes import make_change
from tests.support.patience import ends_within

ITEM_SHAPE = {"id": "str", "ok": "bool", "severity": "str", "message": "str", "detail": "str"}
SECRET = "hunter2-in-the-connection-string"


@contextmanager
def _registered(run: Callable[[], Finding], *, severity: Severity = Severity.BLOCKER) -> Iterator[None]:
    """One more check, as another app would add it."""
    registry.register("added", severity=severity, message="What another app asks for")(run)
    try:
        yield
    finally:
        registry.unregister("added")


def _release() -> None:
    for name in ("complete", "release"):
        make_change(name)


def _ids(items: list[dict[str, Any]]) -> list[str]:
    return [item["id"] for item in items]


def test_runbook__after_first_deploy__names_the_blocker(client: Client) -> None:
    found = client.get(endpoints.RUNBOOK).json()

    assert list(found) == ["generated_at", "blockers", "warnings", "info", "ok_to_enable_go_live"]
    assert all(describe(item) == ITEM_SHAPE for part in ("blockers", "warnings", "info") for item in found[part])
    assert _ids(found["blockers"]) == ["backend_complete", "kill_switch_released"]
    assert _ids(found["warnings"]) == ["kill_switch_reach", "release_known"]
    assert found["ok_to_enable_go_live"] is False
    assert describe(found["generated_at"]) == "time"
    assert abs(datetime.fromisoformat(found["generated_at"]) - datetime.now(UTC)) < timedelta(minutes=1)


def test_runbook__kill_switch_engaged__blocks_enabling_and_no_release(client: Client) -> None:
    """As consumers of the system before this one know it. One releases first, so the checklist does not ask for it."""
    make_change("complete")

    engaged = client.get(endpoints.RUNBOOK).json()
    checklist = client.get(endpoints.CHECKLIST).json()
    make_change("release")
    released = client.get(endpoints.RUNBOOK).json()
    make_change("engage")

    assert (_ids(engaged["blockers"]), engaged["ok_to_enable_go_live"]) == (["kill_switch_released"], False)
    assert checklist["ok"] is True
    assert "kill_switch_released" not in checklist["required"]
    assert (released["blockers"], released["ok_to_enable_go_live"]) == ([], True)
    assert client.get(endpoints.RUNBOOK).json()["ok_to_enable_go_live"] is False


def test_runbook__each_part__holds_its_severity(client: Client) -> None:
    found = client.get(endpoints.RUNBOOK).json()

    assert {item["severity"] for item in found["blockers"]} == {"BLOCKER"}
    assert {item["severity"] for item in found["warnings"]} == {"WARN"}
    assert {item["severity"] for item in found["info"]} == {"INFO"}
    assert not any(item["ok"] for item in (*found["blockers"], *found["warnings"]))
    assert all(item["ok"] for item in found["info"])


def test_runbook__all_in_order__is_ok_with_nothing_to_say(client: Client, settings: Any) -> None:
    settings.RELEASE = "0123abc"
    make_user(groups=[OPERATORS])
    _release()

    found = client.get(endpoints.RUNBOOK).json()

    assert (found["blockers"], found["warnings"]) == ([], [])
    assert found["ok_to_enable_go_live"] is True
    assert {*client.get(endpoints.CHECKLIST).json()["required"]} <= {*_ids(found["info"])}


def test_runbook__only_warnings__is_ok(client: Client) -> None:
    _release()

    found = client.get(endpoints.RUNBOOK).json()

    assert found["warnings"]
    assert found["ok_to_enable_go_live"] is True


def test_markdown__tells_the_same_for_people(client: Client) -> None:
    response = client.get(endpoints.MARKDOWN)

    text = response.content.decode()
    assert response["Content-Type"] == "text/markdown; charset=utf-8"
    assert text.startswith("# Go-live runbook\n")
    assert "**NOT OK to enable go-live**" in text
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Blockers",
        "## Warnings",
        "## In order",
    ]
    assert "- [ ] **The backend is complete** (`backend_complete`): Mark the backend complete first." in text
    assert "- [x] **All migrations are applied** (`migrations_applied`)" in text


def test_markdown__all_in_order__says_so(client: Client) -> None:
    _release()

    text = client.get(endpoints.MARKDOWN).content.decode()

    assert "**OK to enable go-live**" in text
    assert "## Blockers\n\nNone.\n" in text


def _raise() -> Finding:
    raise RuntimeError(SECRET)


def _break_the_statement() -> Finding:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT nothing FROM nowhere")
    return Finding(True, "unreachable")


def _write() -> Finding:
    with connections["default"].cursor() as cursor:
        cursor.execute("UPDATE go_live_state SET kill_switch_engaged = false")
    return Finding(False, "A check only reads.")


def _return_nonsense() -> Any:
    return None


@pytest.mark.parametrize("run", [_raise, _break_the_statement, _return_nonsense])
def test_check_that_cannot_run__is_a_blocker_and_harms_no_other(client: Client, run: Callable[[], Finding]) -> None:
    _release()
    with _registered(run):
        response = client.get(endpoints.RUNBOOK)
        checklist = client.get(endpoints.CHECKLIST).json()

    found = response.json()
    assert response.status_code == 200
    assert _ids(found["blockers"]) == ["added"]
    assert found["ok_to_enable_go_live"] is False
    assert [name for name, check in checklist["required"].items() if not check["ok"]] == ["added"]
    assert SECRET not in response.content.decode()


def test_check_that_cannot_run__and_only_warns__does_not_block(client: Client) -> None:
    _release()
    with _registered(_raise, severity=Severity.WARN):
        found = client.get(endpoints.RUNBOOK).json()

    assert "added" in _ids(found["warnings"])
    assert found["ok_to_enable_go_live"] is True


@pytest.mark.check_limits
def test_check_that_hangs__is_a_blocker_in_time(client: Client) -> None:
    import threading

    is_over = threading.Event()
    _release()

    def hang() -> Finding:
        is_over.wait(60)
        return Finding(True, "too late")

    try:
        with _registered(hang), ends_within(3):
            response = client.get(endpoints.RUNBOOK)
    finally:
        is_over.set()

    assert response.status_code == 200
    assert _ids(response.json()["blockers"]) == ["added"]


def test_check_that_writes__changes_nothing(client: Client) -> None:
    with _registered(_write):
        client.get(endpoints.RUNBOOK)

    assert client.get(endpoints.STATE).json()["kill_switch_engaged"] is True
