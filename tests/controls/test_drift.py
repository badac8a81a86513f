"""Rows and events that were changed behind the controls: recorded, visible, and reconciled."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import transaction

from golive.controls.reconcile import reconcile
from golive.domain.changes import Channel
from golive.domain.decision import decide
from golive.domain.errors import (
    ChecklistFailedError,
    InvalidRequestError,
    NotAppliedError,
    StateUnknownError,
)
from golive.domain.rows import GO_LIVE_STATE, SYSTEM_METADATA, record_of
from golive.models import Event
from golive.state import history, singletons
from tests.support.changes import (
    FAULTS,
    SEEDED,
    TOWARD_SAFE,
    apply,
    check_sound,
    events,
    go_live,
    newest,
    problem_keys,
    snapshot,
)
from tests.support.factories import make_actor
from tests.support.faults import append_only_suspended, failing_writes, renamed_table, run_sql

pytestmark = pytest.mark.usefixtures("database")

# -- changes behind the controls ---------------------------------------------------------------------------------------


def test_apply_change__the_row_was_altered_by_sql__is_recorded_first_as_drift() -> None:
    go_live()
    recorded = record_of(singletons.read_go_live())
    run_sql("UPDATE go_live_state SET kill_switch_engaged = true, reason = 'by hand'")
    altered = record_of(singletons.read_go_live())

    acknowledged = apply("disable", actor=make_actor("bea"))

    drift, disabled = events()[-2:]
    assert (drift.action, drift.subject, drift.actor, drift.user_id) == ("drift", GO_LIVE_STATE, "unknown", None)
    assert (drift.before, drift.after, drift.changed) == (recorded, altered, True)
    assert "bea" in drift.reason
    assert (disabled.action, disabled.before) == ("disable", altered)
    assert acknowledged.changed is True
    assert problem_keys() == {f"row:{GO_LIVE_STATE}"}


def test_apply_change__both_rows_were_altered_by_sql__both_are_recorded() -> None:
    run_sql("UPDATE go_live_state SET go_live_enabled = true")
    run_sql("UPDATE system_metadata SET version = 'by hand'")

    apply("complete")

    assert [(event.action, event.subject) for event in events()[SEEDED:]] == [
        ("drift", SYSTEM_METADATA),
        ("drift", GO_LIVE_STATE),
        ("complete", SYSTEM_METADATA),
    ]
    assert problem_keys() == {f"row:{GO_LIVE_STATE}", f"row:{SYSTEM_METADATA}"}


def test_apply_change__drift_was_recorded__is_not_recorded_again() -> None:
    run_sql("UPDATE go_live_state SET lease_ms = 100")
    apply("engage")

    apply("engage")

    assert [event.action for event in events()[SEEDED:]] == ["drift", "engage", "engage"]


@pytest.mark.parametrize("name", ["release", "enable"])
def test_apply_change__a_row_altered_by_sql__blocks_toward_live_until_it_is_reconciled(name: str) -> None:
    apply("complete")
    run_sql("UPDATE system_metadata SET version = 'by hand'")

    with pytest.raises(ChecklistFailedError) as caught:
        apply(name)
    assert [result.id for result in caught.value.failed] == ["events_intact"]

    reconcile(actor=make_actor(), reason="looked into it", channel=Channel.CLI)
    assert apply(name).changed is True


# An event_head that is not the newest hash: restored from a backup, cleared, or anything.
HEADS: dict[str, Callable[[], str | None]] = {
    "of an older event": lambda: events()[0].hash,
    "of the event before": lambda: events()[-2].hash,
    "nothing": lambda: None,
    "nonsense": lambda: "nonsense",
}


@pytest.mark.parametrize("name", TOWARD_SAFE)
@pytest.mark.parametrize("head", HEADS)
def test_apply_change__event_head_is_wrong__a_stop_is_made_and_the_fault_stays_visible(name: str, head: str) -> None:
    go_live()
    run_sql("UPDATE go_live_state SET event_head = %s", [HEADS[head]()])

    acknowledged = apply(name)

    assert acknowledged.changed is True
    assert decide(singletons.read_go_live()).allowed is False
    assert history.verify().problems != ()


@pytest.mark.parametrize("name", TOWARD_SAFE)
def test_apply_change__events_were_deleted__a_stop_is_made_and_the_fault_stays_visible(name: str) -> None:
    go_live()
    with append_only_suspended():
        run_sql("DELETE FROM golive_event WHERE sequence >= 3")

    assert apply(name).changed is True
    assert history.verify().problems != ()


@pytest.mark.parametrize("name", TOWARD_SAFE)
def test_apply_change__all_events_were_deleted__a_stop_is_made_and_the_fault_stays_visible(name: str) -> None:
    go_live()
    with append_only_suspended():
        run_sql("DELETE FROM golive_event")

    assert apply(name).changed is True
    assert history.verify().problems != ()


# -- reconcile ---------------------------------------------------------------------------------------------------------


def test_reconcile__all_agree__records_nothing() -> None:
    go_live()
    before = snapshot()

    assert reconcile(actor=make_actor(), reason="just looking", channel=Channel.CLI) == ()
    assert snapshot() == before


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1_001, "a\x00b"])
def test_reconcile__bad_reason__is_refused_and_nothing_written(reason: str) -> None:
    run_sql("UPDATE go_live_state SET lease_ms = 100")
    before = snapshot()

    with pytest.raises(InvalidRequestError):
        reconcile(actor=make_actor(), reason=reason, channel=Channel.CLI)

    assert snapshot() == before


@pytest.mark.parametrize("table", [GO_LIVE_STATE, SYSTEM_METADATA])
def test_reconcile__a_row_was_altered__records_it_with_a_new_revision(table: str) -> None:
    go_live()
    column = "changed_by" if table == GO_LIVE_STATE else "version"
    recorded = Event.objects.filter(subject=table).order_by("-sequence")[0].after
    run_sql(f"UPDATE {table} SET {column} = 'by hand'")
    count = Event.objects.count()

    told = reconcile(actor=make_actor("bea", user_id=3), reason=" it was me ", channel=Channel.CLI)

    assert len(told) == 1
    assert table in told[0]
    assert column in told[0]
    (event,) = events()[count:]
    assert (event.action, event.subject, event.actor, event.user_id) == ("reconcile", table, "bea", 3)
    assert (event.reason, event.channel, event.changed) == ("it was me", "cli", True)
    assert recorded is not None
    assert event.before == recorded
    assert event.after == {**recorded, column: "by hand", "revision": recorded["revision"] + 1}
    check_sound()


def test_reconcile__a_row_whose_revision_was_raised_by_sql__keeps_it() -> None:
    run_sql("UPDATE go_live_state SET lease_ms = 100, revision = 50")

    reconcile(actor=make_actor(), reason="it was me", channel=Channel.CLI)

    assert singletons.read_go_live().revision == 50
    check_sound()


def test_reconcile__both_rows_were_altered__records_both() -> None:
    run_sql("UPDATE go_live_state SET lease_ms = 100")
    run_sql("UPDATE system_metadata SET notes = 'by hand'")

    told = reconcile(actor=make_actor(), reason="it was me", channel=Channel.CLI)

    assert len(told) == 2
    assert [event.subject for event in events()[SEEDED:]] == [SYSTEM_METADATA, GO_LIVE_STATE]
    check_sound()


def test_reconcile__after_drift_was_recorded__ends_it() -> None:
    run_sql("UPDATE go_live_state SET lease_ms = 100")
    apply("engage")
    assert history.verify().problems != ()

    reconcile(actor=make_actor(), reason="it was me", channel=Channel.CLI)

    check_sound()


def test_reconcile__done__the_next_finds_nothing() -> None:
    run_sql("UPDATE go_live_state SET lease_ms = 100")
    reconcile(actor=make_actor(), reason="it was me", channel=Channel.CLI)

    assert reconcile(actor=make_actor(), reason="again", channel=Channel.CLI) == ()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("is_used", [False, True])
def test_reconcile__event_head_is_wrong__puts_it_right(head: str, is_used: bool) -> None:
    go_live()
    run_sql("UPDATE go_live_state SET event_head = %s", [HEADS[head]()])
    if is_used:
        apply("engage")

    reconcile(actor=make_actor(), reason="restored from a backup", channel=Channel.CLI)

    check_sound()
    assert apply("disable").changed is True
    check_sound()


def test_reconcile__an_event_was_altered__names_it_and_it_is_acknowledged() -> None:
    go_live()
    with append_only_suspended():
        run_sql("UPDATE golive_event SET actor = 'mallory' WHERE sequence = 3")
    assert len(history.verify().problems) == 1

    told = reconcile(actor=make_actor(), reason="seen", channel=Channel.CLI)

    assert len(told) == 1
    assert "Event 3" in told[0]
    assert [item["id"].split("@")[0] for item in newest().failed_checks or ()] == ["hash:3"]
    check_sound()
    assert events()[2].actor == "mallory"


def test_reconcile__an_event_was_altered_again__is_found_again() -> None:
    go_live()
    for name in ("mallory", "eve"):
        with append_only_suspended():
            run_sql("UPDATE golive_event SET actor = %s WHERE sequence = 3", [name])
        assert history.verify().problems != ()

        reconcile(actor=make_actor(), reason="seen", channel=Channel.CLI)

        check_sound()


@pytest.mark.parametrize("sequence", [1, 3, 5])
def test_reconcile__an_event_was_deleted__is_acknowledged(sequence: int) -> None:
    go_live()
    with append_only_suspended():
        run_sql("DELETE FROM golive_event WHERE sequence = %s", [sequence])
    assert history.verify().problems != ()

    reconcile(actor=make_actor(), reason="seen", channel=Channel.CLI)

    assert history.verify().problems == ()


def test_reconcile__all_events_were_deleted__starts_the_record_anew() -> None:
    go_live()
    with append_only_suspended():
        run_sql("DELETE FROM golive_event")

    reconcile(actor=make_actor(), reason="a table was restored", channel=Channel.CLI)

    check_sound()


def test_reconcile__no_row_of_go_live__is_unknown_and_nothing_written() -> None:
    run_sql("DELETE FROM go_live_state")
    before = snapshot()

    with pytest.raises(StateUnknownError):
        reconcile(actor=make_actor(), reason="why", channel=Channel.CLI)

    assert snapshot() == before


def test_reconcile__no_row_of_system_metadata__does_not_claim_to_have_recorded_it() -> None:
    run_sql("DELETE FROM system_metadata")
    count = Event.objects.count()

    try:
        told = reconcile(actor=make_actor(), reason="why", channel=Channel.CLI)
    except StateUnknownError:
        told = ()

    assert len(told) <= Event.objects.count() - count


def test_reconcile__inside_a_transaction__is_a_programming_error() -> None:
    run_sql("UPDATE go_live_state SET lease_ms = 100")

    with pytest.raises(RuntimeError), transaction.atomic():
        reconcile(actor=make_actor(), reason="why", channel=Channel.CLI)


@pytest.mark.parametrize("fault", FAULTS)
def test_reconcile__a_write_fails__is_not_applied_and_nothing_of_it_stands(fault: str) -> None:
    run_sql("UPDATE system_metadata SET notes = 'by hand'")
    before = snapshot()
    table, verb, when = FAULTS[fault]

    with failing_writes(table, verb, when=when), pytest.raises(NotAppliedError):
        reconcile(actor=make_actor(), reason="why", channel=Channel.CLI)

    assert snapshot() == before


def test_reconcile__no_table_of_events__is_not_applied() -> None:
    with renamed_table("golive_event"), pytest.raises(NotAppliedError):
        reconcile(actor=make_actor(), reason="why", channel=Channel.CLI)
