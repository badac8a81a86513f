"""The guard of changes toward live, and what happens when a row or a table is not there."""

from __future__ import annotations

import pytest

from golive.domain.changes import OVERRIDE_PERMISSION
from golive.domain.checklist import Checklist, Severity
from golive.domain.decision import decide
from golive.domain.errors import (
    ChecklistFailedError,
    InvalidRequestError,
    NotAppliedError,
    PermissionRequiredError,
    StateUnknownError,
)
from golive.domain.rows import GO_LIVE_STATE, SYSTEM_METADATA
from golive.readiness import Finding, registry, runner
from golive.state import singletons
from tests.support.changes import (
    NAMES,
    TOWARD_SAFE,
    apply,
    apply_effectively,
    check_sound,
    events,
    fake_checklist,
    go_live,
    newest,
    prepare,
    snapshot,
)
from tests.support.factories import make_actor, make_result
from tests.support.faults import renamed_table, run_sql

pytestmark = pytest.mark.usefixtures("database")

# -- the guard ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["release", "enable"])
def test_apply_change__checklist_fails__is_refused_with_the_items_and_nothing_written(name: str) -> None:
    before = snapshot()

    with pytest.raises(ChecklistFailedError) as caught:
        apply(name)

    assert [result.id for result in caught.value.failed] == ["backend_complete"]
    assert snapshot() == before


