from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest

from golive.domain.changes import ALL_PERMISSIONS, CHANGES, LEASE, OVERRIDE_PERMISSION, Change, Direction, can_apply
from golive.domain.checklist import Severity
from golive.domain.effects import (
    BACKEND_COMPLETE,
    REOPENED_REASON,
    Step,
    check_revision,
    is_in_effect,
    judge_backend,
    plan_steps,
    row_of,
)
from golive.domain.errors import RecordedChange, RevisionMismatchError, StateUnknownError
from golive.domain.requests import ChangeRequest, read_request
from golive.domain.rows import GO_LIVE_STATE, SYSTEM_METADATA, GoLiveRow, Rows, SystemRow
from tests.support.factories import NOW, make_go_live, make_rows, make_system

BOOLEANS = (True, False)
STATES = [
    {"enabled": enabled, "engaged": engaged, "complete": complete}
    for enabled, engaged, complete in itertools.product(BOOLEANS, repeat=3)
]
# What each change makes of a state: the rule, written a second time and in another way than the code.
WANTED: dict[str, dict[str, bool]] = {
    "engage": {"engaged": True},
    "disable": {"enabled": False},
    "reopen": {"complete": False, "engaged": True},
    "release": {"engaged": False},
    "enable": {"enabled": True},
    "complete": {"complete": True},
    "edit": {},
}
NAMES = tuple(WANTED)
TOWARD_SAFE = ("engage", "disable", "reopen")


def _nobody(row: GoLiveRow | SystemRow) -> None:
    """Who changed a row, where the record does not tell."""


def _name(state: dict[str, bool]) -> str:
    return "-".join(key for key, value in state.items() if value) or "nothing"


def _plan(name: str, rows: Rows, **request: Any) -> tuple[Step, ...]:
    asked = ChangeRequest(**{"reason": "why", **request})
    return plan_steps(CHANGES[name], rows, asked, actor="bea", now=NOW)


def _after(rows: Rows, steps: tuple[Step, ...]) -> Rows:
    for step in steps:
        if isinstance(step.after, GoLiveRow):
            rows = replace(rows, go_live=step.after)
        else:
            rows = replace(rows, system=step.after)
    return rows


def _state(rows: Rows) -> dict[str, bool]:
    assert rows.go_live is not None
    assert rows.system is not None
    return {
        "enabled": rows.go_live.go_live_enabled,
        "engaged": rows.go_live.kill_switch_engaged,
        "complete": rows.system.backend_complete,
    }


def _differences(before: GoLiveRow | SystemRow, after: GoLiveRow | SystemRow) -> set[str]:
    first, second = asdict(before), asdict(after)
    return {name for name in first if first[name] != second[name]}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("state", STATES, ids=_name)
def test_plan_steps__every_change_from_every_state__leads_where_the_rule_says(
    name: str, state: dict[str, bool]
) -> None:
    rows = make_rows(**state)

    after = _after(rows, _plan(name, rows))

    assert _state(after) == {**state, **WANTED[name]}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("state", STATES, ids=_name)
def test_plan_steps__every_change_from_every_state__touches_only_what_the_rule_says(
    name: str, state: dict[str, bool]
) -> None:
    rows = make_rows(**state)

    steps = _plan(name, rows)

    assert (steps[0].action, steps[0].subject) == (name, CHANGES[name].subject)
    switches = {"go_live_enabled", "kill_switch_engaged", "backend_complete"}
    for step in steps:
        touched = _differences(step.before, step.after)
        if not step.changed and name not in TOWARD_SAFE:
            assert step.after is step.before
            continue
        assert len(touched & switches) == step.changed
        stamps = {"revision", "updated_at"}
        if step.subject == GO_LIVE_STATE:
            stamps |= {"changed_by", "reason"}
        elif step.changed:
            stamps |= {"completed_at"}
        assert touched - switches == stamps
        assert step.after.revision == step.before.revision + 1
        assert step.after.updated_at == NOW


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("state", STATES, ids=_name)
def test_plan_steps__repeated__changes_no_switch_and_only_toward_safe_raises_the_revision(
    name: str, state: dict[str, bool]
) -> None:
    rows = make_rows(**state)
    once = _after(rows, _plan(name, rows))

    again = _plan(name, once)

    assert len(again) == 1
    assert again[0].changed is False
    assert _state(_after(once, again)) == _state(once)
    assert again[0].after.revision - again[0].before.revision == (name in TOWARD_SAFE)


@pytest.mark.parametrize("name", TOWARD_SAFE)
@pytest.mark.parametrize("state", STATES, ids=_name)
def test_plan_steps__toward_safe__never_turns_a_switch_toward_live(name: str, state: dict[str, bool]) -> None:
    rows = make_rows(**state)

    after = _state(_after(rows, _plan(name, rows)))

    assert after["enabled"] <= state["enabled"]
    assert after["engaged"] >= state["engaged"]
    assert after["complete"] <= state["complete"]


