"""The checker itself, on histories made by hand and by chance: what it accepts, what it finds, and how it explains."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.consistency.checker import ALLOWED, Change, History, Read, Violation
from tests.consistency.record import Entry, Operation, Outcome, find_disagreements, join, read_entry

ENGAGED, DISABLED = "KILL_SWITCH_ENGAGED", "GO_LIVE_DISABLED"
START = Change("start", ENGAGED, -math.inf)
RELEASE = Change("release", ALLOWED, 10, 11)
ENGAGE = Change("engage", ENGAGED, 20, 21)


def judge(changes: list[Change], code: str | None, sent_at: float, answered_at: float, **more: float) -> str | None:
    """None where the answer is right, else the label of the change that had ended what it tells ("" for none)."""
    violation = History([START, *changes]).judge(Read("gate", code, sent_at, answered_at, **more))  # type: ignore[arg-type]
    if violation is None:
        return None
    return violation.ended_by.label if violation.ended_by else ""


@pytest.mark.parametrize(
    ("sent_at", "answered_at", "expected"),
    [
        (12, 13, None),
        (20.9, 30, None),
        (21, 22, None),
        (21.1, 22, "engage"),
        (9, 10, None),
        (8, 9.9, ""),
        (5, 40, None),
    ],
    ids=["while", "sent-before-ack", "at-ack", "after-ack", "release-under-way", "before-release", "across"],
)
def test_allowed__around_release_and_engage__is_right_while_it_may_be_true(
    sent_at: float, answered_at: float, expected: str | None
) -> None:
    assert judge([RELEASE, ENGAGE], ALLOWED, sent_at, answered_at) == expected


def test_denied__with_a_code_that_an_acknowledged_release_ended__is_found() -> None:
    assert judge([RELEASE, ENGAGE], ENGAGED, 12, 13) == "release"
    assert judge([RELEASE, ENGAGE], ENGAGED, 12, 20.5) is None
    assert judge([RELEASE, ENGAGE], DISABLED, 12, 13) == ""


def test_denied__without_a_code__is_never_wrong() -> None:
    assert judge([RELEASE], None, 12, 13) is None


def test_stop__without_acknowledgement__ends_nothing_until_a_later_change_is_acknowledged() -> None:
    lost = replace(ENGAGE, acked_at=math.inf)

    assert judge([RELEASE, lost], ALLOWED, 30, 31) is None
    assert judge([RELEASE, lost, Change("disable", ENGAGED, 22, 25)], ALLOWED, 24, 25) is None
    assert judge([RELEASE, lost, Change("disable", ENGAGED, 22, 25)], ALLOWED, 30, 31) == "disable"


def test_stop__repeated_and_acknowledged_first__counts() -> None:
    """The no-op was acknowledged before the change itself: whoever got that relies on it."""
    first, second = replace(ENGAGE, acked_at=29), Change("engage again", ENGAGED, 22, 23)

    assert judge([RELEASE, first, second], ALLOWED, 24, 25) == "engage again"
    assert judge([RELEASE, first, second], ALLOWED, 22.5, 25) is None


def test_release__in_flight_or_unknown__explains_an_allowing_answer() -> None:
    again = Change("release again", ALLOWED, 30)

    assert judge([RELEASE, ENGAGE, again], ALLOWED, 29, 30.5) is None
    assert judge([RELEASE, ENGAGE, again], ALLOWED, 28, 29.9) == "engage"


def test_release__recorded_before_the_stop__explains_nothing_after_it() -> None:
    """Both were in flight together; the record says who came last."""
    raced = Change("release", ALLOWED, 19, 26)

    assert judge([raced, replace(ENGAGE, sent_at=19.5)], ALLOWED, 22, 23) == "engage"
    assert judge([replace(ENGAGE, sent_at=19.5), raced], ALLOWED, 22, 23) is None


def test_release__recorded_after_a_change_that_was_asked_for_later__began_no_earlier_than_that() -> None:
    changes = [Change("disable", DISABLED, 20), Change("enable", ALLOWED, 15)]

    assert judge(changes, ALLOWED, 16, 19) == ""
    assert judge(changes, ALLOWED, 16, 20) is None


def test_permit__held_while_a_stop_is_acknowledged__is_found() -> None:
    assert judge([RELEASE, ENGAGE], ALLOWED, 12, 13, until=21) is None
    assert judge([RELEASE, ENGAGE], ALLOWED, 12, 13, until=21.5) == "engage"


def test_permit__that_needs_two_states__is_found() -> None:
    """A stop and a release between its beginning and its end: the stop should have waited."""
    again = Change("release again", ALLOWED, 22, 23)

    assert judge([RELEASE, ENGAGE, again], ALLOWED, 12, 13, until=25) == "engage"


def test_permit__held_beyond_what_does_not_wait_for_it__is_right() -> None:
    """A change of the lease, and a stop that says that permits are outstanding."""
    lease = Change("lease", ALLOWED, 20, 21, permits_until=math.inf)
    stop = replace(ENGAGE, permits_until=math.inf)

    assert judge([RELEASE, lease], ALLOWED, 12, 13, until=25) is None
    assert judge([RELEASE, stop], ALLOWED, 12, 13, until=25) is None
    # But none is given after it.
    assert judge([RELEASE, stop], ALLOWED, 21.5, 22, until=25) == "engage"


def test_violation__explained__names_both_requests() -> None:
    violation = History([START, RELEASE, ENGAGE]).judge(Read("gate", ALLOWED, 21.5, 22, worker=77))

    assert "gate (pid 77) answered ALLOWED: sent 500.0 ms after the acknowledgement of engage" in str(violation)


def test_stopped_seconds__only_where_an_allowing_answer_would_be_wrong() -> None:
    history = History([START, RELEASE, ENGAGE])

    assert history.stopped_seconds(Read("gate", ENGAGED, 21.5, 22)) == 0.5
    assert history.stopped_seconds(Read("gate", ENGAGED, 20.5, 22)) is None
    assert history.stopped_seconds(Read("gate", ENGAGED, 5, 6)) is None


def test_disorder__a_record_that_turns_real_time_round__is_found() -> None:
    assert History([START, RELEASE, ENGAGE]).find_disorder() == []
    assert History([START, ENGAGE, RELEASE]).find_disorder() == [
        "engage stands before release, which was acknowledged before it was sent"
    ]


# -- by chance ---------------------------------------------------------------------------------------------------------

steps = st.lists(
    st.tuples(
        st.sampled_from([ALLOWED, ENGAGED]),  # what the change leads to
        st.integers(1, 20),  # its commit, after the one before
        st.integers(0, 30),  # asked for so long before
        st.one_of(st.none(), st.integers(0, 30)),  # acknowledged so long after; or never
    ),
    max_size=8,
)
reads = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=8)


def make_history(drawn: list[tuple[str, int, int, int | None]], lease: int) -> tuple[list[Change], list[int]]:
    """Changes as a right system makes them, which acknowledges when a lease is over; and when each was committed."""
    changes, commits, now = [START], [-1000], 0
    for number, (code, after, before, wait) in enumerate(drawn):
        now += after
        commits.append(now)
        changes.append(Change(f"c{number}", code, now - before, math.inf if wait is None else now + lease + wait))
    return changes, commits


def code_at(changes: list[Change], commits: list[int], moment: float) -> str:
    return [change.code for change, at in zip(changes, commits, strict=True) if at <= moment][-1]


@given(steps, reads, st.integers(0, 40), st.data())
def test_right_system__whatever_its_leases_and_delays__has_no_violation(
    drawn: list[tuple[str, int, int, int | None]], asked: list[tuple[int, int, int]], lease: int, data: st.DataObject
) -> None:
    changes, commits = make_history(drawn, lease)
    history = History(changes)

    assert history.find_disorder() == []
    for sent_at, before, after in asked:
        used_at = sent_at + before
        # Whatever was read within the lease before the moment at which it is used.
        read_at = data.draw(st.integers(used_at - lease, used_at))
        answer = Read("gate", code_at(changes, commits, read_at), sent_at, used_at + after)
        assert history.judge(answer) is None


@given(steps, reads)
def test_any_answer__is_found_wrong__exactly_when_no_commit_times_can_explain_it(
    drawn: list[tuple[str, int, int, int | None]], asked: list[tuple[int, int, int]]
) -> None:
    """Against a slow judge that tries every order-preserving choice of moments, one change after the other."""
    changes, _ = make_history(drawn, 0)
    history = History(changes)

    for sent_at, before, after in asked:
        answer = Read("gate", ALLOWED, sent_at, sent_at + before + after)
        assert (history.judge(answer) is None) == is_explained(changes, answer)


def is_explained(changes: list[Change], read: Read) -> bool:
    for number, change in enumerate(changes):
        earliest = max(each.sent_at for each in changes[: number + 1])
        latest = min((each.acked_at for each in changes[number + 1 :]), default=math.inf)
        if change.code == read.code and earliest <= read.answered_at and latest >= read.sent_at:
            return True
    return False


@given(steps, st.integers(1, 40), st.integers(0, 39))
def test_acknowledgement__before_the_lease_is_over__is_found_by_a_read_in_between(
    drawn: list[tuple[str, int, int, int | None]], lease: int, early: int
) -> None:
    """The state before the last commit, read just before it and used when its acknowledgement has come too early."""
    changes, commits = make_history([*drawn, (ALLOWED, 1, 0, 0), (ENGAGED, 50, 0, None)], lease)
    acked_at = commits[-1] + min(early, lease - 1)
    changes[-1] = replace(changes[-1], acked_at=acked_at)

    violation = History(changes).judge(Read("gate", ALLOWED, acked_at + 0.5, acked_at + 0.6))

    assert isinstance(violation, Violation)
    assert violation.ended_by == changes[-1]


# -- the record --------------------------------------------------------------------------------------------------------

ROW = {
    "go_live_enabled": True,
    "kill_switch_engaged": False,
    "reason": "op-a-7",
    "revision": 3,
    "lease_ms": 250,
    "changed_by": "ann",
    "updated_at": None,
}


def operation(mark: str, outcome: Outcome) -> Operation:
    return Operation(mark, "engage", "api", 1.0, 2.0, outcome, "NOT_APPLIED")


def test_join__events_and_operations__gives_states_in_the_order_of_the_record() -> None:
    entries = [
        Entry(1, None, "seed", ENGAGED),
        Entry(2, "op-a-2", "complete", None),
        Entry(3, "op-a-1", "release", ALLOWED),
    ]

    changes = join(entries, [operation("op-a-1", Outcome.ACKNOWLEDGED), operation("op-a-2", Outcome.UNKNOWN)])

    assert [(change.code, change.sent_at, change.acked_at) for change in changes] == [
        (ENGAGED, -math.inf, math.inf),
        (ENGAGED, 1.0, math.inf),
        (ALLOWED, 1.0, 2.0),
    ]


def test_disagreements__acknowledged_but_lost_and_refused_but_done__are_found() -> None:
    entries = [Entry(1, "op-a-1", "engage", ENGAGED), Entry(2, "op-a-3", "engage", ENGAGED)]
    operations = [
        operation("op-a-1", Outcome.ACKNOWLEDGED),
        operation("op-a-2", Outcome.ACKNOWLEDGED),
        operation("op-a-3", Outcome.NOT_DONE),
        operation("op-a-4", Outcome.NOT_DONE),
        operation("op-a-5", Outcome.UNKNOWN),
    ]

    assert find_disagreements(entries, operations) == [
        "engage by api (op-a-2) was acknowledged and is not in the record",
        "engage by api (op-a-3) was answered 'NOT_APPLIED' and is in the record",
    ]


@pytest.mark.parametrize(
    ("action", "reason", "before", "mark"),
    [
        ("release", "please op-a-12 now", None, "op-a-12"),
        ("drift", "Changed behind the controls", {"reason": "op-a-3"}, "op-a-7"),
        ("drift", "Changed behind the controls", {"reason": "op-a-7"}, None),
        ("seed", "", None, None),
    ],
)
def test_entry__of_an_event__names_the_operation_that_made_it(
    action: str, reason: str, before: dict[str, str] | None, mark: str | None
) -> None:
    event = {"sequence": 4, "subject": "go_live_state", "action": action, "reason": reason}

    entry = read_entry({**event, "before": before, "after": ROW})

    assert (entry.mark, entry.code) == (mark, ALLOWED)