@pytest.mark.parametrize("name", ["release", "enable"])
def test_apply_change__another_check_fails__is_refused_with_it_and_nothing_written(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of this one the rows say nothing: it is not asked again under the lock.
    apply("complete")
    fake_checklist(monkeypatch, make_result("backend_complete"), make_result("payments", ok=False))
    before = snapshot()

    with pytest.raises(ChecklistFailedError) as caught:
        apply(name)

    assert [result.id for result in caught.value.failed] == ["payments"]
    assert snapshot() == before


@pytest.mark.parametrize("name", ["release", "enable"])
def test_apply_change__overridden__is_made_and_keeps_the_failed_items(name: str) -> None:
    acknowledged = apply(name, reason="the board decided", override=["backend_complete"])

    assert acknowledged.changed is True
    assert newest().override is True
    assert newest().failed_checks == [{"id": "backend_complete", "detail": "Mark the backend complete first."}]
    assert newest().reason == "the board decided"
    check_sound()


def test_apply_change__overridden__keeps_every_failed_item(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_checklist(
        monkeypatch,
        make_result("environment", ok=False),
        make_result("migration_graph"),
        make_result("events_intact", ok=False),
    )

    apply("enable", override=["events_intact", "migration_graph", "environment", "backend_complete"])

    assert newest().failed_checks == [
        {"id": "backend_complete", "detail": "Mark the backend complete first."},
        {"id": "environment", "detail": "What environment found"},
        {"id": "events_intact", "detail": "What events_intact found"},
    ]


@pytest.mark.parametrize("name", ["release", "enable"])
def test_apply_change__more_fails_than_the_override_names__is_refused_with_the_rest(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody consents to what began to fail after they looked."""
    apply("complete")
    fake_checklist(monkeypatch, make_result("environment", ok=False), make_result("events_intact", ok=False))
    before = snapshot()

    with pytest.raises(ChecklistFailedError) as caught:
        apply(name, override=["environment"])

    assert [result.id for result in caught.value.failed] == ["events_intact"]
    assert "events_intact" in caught.value.detail
    assert snapshot() == before


@pytest.mark.parametrize("name", ["release", "enable"])
def test_apply_change__backend_reopened_after_the_checklist__an_override_of_something_else_does_not_pass_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_checklist(monkeypatch, make_result("backend_complete"), make_result("environment", ok=False))
    before = snapshot()

    with pytest.raises(ChecklistFailedError) as caught:
        apply(name, override=["environment"])

    assert [result.id for result in caught.value.failed] == ["backend_complete"]
    assert snapshot() == before


@pytest.mark.parametrize("name", ["release", "enable"])
@pytest.mark.parametrize(
    "override", [True, "*", ["*"], "backend_complete", ["no_such_check"], ["execution"], ["release_known"], [1], {}]
)
def test_apply_change__override_that_names_no_required_check__is_refused_and_nothing_written(
    name: str, override: object
) -> None:
    """Neither what is in the runbook only, nor what only warns, can be passed: it stops nobody."""
    before = snapshot()

    with pytest.raises(InvalidRequestError) as caught:
        apply(name, override=override)

    assert [error.field for error in caught.value.errors] == ["override"]
    assert "backend_complete" in caught.value.errors[0].message
    assert snapshot() == before


@pytest.mark.parametrize("override", [None, False, []])
def test_apply_change__override_of_nothing__asks_for_no_permission_and_passes_nothing(override: object) -> None:
    with pytest.raises(ChecklistFailedError):
        apply("release", actor=make_actor(without=OVERRIDE_PERMISSION), override=override)


def test_apply_change__no_check_is_required__is_refused_whatever_is_overridden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    apply("complete")
    fake_checklist(monkeypatch)

    with pytest.raises(ChecklistFailedError) as caught:
        apply("release", override=["backend_complete"])

    assert "no required check" in caught.value.detail


def test_apply_change__a_check_of_another_app__can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    registry.register("payments", severity=Severity.BLOCKER, message="Payments")(lambda: Finding(False, "No key."))
    try:
        apply("release", override=["payments", "backend_complete"])
    finally:
        registry.unregister("payments")

    assert {"id": "payments", "detail": "No key."} in (newest().failed_checks or [])


def test_apply_change__overridden_with_all_well__is_no_override() -> None:
    apply("complete")

    apply("release", override=["backend_complete"])

    assert newest().override is False
    assert newest().failed_checks is None


@pytest.mark.parametrize("name", ["release", "enable"])
@pytest.mark.parametrize("is_complete", [True, False])
def test_apply_change__override_without_its_permission__is_refused_and_nothing_written(
    name: str, is_complete: bool
) -> None:
    if is_complete:
        apply("complete")
    before = snapshot()

    with pytest.raises(PermissionRequiredError) as caught:
        apply(name, actor=make_actor(without=OVERRIDE_PERMISSION), override=["backend_complete"])

    assert caught.value.permission == OVERRIDE_PERMISSION
    assert snapshot() == before


@pytest.mark.parametrize("name", ["release", "enable"])
def test_apply_change__override_without_a_reason__is_refused(name: str) -> None:
    with pytest.raises(InvalidRequestError):
        apply(name, reason="", override=["backend_complete"])


@pytest.mark.parametrize("name", ["release", "enable"])
def test_apply_change__backend_reopened_after_the_checklist__is_refused_under_the_lock(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_checklist(monkeypatch, make_result("backend_complete"), make_result("other"))
    before = snapshot()

    with pytest.raises(ChecklistFailedError) as caught:
        apply(name)

    assert [result.id for result in caught.value.failed] == ["backend_complete"]
    assert snapshot() == before


def test_apply_change__backend_completed_after_the_checklist__an_override_does_not_claim_that_it_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    apply("complete")
    fake_checklist(monkeypatch, make_result("backend_complete", ok=False), make_result("environment", ok=False))

    apply("release", override=["backend_complete", "environment"])

    assert [item["id"] for item in newest().failed_checks or ()] == ["environment"]


@pytest.mark.parametrize("name", NAMES)
def test_apply_change__each_change__runs_the_checklist_only_where_there_is_a_guard_and_before_any_lock(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(name)
    runs = fake_checklist(monkeypatch, make_result("backend_complete"))

    apply_effectively(name)

    assert runs == ([False] if name in ("release", "enable") else [])


@pytest.mark.parametrize("name", TOWARD_SAFE)
def test_apply_change__toward_safe_with_a_broken_checklist__is_made(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    go_live()

    def fail() -> Checklist:
        raise AssertionError("a stop waits for no checklist")

    monkeypatch.setattr(runner, "run_checklist", fail)

    assert apply(name).changed is True


def test_apply_change__reopen_while_released__engages_in_the_same_transaction() -> None:
    go_live()

    acknowledged = apply("reopen", actor=make_actor("bea"), reason="a leak")

    reopened, engaged = events()[-2:]
    assert (reopened.action, reopened.subject) == ("reopen", SYSTEM_METADATA)
    assert (engaged.action, engaged.subject) == ("engage", GO_LIVE_STATE)
    assert {event.actor for event in (reopened, engaged)} == {"bea"}
    assert reopened.at == engaged.at
    assert acknowledged.sequence == engaged.sequence
    assert singletons.read_go_live().kill_switch_engaged is True
    assert singletons.read_system().backend_complete is False
    check_sound()


def test_apply_change__reopen_after_a_release_by_override__stops_execution() -> None:
    apply("release", override=["backend_complete"])
    apply("enable", override=["backend_complete"])
    assert decide(singletons.read_go_live()).allowed is True

    apply("reopen")

    assert decide(singletons.read_go_live()).allowed is False
    check_sound()


# -- missing rows and tables -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*TOWARD_SAFE, "complete", "edit"])
def test_apply_change__no_row_of_go_live__is_unknown_and_nothing_written(name: str) -> None:
    run_sql("DELETE FROM go_live_state")
    before = snapshot()

    with pytest.raises(StateUnknownError, match=GO_LIVE_STATE):
        apply_effectively(name)

    assert snapshot() == before


@pytest.mark.parametrize("name", ["release", "enable"])
@pytest.mark.parametrize("override", [[], ["backend_complete"]])
@pytest.mark.parametrize("table", [GO_LIVE_STATE, SYSTEM_METADATA])
def test_apply_change__no_row_toward_live__is_unknown_and_nothing_written(
    name: str, override: list[str], table: str
) -> None:
    apply("complete")
    run_sql(f"DELETE FROM {table}")
    before = snapshot()

    with pytest.raises(StateUnknownError, match=table):
        apply(name, override=override)

    assert snapshot() == before


@pytest.mark.parametrize("name", ["reopen", "complete", "edit"])
def test_apply_change__no_row_of_system_metadata__is_unknown_and_nothing_written(name: str) -> None:
    run_sql("DELETE FROM system_metadata")
    before = snapshot()

    with pytest.raises(StateUnknownError, match=SYSTEM_METADATA):
        apply_effectively(name)

    assert snapshot() == before


@pytest.mark.parametrize("name", ["engage", "disable"])
def test_apply_change__no_row_of_system_metadata__a_stop_is_made(name: str) -> None:
    go_live()
    run_sql("DELETE FROM system_metadata")

    assert apply(name).changed is True
    assert decide(singletons.read_go_live()).allowed is False


@pytest.mark.parametrize("name", ["engage", "disable"])
def test_apply_change__no_table_system_metadata__a_stop_is_made(name: str) -> None:
    go_live()

    with renamed_table(SYSTEM_METADATA):
        assert apply(name).changed is True
        assert decide(singletons.read_go_live()).allowed is False

    check_sound()


@pytest.mark.parametrize("table", ["golive_event", "go_live_state"])
def test_apply_change__no_other_table__is_not_applied(table: str) -> None:
    go_live()
    with renamed_table(table), pytest.raises(NotAppliedError):
        apply("engage")

    assert singletons.read_go_live().kill_switch_engaged is False
    check_sound()
