"""Who writes a batch of repeated stops, for whom and when; with a clock that only the test moves."""

from __future__ import annotations

import itertools
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.domain.gathering import (
    CROWD_SECONDS,
    GATHER_SECONDS,
    MAX_PATIENT,
    Batch,
    Queue,
    Repetition,
    merge,
)
from golive.domain.reasons import clean_text

ONE = Repetition("why")
# Seconds from one request to the next: many at once, and now and then a pause.
GAPS = st.lists(st.sampled_from([0.0, 0.0, 0.01, 0.1, 0.3]) | st.floats(0, 3), max_size=60)


def run(gaps: list[float]) -> tuple[list[float], list[tuple[float, Batch]], dict[int, Batch]]:
    """Let requests arrive, and each batch be written when it is due. Returns when each came, and what was written."""
    queue, now = Queue(), 100.0
    arrivals: list[float] = []
    written: list[tuple[float, Batch]] = []
    part_of: dict[int, Batch] = {}
    waiting: Batch | None = None

    def write_until(end: float) -> None:
        nonlocal waiting
        if waiting is not None and queue.due_at(waiting) <= end:
            at = max(queue.due_at(waiting), arrivals[-1])
            queue.begin(at)
            written.append((at, waiting))
            waiting = None

    for number, gap in enumerate(gaps):
        now += gap
        write_until(now)
        arrivals.append(now)
        batch, is_first = queue.join(ONE)
        assert is_first is (waiting is None)
        part_of[number] = waiting = batch
        write_until(now)
    write_until(math.inf)
    return arrivals, written, part_of


@given(gaps=GAPS)
def test_queue__any_arrivals__each_request_is_in_one_batch_that_is_written_after_it_came(gaps: list[float]) -> None:
    arrivals, written, part_of = run(gaps)

    begun = {id(batch): at for at, batch in written}
    assert len(begun) == len(written)
    assert sum(len(batch.members) for _, batch in written) == len(gaps)
    for number, arrived_at in enumerate(arrivals):
        assert arrived_at <= begun[id(part_of[number])] <= arrived_at + GATHER_SECONDS + 1e-9


@given(gaps=GAPS)
def test_queue__any_arrivals__writes_no_more_often_than_it_says(gaps: list[float]) -> None:
    _, written, _ = run(gaps)

    for (earlier, _), (later, batch) in itertools.pairwise(written):
        gap = CROWD_SECONDS if len(batch.members) > MAX_PATIENT else GATHER_SECONDS
        assert later - earlier >= gap - 1e-9


def test_queue__the_first__is_written_at_once() -> None:
    queue = Queue()

    batch, is_first = queue.join(ONE)

    assert is_first
    assert queue.due_at(batch) == -math.inf


def test_queue__while_one_is_written__the_next_ones_wait_together() -> None:
    queue = Queue()
    first, _ = queue.join(ONE)
    queue.begin(10.0)

    second, is_second_first = queue.join(ONE)
    third, is_third_first = queue.join(ONE)

    assert second is third is not first
    assert (is_second_first, is_third_first) == (True, False)
    assert queue.due_at(second) == 10.0 + GATHER_SECONDS


def test_queue__many_wait__they_wait_for_less() -> None:
    queue = Queue()
    queue.join(ONE)
    queue.begin(10.0)

    batches = [queue.join(ONE)[0] for _ in range(MAX_PATIENT + 1)]
    batch = batches[-1]

    assert queue.due_at(batch) == 10.0 + CROWD_SECONDS


def test_queue__abandoned__the_next_request_is_first() -> None:
    queue = Queue()
    queue.join(ONE)
    queue.begin(10.0)
    batch, _ = queue.join(ONE)

    queue.abandon(batch)

    assert queue.join(ONE)[1] is True


def test_queue__begun_and_abandoned__does_not_take_away_the_next_one() -> None:
    queue = Queue()
    begun, _ = queue.join(ONE)
    queue.begin(10.0)
    following, _ = queue.join(ONE)

    queue.abandon(begun)

    assert queue.join(ONE) == (following, False)


# -- what is recorded --------------------------------------------------------------------------------------------------


def test_merge__one__is_recorded_as_it_is() -> None:
    assert merge([Repetition("why", "ann")]) == Repetition("why", "ann")


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([ONE] * 37, Repetition("why [37 requests]")),
        ([Repetition("")] * 2, Repetition("[2 requests]")),
        ([ONE, Repetition(""), Repetition("a second leak"), ONE], Repetition("why; a second leak [4 requests]")),
        ([Repetition("why", "ann")] * 2, Repetition("why [2 requests]", "ann")),
        ([Repetition("why", "ann"), Repetition("why", "bea")], Repetition("why (for ann); why (for bea) [2 requests]")),
        ([ONE, Repetition("", "bea")], Repetition("why; (for bea) [2 requests]")),
        ([Repetition("x" * 990), Repetition("y" * 20), ONE], Repetition(f"{'x' * 970}… [3 requests, 2 more reasons]")),
    ],
)
def test_merge__several__has_each_reason_once_and_how_many_there_were(
    members: list[Repetition], expected: Repetition
) -> None:
    found = merge(members)

    if "more reasons" in expected.reason:
        assert re.fullmatch(r"x{900,}… \[3 requests, 2 more reasons\]", found.reason)
    else:
        assert found == expected


TEXTS = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=30) | st.sampled_from(
    ["x" * 1_000, "y" * 999, "z" * 500, "🛑" * 1_000, "a", "b"]
)
SAID = st.builds(Repetition, TEXTS.map(str.strip), st.none() | st.sampled_from(["ann", "bea", "n" * 200]))


@given(members=st.lists(SAID, min_size=2, max_size=30))
def test_merge__anything__can_be_stored_as_it_is_and_tells_how_many_there_were(members: list[Repetition]) -> None:
    found = merge(members)

    assert clean_text(found.reason, limit=1_000) == (found.reason, ())
    count = re.search(rf"\[{len(members)} requests(?:, (\d+) more reasons)?\]$", found.reason)
    assert count is not None
    if count[1] is None:
        assert all(member.reason in found.reason or "…" in found.reason for member in members)
    names = {member.on_behalf_of for member in members}
    assert found.on_behalf_of == (next(iter(names)) if len(names) == 1 else None)
