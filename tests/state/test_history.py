"""The record: its pages, and its verification against the rows."""

from __future__ import annotations

import pytest

from golive.controls.reconcile import reconcile
from golive.domain.chain import ChainVerifier, hash_event
from golive.domain.changes import CHANGES, Channel
from golive.domain.rows import GO_LIVE_STATE, SYSTEM_METADATA, record_of
from golive.models import Event
from golive.readiness.checks import check_events_intact
from golive.state import history, singletons
from tests.support.changes import (
    SEEDED,
    apply,
    go_live,
    newest,
    problem_keys,
)
from tests.support.factories import make_actor
from tests.support.faults import append_only_suspended, renamed_table, run_sql

pytestmark = pytest.mark.usefixtures("database")


def test_find__no_event_at_all__is_nothing() -> None:
    with append_only_suspended():
        run_sql("DELETE FROM golive_event")

    assert history.find_change(singletons.read_go_live()) is None
    assert history.find_newest(CHANGES["engage"]) is None
    assert history.read_recent(GO_LIVE_STATE, limit=5) == []


def test_read_recent__events_cannot_be_read__is_nothing() -> None:
    with renamed_table("golive_event"):
        assert history.read_recent(GO_LIVE_STATE, limit=5) == []

    assert len(history.read_recent(GO_LIVE_STATE, limit=5)) == 1


def test_read_page__page_by_page__shows_every_event_once_newest_first() -> None:
    for _ in range(5):
        apply("engage")
    seen: list[int] = []
    before: int | None = None

    while True:
        page, before = history.read_page(limit=3, before=before)
        seen += [event["sequence"] for event in page]
        if before is None:
            break

    assert seen == list(range(7, 0, -1))


@pytest.mark.parametrize(("limit", "following"), [(1, 2), (2, None), (3, None)])
def test_read_page__limit__has_a_next_only_if_there_is_more(limit: int, following: int | None) -> None:
    page, found = history.read_page(limit=limit, before=None)

    assert len(page) == min(limit, SEEDED)
    assert found == following


def test_event_values__as_served__can_be_verified_by_an_outsider() -> None:
    go_live()
    page, _ = history.read_page(limit=100, before=None)

    verifier = ChainVerifier()
    verifier.feed(reversed(page))

    row, system = singletons.read_both()
    records = {GO_LIVE_STATE: record_of(row), SYSTEM_METADATA: record_of(system)}
    assert verifier.finish(head=row.event_head, records=records) == []


@pytest.mark.parametrize("newest_events", [1, 2, 3, 7, 100])
def test_verify__only_the_newest__agrees_with_the_whole(newest_events: int) -> None:
    go_live()
    apply("reopen")

    found = history.verify(newest=newest_events)

    assert found.problems == ()
    assert found.checked == min(newest_events, Event.objects.count())


@pytest.mark.parametrize("newest_events", [1, 2, 3])
def test_verify__only_the_newest__still_knows_older_drift(newest_events: int) -> None:
    run_sql("UPDATE system_metadata SET notes = 'by hand'")
    apply("edit", notes="proper")
    for _ in range(3):
        apply("engage")

    assert problem_keys(newest_events=newest_events) == {f"row:{SYSTEM_METADATA}"}


def test_verify__the_event_before_the_newest_is_deleted__is_found_by_both() -> None:
    go_live()
    with append_only_suspended():
        run_sql("DELETE FROM golive_event WHERE sequence = 4")

    for newest_events in (None, 1, 2, 3):
        assert history.verify(newest=newest_events).problems != (), newest_events


@pytest.mark.parametrize("column", ["before", "after", "failed_checks"])
@pytest.mark.parametrize("value", ["[]", '"x"', "5", '[{"x": 1}]', "{}"])
@pytest.mark.parametrize("action", ["reconcile", "engage"])
def test_verify__an_event_altered_to_nonsense__is_found_and_does_not_crash(
    column: str, value: str, action: str
) -> None:
    apply("engage")
    with append_only_suspended():
        run_sql(f"UPDATE golive_event SET {column} = %s, action = %s WHERE sequence = 3", [value, action])

    assert "hash:3" in problem_keys()


def test_verify__triggers_are_disabled__is_found_by_all() -> None:
    apply("complete")

    with append_only_suspended():
        found = history.verify()
        check = check_events_intact()
        assert [problem.code for problem in found.problems] == ["trigger"] * len(found.problems) != []
        assert not check.ok
        assert "events can be altered" in check.detail
        assert reconcile(actor=make_actor(), reason="looked", channel=Channel.CLI) == ()

    assert history.verify().problems == ()
    assert check_events_intact().ok


def test_verify__a_stop_that_hides_a_release__is_found_by_the_checklist_too() -> None:
    """H16: what a role that may only insert events and update the row can do."""
    # The checklist itself is called here, not by its runner, which has a limit of time.
    apply("engage")
    last = newest()
    assert last.after is not None
    released = {**last.after, "kill_switch_engaged": False, "revision": last.after["revision"] + 1}
    run_sql("UPDATE go_live_state SET kill_switch_engaged = %s, revision = revision + 1", [False])
    event = Event(
        **{field.name: getattr(last, field.name) for field in Event._meta.concrete_fields}
        | {"sequence": last.sequence + 1, "before": last.after, "after": released, "changed": False}
        | {"previous_hash": last.hash, "salt": "0" * 32}
    )
    event.hash = hash_event(history.event_values(event))
    event.save(force_insert=True)
    run_sql("UPDATE go_live_state SET event_head = %s", [event.hash])

    assert [problem.code for problem in history.verify().problems] == ["sense"]
    assert not check_events_intact().ok

    reconcile(actor=make_actor(), reason="looked into it", channel=Channel.CLI)
    assert history.verify().problems == ()
