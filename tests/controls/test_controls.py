"""Making a change: what is recorded, who may, what is refused (docs/explain/design.md, Rules)."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from golive.domain.changes import CHANGES, Actor, Channel, Origin
from golive.domain.decision import decide
from golive.domain.errors import (
    GoLiveError,
    InvalidRequestError,
    PermissionRequiredError,
    RevisionMismatchError,
)
from golive.domain.rows import GO_LIVE_STATE, format_time, record_of
from golive.models import Event
from golive.state import history, singletons
from tests.support.changes import (
    NAMES,
    OTHERS,
    TOWARD_SAFE,
    apply,
    apply_effectively,
    check_sound,
    events,
    go_live,
    newest,
    prepare,
    snapshot,
)
from tests.support.factories import make_actor

pytestmark = pytest.mark.usefixtures("database")

# -- what is recorded --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_apply_change__each_change__records_every_column(name: str) -> None:
    prepare(name)
    subject = CHANGES[name].subject
    go_live_before, system_before = singletons.read_both()
    before = record_of(go_live_before if subject == GO_LIVE_STATE else system_before)
    count, previous, began = Event.objects.count(), newest(), datetime.now(UTC)

    acknowledged = apply_effectively(
        name,
        actor=make_actor("bea", user_id=77),
        reason="Grund 🛑",
        channel=Channel.ADMIN,
        origin=Origin(request_id="r-1", remote_addr="2001:db8::1"),
        changed_by="carl",
    )

    event = events()[count]
    go_live_after, system_after = singletons.read_both()
    after = record_of(go_live_after if subject == GO_LIVE_STATE else system_after)
    assert began <= event.at <= datetime.now(UTC)
    assert {column: value for column, value in history.event_values(event).items() if column != "at"} == {
        "sequence": previous.sequence + 1,
        "actor": "bea",
        "user_id": 77,
        "on_behalf_of": "carl",
        "channel": "admin",
        "subject": subject,
        "action": name,
        "reason": "Grund 🛑",
        "changed": True,
        "override": False,
        "before": before,
        "after": after,
        "failed_checks": None,
        "request_id": "r-1",
        "remote_addr": "2001:db8::1",
        "salt": event.salt,
        "hash_version": 2,
        "previous_hash": previous.hash,
        "hash": event.hash,
    }
    assert before != after
    assert acknowledged.changed is True
    assert acknowledged.sequence == newest().sequence
    check_sound()


@pytest.mark.parametrize("name", NAMES)
def test_apply_change__each_change__is_acknowledged_with_the_rows_as_they_stand(name: str) -> None:
    prepare(name)

    acknowledged = apply_effectively(name)

    go_live_row, system_row = singletons.read_both()
    assert acknowledged.change is CHANGES[name]
    assert acknowledged.go_live == go_live_row
    assert acknowledged.system in (None, system_row)
    assert acknowledged.system is not None or CHANGES[name].subject == GO_LIVE_STATE
    assert go_live_row.event_head == newest().hash


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [
        ("engage", "kill_switch_engaged", True),
        ("release", "kill_switch_engaged", False),
        ("disable", "go_live_enabled", False),
        ("enable", "go_live_enabled", True),
    ],
)
def test_apply_change__a_switch__is_set_with_who_why_and_when(name: str, column: str, value: bool) -> None:
    prepare(name)
    before = singletons.read_go_live()

    apply(name, actor=make_actor("bea"), reason="because")

    after = singletons.read_go_live()
    expected = {
        **asdict(before),
        column: value,
        "changed_by": "bea",
        "reason": "because",
        "updated_at": newest().at,
        "revision": before.revision + 1,
        "event_head": newest().hash,
    }
    assert asdict(after) == expected


def test_apply_change__complete_with_version_and_notes__sets_them_and_the_time() -> None:
    apply("complete", version="2.0.0", notes="line\nline")

    row = singletons.read_system()
    assert (row.version, row.backend_complete, row.notes, row.revision) == ("2.0.0", True, "line\nline", 2)
    assert row.completed_at == row.updated_at == newest().at


def test_apply_change__reopen__clears_the_time_of_completion() -> None:
    apply("complete")

    apply("reopen")

    row = singletons.read_system()
    assert (row.backend_complete, row.completed_at) == (False, None)


def test_apply_change__edit__keeps_the_time_of_completion() -> None:
    apply("complete")
    completed_at = singletons.read_system().completed_at

    apply("edit", notes="new")

    assert singletons.read_system().completed_at == completed_at


def test_apply_change__from_defaults_to_live_and_back__is_allowed_only_in_between() -> None:
    decisions = [decide(singletons.read_go_live()).code]
    for name in ("complete", "release", "enable", "engage", "disable"):
        apply(name)
        decisions.append(decide(singletons.read_go_live()).code)

    assert decisions == [
        "KILL_SWITCH_ENGAGED",
        "KILL_SWITCH_ENGAGED",
        "GO_LIVE_DISABLED",
        "ALLOWED",
        "KILL_SWITCH_ENGAGED",
        "KILL_SWITCH_ENGAGED",
    ]
    check_sound()


@pytest.mark.parametrize("channel", [Channel.ADMIN, Channel.API, Channel.CLI])
def test_apply_change__each_channel__is_recorded(channel: Channel) -> None:
    apply("engage", channel=channel)

    assert newest().channel == str(channel)


def test_apply_change__changed_by_in_the_request__is_not_the_actor() -> None:
    go_live()

    apply("engage", actor=make_actor("bea"), changed_by="root")

    assert (newest().actor, newest().on_behalf_of, singletons.read_go_live().changed_by) == ("bea", "root", "bea")


# -- what changes nothing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_apply_change__repeated__is_acknowledged_unchanged_and_recorded(name: str) -> None:
    prepare(name)
    apply_effectively(name, actor=make_actor("ann"), reason="first")
    go_live_before, system_before = singletons.read_both()
    count = Event.objects.count()

    acknowledged = apply_effectively(name, actor=make_actor("bea"), reason="second")

    go_live_after, system_after = singletons.read_both()
    event = newest()
    stamps: dict[str, Any] = {}
    if name in TOWARD_SAFE:
        # It was a stop: whoever has not seen it must not be able to undo it.
        stamps = {"updated_at": format_time(event.at)}
    before, after = record_of(go_live_before), record_of(go_live_after)
    if name in ("engage", "disable"):
        assert after == {
            **before,
            **stamps,
            "changed_by": "bea",
            "reason": "second",
            "revision": go_live_before.revision + 1,
        }
    else:
        assert after == before
    if name == "reopen":
        assert record_of(system_after) == {
            **record_of(system_before),
            **stamps,
            "revision": system_before.revision + 1,
        }
    else:
        assert system_after == system_before
    assert acknowledged.changed is False
    assert Event.objects.count() == count + 1
    assert (event.action, event.actor, event.reason, event.changed) == (name, "bea", "second", False)
    assert (event.before != event.after) is (name in TOWARD_SAFE)
    assert go_live_after.event_head == event.hash
    check_sound()


@pytest.mark.parametrize(
    ("stop", "toward_live"), [("engage", "release"), ("disable", "enable"), ("reopen", "complete")]
)
def test_apply_change__toward_live_after_a_stop_that_changed_nothing__has_to_have_seen_it(
    stop: str, toward_live: str
) -> None:
    if stop != "reopen":
        apply("complete")
    go_live_row, system_row = singletons.read_both()
    seen = (go_live_row if CHANGES[stop].subject == GO_LIVE_STATE else system_row).revision

    second = apply(stop, actor=make_actor("bea"), reason="there is a second leak")
    before = snapshot()
    with pytest.raises(RevisionMismatchError) as caught:
        apply(toward_live, expected_revision=seen)

    assert second.changed is False
    error = caught.value
    told = (error.changed_by, error.changed_at, error.change, error.reason)
    assert told == ("bea", newest().at, stop, "there is a second leak")
    assert all(word in error.detail for word in ("bea", stop, "there is a second leak"))
    assert snapshot() == before
    assert apply(toward_live, expected_revision=error.current.revision).changed is True
    check_sound()


# -- permission and content --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_apply_change__without_its_permission__is_refused_and_nothing_written(name: str) -> None:
    prepare(name)
    before = snapshot()

    with pytest.raises(PermissionRequiredError) as caught:
        apply_effectively(name, actor=make_actor(without=CHANGES[name].permission))

    assert caught.value.permission == CHANGES[name].permission
    assert snapshot() == before


@pytest.mark.parametrize("name", NAMES)
def test_apply_change__with_its_permission_alone__is_made(name: str) -> None:
    prepare(name)

    acknowledged = apply_effectively(name, actor=Actor("bea", frozenset({CHANGES[name].permission})))

    assert acknowledged.changed is True


@pytest.mark.parametrize("name", ["release", "enable", "complete"])
@pytest.mark.parametrize("reason", [None, "", "  ", "x" * 1_001, "a\x00b", 5])
def test_apply_change__toward_live_with_a_bad_reason__is_refused_and_nothing_written(name: str, reason: object) -> None:
    prepare(name)
    before = snapshot()

    with pytest.raises(InvalidRequestError) as caught:
        apply(name, reason=reason)

    assert [error.field for error in caught.value.errors] == ["reason"]
    assert snapshot() == before


@pytest.mark.parametrize("name", OTHERS)
def test_apply_change__strict_with_an_unknown_field__is_refused_and_nothing_written(name: str) -> None:
    prepare(name)
    before = snapshot()

    with pytest.raises(InvalidRequestError):
        apply(name, colour="red")

    assert snapshot() == before


@pytest.mark.parametrize("name", TOWARD_SAFE)
@pytest.mark.parametrize(
    "reason",
    [None, "", "x" * 5_000, "a\x00\x1bb", "\ud800", 5, {"why": ["a", None]}, ["\x00"], float("inf"), "🛑" * 2_000],
    ids=repr,
)
def test_apply_change__toward_safe_with_any_reason__is_made(name: str, reason: object) -> None:
    go_live()

    acknowledged = apply(
        name, reason=reason, changed_by={"name": "\ud800"}, expected_revision="x", override=[], colour="red"
    )

    assert acknowledged.changed is True
    assert acknowledged.notes_on_request
    check_sound()


def test_apply_change__a_clean_request__has_no_notes() -> None:
    assert apply("engage", reason="why").notes_on_request == ()


@pytest.mark.parametrize(
    "text", ["naïve 🛑 停止", '"; DROP TABLE golive_event; --', "100 % {}", "a\u2028\u2029b", "\\u0000"]
)
def test_apply_change__unusual_text__is_kept_as_it_is(text: str) -> None:
    apply("complete", reason=text, notes=text, changed_by=text)

    assert (newest().reason, newest().on_behalf_of, singletons.read_system().notes) == (text, text, text)
    check_sound()


# -- expected revision -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OTHERS)
def test_apply_change__the_revision_that_stands__is_accepted(name: str) -> None:
    prepare(name)
    go_live_row, system_row = singletons.read_both()
    current = go_live_row if CHANGES[name].subject == GO_LIVE_STATE else system_row

    acknowledged = apply_effectively(name, expected_revision=current.revision)

    assert acknowledged.changed is True


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("offset", [-1, 1])
def test_apply_change__another_revision__is_refused_with_the_row_and_who_changed_it(name: str, offset: int) -> None:
    prepare(name)
    # Somebody changes the row, and somebody else asks for what is so already: that one did not change it.
    first, second = ("enable", "enable") if CHANGES[name].subject == GO_LIVE_STATE else ("complete", "complete")
    if name in ("release", "enable"):
        apply(first, actor=make_actor("cem"))
    else:
        apply(first, actor=make_actor("cem"), version="1.5")
    apply(second, actor=make_actor("dora"))
    go_live_row, system_row = singletons.read_both()
    current = go_live_row if CHANGES[name].subject == GO_LIVE_STATE else system_row
    before = snapshot()

    with pytest.raises(RevisionMismatchError) as caught:
        apply_effectively(name, expected_revision=current.revision + offset)

    assert caught.value.current == current
    assert caught.value.changed_by == "cem"
    assert snapshot() == before


def test_apply_change__two_who_saw_the_same_revision__one_wins_and_the_other_is_told() -> None:
    apply("complete")
    seen = singletons.read_go_live().revision

    apply("release", actor=make_actor("ann"), expected_revision=seen)
    with pytest.raises(RevisionMismatchError) as caught:
        apply("release", actor=make_actor("bea"), expected_revision=seen)

    assert caught.value.changed_by == "ann"


@pytest.mark.parametrize("name", TOWARD_SAFE)
@pytest.mark.parametrize("revision", [1, 99, 0, "x"])
def test_apply_change__toward_safe_with_any_revision__ignores_it_and_says_so(name: str, revision: object) -> None:
    go_live()

    acknowledged = apply(name, expected_revision=revision)

    assert acknowledged.changed is True
    assert any("expected_revision" in note for note in acknowledged.notes_on_request) or revision == 0


# -- people ------------------------------------------------------------------------------------------------------------


def test_event__its_user_is_deleted__stays_and_still_verifies() -> None:
    user = get_user_model().objects.create_user("bea")
    apply("engage", actor=make_actor("bea", user_id=user.pk))
    kept = history.event_values(newest())

    user.delete()

    assert history.event_values(newest()) == kept
    check_sound()


# -- errors ------------------------------------------------------------------------------------------------------------


def test_errors__all_that_a_change_raises__have_a_code_and_words() -> None:
    refusals: list[GoLiveError] = []
    for options in ({"reason": ""}, {"expected_revision": 99}, {"actor": Actor("x", frozenset())}, {}):
        override = ["backend_complete"] if "expected_revision" in options else []
        with pytest.raises(GoLiveError) as caught:
            apply("release", **{"override": override, **options})  # type: ignore[arg-type]
        refusals.append(caught.value)

    codes = ["INVALID_REQUEST", "REVISION_MISMATCH", "PERMISSION_DENIED", "CHECKLIST_FAILED"]
    assert [error.code for error in refusals] == codes
    assert all(error.detail for error in refusals)
