"""Where revisions are drawn: every edge leads from its child to its parent, and only what is plain is folded."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.migration_graph.model import Cut, Edge, Report, Severity
from golive.migration_graph.reports.condensed import condense
from golive.migration_graph.reports.defects import find_defects
from golive.migration_graph.reports.layout import Course, Layout, Run, Style, lay_out
from tests.migration_graph.reports import (
    get_key,
    make_chain,
    make_finding,
    make_graph,
    make_incident,
    make_report,
    make_tie,
)


def lay(report: Report) -> Layout:
    return lay_out(report.graph, find_defects(report))


def get_shape(layout: Layout) -> list[int]:
    """How many revisions each item from the top holds."""
    return [len(item.rows) if isinstance(item, Run) else 1 for item in layout.items]


def trace_edges(layout: Layout) -> Counter[tuple[str, str]]:
    """Follow the strands down from each node, as the eye does: which nodes are joined, upper one first."""
    found: Counter[tuple[str, str]] = Counter()
    held: dict[int, set[str]] = {}
    for row in layout.rows:
        passing: dict[int, set[str]] = {}
        for strand in row.strands:
            if strand.course is Course.ABOVE and not is_own_return(row.key, strand.lane, row.strands):
                found.update((upper, row.key) for upper in held[strand.lane])
            elif strand.course is Course.PAST:
                passing.setdefault(strand.lane, set()).update(held[strand.lane])
        for strand in row.strands:
            if strand.course is Course.BELOW:
                passing.setdefault(strand.lane, set()).add(row.key)
        held = passing
    return found


def is_own_return(key: str, lane: int, strands: Any) -> bool:
    """A strand of a node that points at itself: it leaves and comes back on one lane, in one row."""
    return any(strand.lane == lane and strand.is_end for strand in strands)


graphs = st.integers(1, 12).flatmap(
    lambda size: st.lists(st.lists(st.integers(0, size - 1), max_size=3, unique=True), min_size=size, max_size=size)
)


@given(graphs, st.integers(0, 11))
def test_lay_out__any_graph__draws_every_edge_once(parents: list[list[int]], newest: int) -> None:
    named = {f"n{number:02}": [f"n{end:02}" for end in ends if end != number] for number, ends in enumerate(parents)}
    report = make_report(make_graph(named))

    layout = lay(report)

    rows = [row.key for row in layout.rows]
    assert sorted(rows) == sorted(map(get_key, named))
    place = {key: index for index, key in enumerate(rows)}
    wanted: Counter[tuple[str, str]] = Counter()
    for child, ends in named.items():
        for end in ends:
            first, second = sorted((get_key(child), get_key(end)), key=place.__getitem__)
            wanted[(first, second)] += 1
    traced = trace_edges(layout)
    # Strands that lead to one parent share a lane, so a node may seem joined with it by the strand of another.
    assert set(wanted) <= set(traced)
    assert all(strand.lane < layout.lanes for row in layout.rows for strand in row.strands)


def test_lay_out__chain__is_two_ends_and_a_run() -> None:
    layout = lay(make_report(make_graph(make_chain(96))))

    assert get_shape(layout) == [1, 94, 1]
    assert layout.lanes == 1


def test_lay_out__incident__folds_the_rest_and_shows_both_ends_of_the_edge() -> None:
    layout = lay(make_incident())

    shown = [item.key for item in layout.items if not isinstance(item, Run)]
    assert get_shape(layout) == [1, 1, 1, 1, 1, 66, 1, 20, 1, 1, 1, 19, 1]
    assert {get_key("r107"), get_key("r000")} <= set(shown)
    assert shown[-1] == get_key("r000")
    assert len(list(layout.rows)) == 115


def test_lay_out__incident__the_remedy_is_what_points_upwards() -> None:
    rows = {row.key: row for row in lay(make_incident()).rows}

    child, parent = rows[get_key("r000")], rows[get_key("r107")]
    assert [(s.lane, s.style) for s in child.strands if s.course is Course.ABOVE and s.style is Style.CUT] == [
        (0, Style.CUT)
    ]
    assert [(s.lane, s.style) for s in parent.strands if s.is_end] == [(0, Style.CUT)]


def test_lay_out__ties__marks_all_and_opens_the_first() -> None:
    report = make_tie()

    styles = [(line.style) for line in condense(report, find_defects(report))[1]]

    assert styles == [Style.CUT] * 3
    assert [row.key for row in lay(report).rows][-1] == get_key("a")


@pytest.mark.parametrize(("severity", "is_folded"), [(Severity.ERROR, False), (Severity.WARNING, True)])
def test_lay_out__finding_inside_a_run__is_seen_at_once_only_if_it_is_an_error(
    severity: Severity, is_folded: bool
) -> None:
    finding = make_finding(severity=severity, file=get_key("r005"), revisions=("r005",))

    layout = lay(make_report(make_graph(make_chain(12)), finding))

    assert (get_shape(layout) == [1, 10, 1]) is is_folded
    assert find_defects(make_report(make_graph(make_chain(12)), finding)).findings[get_key("r005")] == [finding]


def test_lay_out__node_that_points_at_itself__is_drawn() -> None:
    edge = Edge("a", "a", get_key("a"), 3)
    finding = make_finding("MG104", "self-reference", cycle=("a",), cuts=(Cut((edge,)),), file=get_key("a"))

    (row,) = lay(make_report(make_graph({"a": ["a"]}), finding)).rows

    assert {strand.course for strand in row.strands} == {Course.ABOVE, Course.BELOW}


def test_lay_out__dependency_beside_a_parent__is_drawn_apart() -> None:
    graph = make_graph({"a": [], "b": [], "c": ["a"]}, dependencies={"c": ["b"]})

    styles = {
        strand.style for row in lay(make_report(graph)).rows for strand in row.strands if strand.course is Course.BELOW
    }

    assert styles == {Style.PARENT, Style.DEPENDENCY}


def test_lay_out__a_thousand_heads_on_one_base__needs_few_lanes() -> None:
    layout = lay(make_report(make_graph({"base": [], **{f"h{n}": ["base"] for n in range(1_000)}})))

    assert layout.lanes <= 2


def test_lay_out__ten_thousand_in_a_cycle__does_not_recurse() -> None:
    parents = make_chain(10_000)
    parents["r000"] = ["r9999"]

    assert len(list(lay(make_report(make_graph(parents))).rows)) == 10_000
