"""Lay out the graph: one row per revision, newest first, on lanes; long runs without defects are folded.

A cycle cannot be ordered. Its best remedy is removed to order the rows, and the edges that then point upwards are drawn
on lanes of their own, left of all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from golive.migration_graph.compat import StrEnum
from golive.migration_graph.model import Graph
from golive.migration_graph.reports.defects import Arrow, Defects

# Folding a shorter run would not make the graph easier to read.
MIN_RUN_LENGTH = 4


class Style(StrEnum):
    PARENT = "parent"
    DEPENDENCY = "dependency"
    LOOP = "loop"
    CUT = "cut"


# Child key -> its edges and their styles.
Edges = Mapping[str, Mapping[Arrow, Style]]


class Course(StrEnum):
    """How a strand crosses a row: past the node, or between the node and the row's upper or lower edge."""

    PAST = "past"
    ABOVE = "above"
    BELOW = "below"


@dataclass(frozen=True)
class Strand:
    """The part of an edge in one row. `is_end`: it reaches its parent here, from below."""

    lane: int
    course: Course
    style: Style
    is_end: bool = False


@dataclass(frozen=True)
class Row:
    key: str
    lane: int
    strands: tuple[Strand, ...]


@dataclass(frozen=True)
class Run:
    """Consecutive rows of one line of descent without defects, to be folded."""

    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Layout:
    """`items` from top to bottom; `lanes` is the number of lanes."""

    items: tuple[Row | Run, ...]
    lanes: int

    @property
    def rows(self) -> Iterator[Row]:
        for item in self.items:
            yield from item.rows if isinstance(item, Run) else (item,)


def lay_out(graph: Graph, defects: Defects) -> Layout:
    edges = get_edges(graph, defects)
    upward = _find_upward(edges, defects)
    downward = {key: [arrow for arrow in arrows if arrow not in upward] for key, arrows in edges.items()}
    order = _sort(downward)
    gutters = _assign_gutters(order, upward)
    width = max(gutters.values(), default=-1) + 1
    rows, lanes = _Drawer(edges, downward, gutters, width).draw(order)
    return Layout(tuple(_fold(rows, edges, upward, defects)), width + lanes)


def get_edges(graph: Graph, defects: Defects) -> Edges:
    """Child key -> its edges and their styles. Two edges between the same nodes are drawn as one."""

    def choose(arrow: Arrow, plain: Style) -> Style:
        if arrow in defects.cuts:
            return Style.CUT
        return Style.LOOP if arrow in defects.loop else plain

    edges = {}
    for key in graph.nodes:
        styles = {(key, end): choose((key, end), Style.DEPENDENCY) for end in graph.dependencies.get(key, ())}
        styles |= {(key, end): choose((key, end), Style.PARENT) for end in graph.parents.get(key, ())}
        # Parents first: they continue on the lane of the child.
        edges[key] = dict(sorted(styles.items(), key=lambda item: item[1] is Style.DEPENDENCY))
    return edges


def _find_upward(edges: Edges, defects: Defects) -> set[Arrow]:
    """Edges whose removal leaves no cycle: those of the remedies, as far as needed, and any others that close one."""
    upward: set[Arrow] = set()
    without_cuts = {key: [end for _, end in arrows if (key, end) not in defects.cuts] for key, arrows in edges.items()}
    upward |= _find_closing(without_cuts)
    for child, end in reversed(defects.cuts):  # the best remedy comes last, so that it is the one that closes the cycle
        if child == end or _can_reach(without_cuts, end, child, upward):
            upward.add((child, end))
        else:
            without_cuts[child].append(end)
    return upward


def _find_closing(ends: Mapping[str, Sequence[str]]) -> set[Arrow]:
    """The back edges of a depth-first search that starts at the newest nodes."""
    has_child = set(chain.from_iterable(ends.values()))
    closing: set[Arrow] = set()
    done: set[str] = set()
    for start in sorted(ends, key=lambda key: key in has_child):
        if start in done:
            continue
        on_path = {start: iter(ends[start])}
        while on_path:
            key = next(reversed(on_path))
            for end in on_path[key]:
                if end in on_path:
                    closing.add((key, end))
                elif end not in done:
                    on_path[end] = iter(ends[end])
                    break
            else:
                del on_path[key]
                done.add(key)
    return closing


def _can_reach(ends: Mapping[str, Sequence[str]], start: str, goal: str, without: set[Arrow]) -> bool:
    seen, todo = {start}, [start]
    while todo:
        key = todo.pop()
        if key == goal:
            return True
        further = [end for end in ends[key] if (key, end) not in without and end not in seen]
        seen.update(further)
        todo += further
    return False