@pytest.mark.parametrize("name", ["engage", "disable", "release", "enable"])
def test_plan_steps__a_switch_changes__the_row_says_who_why_and_when(name: str) -> None:
    is_live = name in ("release", "enable")
    rows = make_rows(enabled=not is_live, engaged=is_live)

    (step,) = _plan(name, rows, reason="a reason")

    assert isinstance(step.after, GoLiveRow)
    assert (step.after.changed_by, step.after.reason, step.after.updated_at) == ("bea", "a reason", NOW)
    assert step.reason == "a reason"


@pytest.mark.parametrize("name", ["engage", "disable"])
def test_plan_steps__no_reason_given__the_old_reason_does_not_stay(name: str) -> None:
    rows = make_rows(enabled=True, engaged=False)

    (step,) = _plan(name, rows, reason="")

    assert isinstance(step.after, GoLiveRow)
    assert step.after.reason is None
    assert step.reason == ""


@pytest.mark.parametrize(("name", "rows"), [("engage", make_rows()), ("disable", make_rows())])
def test_plan_steps__a_stop_changes_nothing__the_row_says_who_why_and_when_all_the_same(name: str, rows: Rows) -> None:
    (step,) = _plan(name, rows, reason="a second opinion")

    assert rows.go_live is not None
    assert step.changed is False
    assert step.reason == "a second opinion"
    assert step.after == replace(
        rows.go_live, changed_by="bea", reason="a second opinion", updated_at=NOW, revision=rows.go_live.revision + 1
    )


def test_plan_steps__a_reopening_changes_nothing__its_row_has_another_revision() -> None:
    rows = make_rows()

    (step,) = _plan("reopen", rows, reason="still wrong")

    assert rows.system is not None
    assert step.changed is False
    assert step.after == replace(rows.system, updated_at=NOW, revision=rows.system.revision + 1)


@pytest.mark.parametrize("name", TOWARD_SAFE)
@pytest.mark.parametrize("state", STATES, ids=_name)
def test_plan_steps__any_stop__a_revision_seen_before_it_is_refused_toward_live(
    name: str, state: dict[str, bool]
) -> None:
    rows = make_rows(**state)
    seen = row_of(rows, CHANGES[name].subject).revision
    toward_live = {"engage": "release", "disable": "enable", "reopen": "complete"}[name]

    after = _after(rows, _plan(name, rows))

    request = ChangeRequest(reason="why", expected_revision=seen)
    with pytest.raises(RevisionMismatchError):
        check_revision(CHANGES[toward_live], after, request, find_change=_nobody)


@pytest.mark.parametrize("name", ["release", "enable", "complete"])
def test_plan_steps__toward_live_changes_nothing__the_row_stays_as_it_is(name: str) -> None:
    rows = make_rows(enabled=True, engaged=False, complete=True)

    (step,) = _plan(name, rows, reason="me too")

    assert step.changed is False
    assert step.after is step.before
    assert step.reason == "me too"


def test_plan_steps__a_lease_that_is_so_already__the_row_stays_as_it_is() -> None:
    rows = make_rows()

    (step,) = plan_steps(LEASE, rows, ChangeRequest(reason="", lease_ms=250), actor="bea", now=NOW)

    assert step.changed is False
    assert step.after is rows.go_live


def test_plan_steps__complete__sets_completed_at_once() -> None:
    rows = make_rows(complete=False)

    (first,) = _plan("complete", rows)
    assert isinstance(first.after, SystemRow)
    (second,) = plan_steps(
        CHANGES["complete"],
        replace(rows, system=first.after),
        ChangeRequest(reason="again", version="2.0.0"),
        actor="bea",
        now=NOW.replace(year=2027),
    )

    assert isinstance(first.after, SystemRow)
    assert isinstance(second.after, SystemRow)
    assert first.after.completed_at == NOW
    assert second.changed is True
    assert second.after.completed_at == NOW
    assert second.after.updated_at == NOW.replace(year=2027)


def test_plan_steps__reopen__clears_completed_at_and_keeps_version_and_notes() -> None:
    rows = make_rows(complete=True)

    (step,) = _plan("reopen", rows)

    assert isinstance(step.after, SystemRow)
    assert step.after.completed_at is None
    assert (step.after.version, step.after.notes) == ("1.0.0", "a note")


