"""What an event says was done agrees with what it says of the row, or it is no event of ours."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive import verify_record
from golive.domain.changes import CHANGES, LEASE, Change
from golive.domain.effects import plan_steps
from golive.domain.requests import ChangeRequest
from golive.domain.rows import GO_LIVE_STATE, SYSTEM_METADATA, GoLiveRow, Rows, SystemRow, record_of
from golive.domain.sense import find_contradictions
from tests.support.factories import NOW, make_go_live, make_system

Event = dict[str, Any]
TABLE = (*CHANGES.values(), LEASE)
TOWARD_SAFE = ("engage", "disable", "reopen")


def make_event(subject: str, action: str, before: Any, after: Any, **values: Any) -> Event:
    return {
        "subject": subject,
        "action": action,
        "before": before,
        "after": after,
        "changed": before != after,
        "override": False,
        "failed_checks": None,
        "hash_version": 2,
        "salt": "0123456789abcdef" * 2,
        **values,
    }


def make_change_event(name: str, before: GoLiveRow | SystemRow, after: GoLiveRow | SystemRow, **values: Any) -> Event:
    subject = GO_LIVE_STATE if isinstance(before, GoLiveRow) else SYSTEM_METADATA
    return make_event(subject, name, record_of(before), record_of(after), **values)


# -- what the table of changes writes makes sense ----------------------------------------------------------------------

moments = st.none() | st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)).map(  # noqa: DTZ001
    lambda moment: moment.replace(tzinfo=NOW.tzinfo)
)
go_live_rows = st.builds(
    GoLiveRow,
    go_live_enabled=st.booleans(),
    kill_switch_engaged=st.booleans(),
    changed_by=st.none() | st.text(max_size=5),
    reason=st.none() | st.text(max_size=5),
    updated_at=moments,
    revision=st.integers(1, 9),
    lease_ms=st.integers(0, 5000),
    event_head=st.none(),
)
# `completed_at` of an adopted row may be anything.
system_rows = st.builds(
    SystemRow,
    version=st.text(max_size=3),
    backend_complete=st.booleans(),
    notes=st.none() | st.text(max_size=3),
    updated_at=moments,
    completed_at=moments,
    revision=st.integers(1, 9),
)
requests = st.builds(
    ChangeRequest,
    reason=st.text(max_size=5),
    version=st.none() | st.text(max_size=3),
    notes=st.none() | st.text(max_size=3),
    lease_ms=st.integers(0, 5000),
)


@given(st.sampled_from(TABLE), go_live_rows, system_rows, requests)
def test_change__whatever_the_rows_are__makes_sense(
    change: Change, go_live: GoLiveRow, system: SystemRow, request: ChangeRequest
) -> None:
    # An adopted row may be completed without a time; no change of ours leaves another one incomplete with a time.
    system = replace(system, completed_at=system.completed_at if system.backend_complete else None)

    for step in plan_steps(change, Rows(go_live=go_live, system=system), request, actor="bea", now=NOW):
        event = make_change_event(step.action, step.before, step.after, changed=step.changed)
        assert find_contradictions(event) == ()


@pytest.mark.parametrize(
    ("name", "row"),
    [("engage", make_go_live()), ("disable", make_go_live()), ("reopen", make_system(backend_complete=False))],
)
@pytest.mark.parametrize("is_raised", [True, False])
def test_stop_that_changed_nothing__its_revision_raised_or_not__makes_sense(
    name: str, row: GoLiveRow | SystemRow, is_raised: bool
) -> None:
    after = row
    if is_raised:
        after = replace(row, revision=row.revision + 1, updated_at=NOW)
    if is_raised and isinstance(after, GoLiveRow):
        after = replace(after, changed_by="second", reason="me too")

    assert find_contradictions(make_change_event(name, row, after, changed=False)) == ()


@pytest.mark.parametrize("action", ["drift", "reconcile"])
def test_what_somebody_else_did__anything__makes_sense(action: str) -> None:
    before, after = record_of(make_go_live()), record_of(make_go_live(kill_switch_engaged=False, revision=1))

    assert find_contradictions(make_event(GO_LIVE_STATE, action, before, after)) == ()
    assert find_contradictions(make_event(GO_LIVE_STATE, action, None, after)) == ()


@pytest.mark.parametrize(
    "event",
    [
        make_event("deploy", "migrate", None, {"applied": []}),
        make_event("api_token", "create", None, {"name": "bot"}),
        make_event("api_token", "revoke", {"name": "bot"}, None),
        make_event("something newer", "attest", None, {"x": 1}),
        make_event(GO_LIVE_STATE, "newer", record_of(make_go_live()), record_of(make_go_live(revision=8))),
        make_event(SYSTEM_METADATA, "seed", None, record_of(make_system())),
        make_event(GO_LIVE_STATE, "adopt", None, record_of(make_go_live(kill_switch_engaged=False)), changed=False),
    ],
    ids=lambda event: f"{event['subject']} {event['action']}",
)
def test_event__of_other_kinds__makes_sense(event: Event) -> None:
    assert find_contradictions(event) == ()


# -- what it never writes ----------------------------------------------------------------------------------------------

ENGAGED, RELEASED = make_go_live(), make_go_live(kill_switch_engaged=False, revision=8)
COMPLETE, INCOMPLETE = make_system(backend_complete=True, revision=4), make_system()
FORGED: dict[str, tuple[Event, str]] = {
    # H16: the web role writes a stop that changed nothing, and the row is released.
    "a stop that releases, unchanged": (make_change_event("engage", ENGAGED, RELEASED, changed=False), "cannot leave"),
    "a stop that releases": (make_change_event("engage", ENGAGED, RELEASED), "cannot leave kill_switch_engaged"),
    "a release that is called unchanged": (
        make_change_event("release", ENGAGED, RELEASED, changed=False),
        "nothing changed, and kill_switch_engaged did",
    ),
    "a release that leaves it engaged": (make_change_event("release", ENGAGED, replace(ENGAGED, revision=8)), "leave"),
    "an enable that releases": (
        make_change_event("enable", ENGAGED, replace(RELEASED, go_live_enabled=True)),
        "enable cannot alter kill_switch_engaged",
    ),
    "a disable that releases": (make_change_event("disable", ENGAGED, RELEASED), "cannot alter kill_switch_engaged"),
    "a lease that releases": (make_change_event("lease", ENGAGED, RELEASED), "cannot alter kill_switch_engaged"),
    "an engage that alters the lease": (
        make_change_event("engage", RELEASED, replace(ENGAGED, revision=9, lease_ms=5000)),
        "cannot alter lease_ms",
    ),
    "an action that nobody knows": (make_change_event("patch", ENGAGED, RELEASED), "patch cannot alter"),
    "nothing, called a change": (make_change_event("engage", ENGAGED, ENGAGED, changed=True), "nothing did"),
    "a revision that goes down": (
        make_change_event("release", ENGAGED, replace(RELEASED, revision=6)),
        "goes down, from 7 to 6",
    ),
    "a revision that stays": (make_change_event("release", ENGAGED, replace(RELEASED, revision=7)), "keeps the"),
    "a stop whose revision goes down": (
        make_change_event("engage", ENGAGED, replace(ENGAGED, revision=6), changed=False),
        "goes down",
    ),
    "a release that changed nothing and took the reason": (
        make_change_event("release", RELEASED, replace(RELEASED, reason="x", revision=9), changed=False),
        "nothing changed, and the row did",
    ),
    "no row before": (make_event(GO_LIVE_STATE, "release", None, record_of(RELEASED)), "does not say what the row"),
    "no row after": (make_event(GO_LIVE_STATE, "engage", record_of(RELEASED), None), "does not say what the row"),
    "a completion without a time": (
        make_change_event("complete", INCOMPLETE, replace(COMPLETE, completed_at=None)),
        "completed_at does not agree",
    ),
    "a reopening that keeps the time": (
        make_change_event("reopen", COMPLETE, replace(COMPLETE, backend_complete=False, revision=5)),
        "completed_at does not agree",
    ),
    "a completion moved": (
        make_change_event("complete", COMPLETE, replace(COMPLETE, completed_at=NOW, revision=5)),
        "alters completed_at",
    ),
    "an edit that completes": (make_change_event("edit", INCOMPLETE, COMPLETE), "edit cannot alter backend_complete"),
    "a seed that is live": (make_event(GO_LIVE_STATE, "seed", None, record_of(RELEASED)), "seed cannot set"),
    "a seed of a row that was there": (
        make_event(GO_LIVE_STATE, "seed", record_of(ENGAGED), record_of(ENGAGED), changed=True),
        "not what seed writes",
    ),
    "an adoption called a change": (make_event(GO_LIVE_STATE, "adopt", None, record_of(RELEASED)), "adopt writes"),
    "a drift called none": (
        make_change_event("drift", ENGAGED, RELEASED, changed=False),
        "does not agree with before and after",
    ),
    "an override of a stop": (
        make_change_event("engage", RELEASED, replace(ENGAGED, revision=9), override=True, failed_checks=[{"id": "x"}]),
        "cannot override",
    ),
    "an override of nothing": (make_change_event("release", ENGAGED, RELEASED, override=True), "names nothing"),
    "a token made and gone": (make_event("api_token", "create", {"name": "bot"}, None), "create of a token"),
    "a token revoked and there": (make_event("api_token", "revoke", None, {"name": "bot"}), "revoke of a token"),
    "no salt": (make_change_event("release", ENGAGED, RELEASED, salt=None), "no salt"),
    "an empty salt": (make_change_event("release", ENGAGED, RELEASED, salt=""), "no salt"),
    "a salt that can be guessed": (make_change_event("release", ENGAGED, RELEASED, salt="0"), "no salt"),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged__is_contradictory_and_says_how(name: str) -> None:
    event, words = FORGED[name]

    assert words in "; ".join(find_contradictions(event))


def test_old_event__without_a_salt__makes_sense() -> None:
    assert find_contradictions(make_change_event("release", ENGAGED, RELEASED, hash_version=1, salt=None)) == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    subject=st.sampled_from([GO_LIVE_STATE, SYSTEM_METADATA, "api_token", "deploy", "x"]),
    action=st.sampled_from([*CHANGES, "lease", "seed", "adopt", "drift", "reconcile", "create", "revoke", "x"]),
    values=st.fixed_dictionaries(
        dict.fromkeys(("before", "after", "changed", "override", "failed_checks", "salt", "hash_version"), JSON)
    ),
)
def test_nonsense__of_any_kind__does_not_crash(subject: str, action: str, values: Event) -> None:
    find_contradictions(make_event(subject, action, None, None) | values)


# -- the offline verifier says the same --------------------------------------------------------------------------------

_pairs = st.tuples(st.none() | go_live_rows, st.none() | go_live_rows) | st.tuples(
    st.none() | system_rows, st.none() | system_rows
)


@given(
    rows=_pairs,
    subject=st.sampled_from([GO_LIVE_STATE, SYSTEM_METADATA]),
    action=st.sampled_from([*CHANGES, "lease", "seed", "adopt", "drift", "reconcile", "x"]),
    changed=st.booleans(),
    override=st.booleans(),
    failed=st.sampled_from([None, [], [{"id": "x"}]]),
)
def test_offline_verifier__any_event__gets_the_same_verdict(
    rows: tuple[Any, Any], subject: str, action: str, changed: bool, override: bool, failed: Any
) -> None:
    before, after = (None if row is None else record_of(row) for row in rows)
    event = make_event(subject, action, before, after, changed=changed, override=override, failed_checks=failed)

    assert bool(list(verify_record.find_contradictions(event))) is bool(find_contradictions(event))


@pytest.mark.parametrize("name", FORGED)
def test_offline_verifier__forged__is_contradictory_too(name: str) -> None:
    assert list(verify_record.find_contradictions(FORGED[name][0]))