def _sort(downward: dict[str, list[Arrow]]) -> list[str]:
    """Topological order, children before parents, keeping each line of descent together where possible."""
    children_left = dict.fromkeys(downward, 0)
    for _, end in chain.from_iterable(downward.values()):
        children_left[end] += 1
    ready = [key for key in reversed(downward) if not children_left[key]]
    order = []
    while ready:
        key = ready.pop()
        order.append(key)
        for _, end in reversed(downward[key]):
            children_left[end] -= 1
            if not children_left[end]:
                ready.append(end)
    return order


def _assign_gutters(order: Sequence[str], upward: set[Arrow]) -> dict[Arrow, int]:
    """Assign a lane to each upward edge; edges that do not overlap share one."""
    places = {key: index for index, key in enumerate(order)}
    taken: list[int] = []  # the last row in which each lane is used
    gutters = {}
    for arrow in sorted(upward, key=lambda arrow: (places[arrow[1]], places[arrow[0]])):
        lane = next((lane for lane, lowest in enumerate(taken) if lowest < places[arrow[1]]), len(taken))
        taken[lane : lane + 1] = [places[arrow[0]]]
        gutters[arrow] = lane
    return gutters


class _Drawer:
    """Draws row by row, tracking which node each lane leads to."""

    def __init__(
        self, edges: Edges, downward: Mapping[str, Sequence[Arrow]], gutters: Mapping[Arrow, int], width: int
    ) -> None:
        self._edges = edges
        self._downward = downward
        self._gutters = gutters
        self._width = width
        # Per lane: the node that it leads to and the style; None: the lane is free.
        self._lanes: list[tuple[str, Style] | None] = []
        self._open: dict[Arrow, int] = {}
        self._by_end: dict[str, list[Arrow]] = {}
        self._by_start: dict[str, list[Arrow]] = {}
        for arrow in gutters:
            self._by_start.setdefault(arrow[0], []).append(arrow)
            self._by_end.setdefault(arrow[1], []).append(arrow)

    def draw(self, order: Sequence[str]) -> tuple[list[Row], int]:
        """The rows, and the number of lanes used."""
        rows = [self._draw_row(key) for key in order]
        return rows, len(self._lanes)

    def _draw_row(self, key: str) -> Row:
        strands = list(self._draw_gutters(key))
        mine = [lane for lane, held in enumerate(self._lanes) if held is not None and held[0] == key]
        for lane, held in enumerate(self._lanes):
            if held is not None:
                course = Course.ABOVE if held[0] == key else Course.PAST
                strands.append(Strand(self._width + lane, course, held[1]))
        for lane in mine:
            self._lanes[lane] = None
        own = mine[0] if mine else self._find_free()
        if own == len(self._lanes):
            self._lanes.append(None)
        strands += self._draw_below(key, own)
        return Row(key, self._width + own, tuple(strands))

    def _draw_gutters(self, key: str) -> Iterator[Strand]:
        for arrow, lane in list(self._open.items()):
            ends_here = arrow[0] == key
            yield Strand(lane, Course.ABOVE if ends_here else Course.PAST, self._edges[arrow[0]][arrow])
            if ends_here:
                del self._open[arrow]
        for arrow in self._by_end.get(key, ()):
            style, lane = self._edges[arrow[0]][arrow], self._gutters[arrow]
            yield Strand(lane, Course.BELOW, style, is_end=True)
            if arrow[0] == key:  # a self-reference: both ends are in one row
                yield Strand(lane, Course.ABOVE, style)
            else:
                self._open[arrow] = lane

    def _draw_below(self, key: str, own: int) -> Iterator[Strand]:
        for arrow in self._downward[key]:
            target = (arrow[1], self._edges[key][arrow])
            if target in self._lanes:  # a lane from another child already leads there
                lane = self._lanes.index(target)
            else:
                lane = own if self._lanes[own] is None else self._find_free()
                self._lanes[lane : lane + 1] = [target]
            yield Strand(self._width + lane, Course.BELOW, target[1])

    def _find_free(self) -> int:
        return next((lane for lane, held in enumerate(self._lanes) if held is None), len(self._lanes))


def _fold(rows: Sequence[Row], edges: Edges, upward: set[Arrow], defects: Defects) -> Iterator[Row | Run]:
    """The rows, with long runs of plain ones folded."""
    children: dict[str, int] = dict.fromkeys(edges, 0)
    for _, end in chain.from_iterable(edges.values()):
        children[end] += 1
    marked = defects.pinned | set(chain.from_iterable(upward))

    def is_plain(row: Row) -> bool:
        return row.key not in marked and len(edges[row.key]) == 1 and children[row.key] == 1

    run: list[Row] = []
    for row in rows:
        follows = bool(run) and (run[-1].key, row.key) in edges[run[-1].key] and run[-1].lane == row.lane
        if run and not (follows and is_plain(row)):
            yield from _close(run)
            run = []
        if is_plain(row):
            run.append(row)
        else:
            yield row
    yield from _close(run)


def _close(run: list[Row]) -> Iterator[Row | Run]:
    if len(run) >= MIN_RUN_LENGTH:
        yield Run(tuple(run))
    else:
        yield from run