@pytest.mark.parametrize("enabled", BOOLEANS)
def test_plan_steps__reopen_while_released__engages_the_kill_switch_as_a_second_step(enabled: bool) -> None:
    rows = make_rows(enabled=enabled, engaged=False, complete=True)

    reopened, engaged = _plan("reopen", rows, reason="a leak")

    assert (reopened.action, reopened.subject, reopened.reason) == ("reopen", SYSTEM_METADATA, "a leak")
    assert (engaged.action, engaged.subject, engaged.reason) == ("engage", GO_LIVE_STATE, "a leak")
    assert isinstance(engaged.after, GoLiveRow)
    assert engaged.before is rows.go_live
    assert engaged.after.kill_switch_engaged is True
    assert engaged.after.go_live_enabled is enabled
    assert engaged.after.changed_by == "bea"
    assert engaged.after.reason == "a leak"


def test_plan_steps__reopen_while_released_without_a_reason__the_engagement_says_why() -> None:
    rows = make_rows(engaged=False, complete=True)

    reopened, engaged = _plan("reopen", rows, reason="")

    assert reopened.reason == ""
    assert engaged.reason == REOPENED_REASON
    assert isinstance(engaged.after, GoLiveRow)
    assert engaged.after.reason == REOPENED_REASON


def test_plan_steps__reopen_while_released_by_override__still_stops_execution() -> None:
    # The page promises it: "a released kill switch is engaged: execution stops". That the backend counts as incomplete
    # already (the release overrode the checklist) must not turn a stop into nothing.
    rows = make_rows(enabled=True, engaged=False, complete=False)

    after = _after(rows, _plan("reopen", rows))

    assert _state(after)["engaged"] is True


def test_plan_steps__reopen_with_no_row_of_go_live__reopens() -> None:
    rows = replace(make_rows(complete=True), go_live=None)

    (step,) = _plan("reopen", rows)

    assert step.changed is True


@pytest.mark.parametrize("name", NAMES)
def test_plan_steps__its_row_is_missing__state_is_unknown(name: str) -> None:
    rows = make_rows(complete=True)
    rows = replace(rows, go_live=None) if CHANGES[name].subject == GO_LIVE_STATE else replace(rows, system=None)

    with pytest.raises(StateUnknownError, match=CHANGES[name].subject) as caught:
        _plan(name, rows)

    assert caught.value.code == "STATE_UNKNOWN"


@pytest.mark.parametrize("name", ["engage", "disable", "release", "enable"])
def test_plan_steps__the_other_row_is_missing__does_not_matter(name: str) -> None:
    rows = replace(make_rows(), system=None)

    steps = _plan(name, rows)

    assert len(steps) == 1


@pytest.mark.parametrize("name", ["edit", "complete"])
@pytest.mark.parametrize(
    ("request_fields", "expected"),
    [
        ({}, ("1.0.0", "a note")),
        ({"version": "2.0.0"}, ("2.0.0", "a note")),
        ({"notes": "new"}, ("1.0.0", "new")),
        ({"notes": ""}, ("1.0.0", None)),
        ({"version": "2.0.0", "notes": "new"}, ("2.0.0", "new")),
        ({"version": "1.0.0", "notes": "a note"}, ("1.0.0", "a note")),
    ],
)
def test_plan_steps__version_and_notes__left_out_keeps_and_empty_notes_clear(
    name: str, request_fields: dict[str, str], expected: tuple[str, str | None]
) -> None:
    rows = make_rows(complete=True)

    (step,) = _plan(name, rows, **request_fields)

    assert isinstance(step.after, SystemRow)
    assert (step.after.version, step.after.notes) == expected
    assert step.changed is (expected != ("1.0.0", "a note"))
    assert step.after.completed_at == rows.system.completed_at if rows.system else False


@pytest.mark.parametrize("complete", BOOLEANS)
def test_plan_steps__edit__never_touches_completeness(complete: bool) -> None:
    rows = make_rows(complete=complete)

    (step,) = _plan("edit", rows, version="9", notes="x")

    assert _differences(step.before, step.after) == {"version", "notes", "revision", "updated_at"}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("edit", "complete")])
def test_plan_steps__version_and_notes_with_another_change__are_not_taken(name: str) -> None:
    rows = make_rows(enabled=True, engaged=False, complete=True)

    after = _after(rows, _plan(name, rows, version="9", notes="x"))

    assert after.system is not None
    assert (after.system.version, after.system.notes) == ("1.0.0", "a note")


# -- revision ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_check_revision__expected_by_the_requester__is_honoured_but_toward_safe(name: str, offset: int) -> None:
    change, rows = CHANGES[name], make_rows()
    current = row_of(rows, change.subject)
    request = ChangeRequest(reason="why", expected_revision=current.revision + offset)

    if change.direction is Direction.SAFE or offset == 0:
        check_revision(change, rows, request, find_change=_fail)
        return
    with pytest.raises(RevisionMismatchError) as caught:
        check_revision(change, rows, request, find_change=lambda row: RecordedChange("ann", NOW, "engage", "a fire"))

    assert caught.value.code == "REVISION_MISMATCH"
    assert caught.value.current == current
    assert caught.value.expected == current.revision + offset
    error = caught.value
    assert (error.changed_by, error.changed_at, error.change, error.reason) == ("ann", NOW, "engage", "a fire")
    told = ("ann", "engage", "a fire", "2026-05-06T07:08:09+00:00")
    assert all(word in error.detail for word in (*told, str(current.revision)))
    assert str(current.revision) in error.public_detail
    assert not any(word in error.public_detail for word in told)


def _fail(row: GoLiveRow | SystemRow) -> None:
    raise AssertionError("nobody has to be told")


def test_check_revision__nobody_knows_who__says_that_it_was_changed() -> None:
    with pytest.raises(RevisionMismatchError) as caught:
        check_revision(
            CHANGES["release"], make_rows(), ChangeRequest(reason="", expected_revision=1), find_change=_nobody
        )

    assert caught.value.detail == "Changed since you looked: revision 7, not 1. Look again first."
    assert (caught.value.changed_by, caught.value.changed_at, caught.value.change) == (None, None, None)


@pytest.mark.parametrize("name", NAMES)
def test_check_revision__none_expected__asks_nothing(name: str) -> None:
    check_revision(CHANGES[name], Rows(go_live=None, system=None), ChangeRequest(reason=""), find_change=_fail)


@pytest.mark.parametrize("name", TOWARD_SAFE)
def test_check_revision__toward_safe_with_no_row__asks_nothing(name: str) -> None:
    request = ChangeRequest(reason="", expected_revision=99)

    check_revision(CHANGES[name], Rows(go_live=None, system=None), request, find_change=_fail)


# -- what the rows alone can tell --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "ok"),
    [
        (None, False),
        (make_system(), False),
        (make_system(backend_complete=True), True),
        (make_system(backend_complete=1), False),
        (make_system(backend_complete="true"), False),
    ],
)
def test_judge_backend__each_row__holds_only_if_complete_is_true(row: SystemRow | None, ok: bool) -> None:
    result = judge_backend(row)

    assert (result.id, result.ok, result.severity) == ("backend_complete", ok, Severity.BLOCKER)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "edit"])
@pytest.mark.parametrize("state", STATES, ids=_name)
def test_is_in_effect__every_change_in_every_state__agrees_with_what_the_change_would_do(
    name: str, state: dict[str, bool]
) -> None:
    rows = make_rows(**state)

    first_step = _plan(name, rows)[0]

    assert is_in_effect(CHANGES[name], row_of(rows, CHANGES[name].subject)) is not first_step.changed


def test_is_in_effect__edit__never() -> None:
    assert is_in_effect(CHANGES["edit"], make_system()) is False


# -- every state x every change x every permission ---------------------------------------------------------------------


def _decide_request(change: Change, rows: Rows, held: frozenset[str], override: bool) -> str:
    """What `golive.controls.apply` asks, in its order, with a checklist that consists of the backend alone."""
    fields = {"reason": "why", "override": [BACKEND_COMPLETE] if override else []}
    request = read_request(change, fields, checks=[BACKEND_COMPLETE])
    if not can_apply(change, held, override=bool(request.override)):
        return "refused"
    if change.is_guarded and not judge_backend(rows.system).ok and not request.override:
        return "refused"
    return _name(_state(_after(rows, plan_steps(change, rows, request, actor="bea", now=NOW))))


def _subsets_that_matter(change: Change) -> Iterator[frozenset[str]]:
    """With and without its own permission, with and without override, with none and with all of the others."""
    others = ALL_PERMISSIONS - {change.permission, OVERRIDE_PERMISSION}
    for own, override, rest in itertools.product(
        (frozenset(), {change.permission}), (frozenset(), {OVERRIDE_PERMISSION}), (frozenset(), others)
    ):
        yield frozenset(own) | frozenset(override) | frozenset(rest)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("state", STATES, ids=_name)
def test_request__every_state_change_and_permission__does_what_the_rules_say(name: str, state: dict[str, bool]) -> None:
    change = CHANGES[name]

    for held in _subsets_that_matter(change):
        for override in BOOLEANS:
            asks_override = override and name in ("release", "enable")
            is_permitted = change.permission in held and (not asks_override or "golive.override_checklist" in held)
            is_guarded = name in ("release", "enable") and not state["complete"] and not override
            expected = _name({**state, **WANTED[name]}) if is_permitted and not is_guarded else "refused"

            assert _decide_request(change, make_rows(**state), held, override) == expected


def test_row_of__each_subject__is_its_row() -> None:
    rows = Rows(go_live=make_go_live(), system=make_system())

    assert row_of(rows, GO_LIVE_STATE) is rows.go_live
    assert row_of(rows, SYSTEM_METADATA) is rows.system
