"""Draw one row of the layout as SVG elements, for the picture and the page, each with its own style sheet."""

from __future__ import annotations

from golive.migration_graph.reports.layout import Course, Row, Run, Strand, Style

# In pixels.
LANE_WIDTH = 16
ROW_HEIGHT = 32
_MIDDLE = ROW_HEIGHT // 2
_RADIUS = 5


def measure(lanes: int) -> int:
    """The total width of the lanes in pixels."""
    return LANE_WIDTH * max(lanes, 1)


def draw_row(row: Row, marks: str = "") -> str:
    """The strands and the node of a row. `marks` are the CSS classes of the node."""
    x = _get_x(row.lane)
    # The most important style is drawn last, on top.
    strands = sorted(row.strands, key=lambda strand: list(Style).index(strand.style))
    paths = "".join(_draw_strand(strand, x) for strand in strands)
    return f'{paths}<circle cx="{x}" cy="{_MIDDLE}" r="{_RADIUS}" class="{f"node {marks}".strip()}"/>'


def draw_run(run: Run) -> str:
    """A folded run: its own lane is dotted, the others pass through."""
    first = run.rows[0]
    x = _get_x(first.lane)
    style = next((s.style for s in first.strands if s.course is Course.BELOW), Style.PARENT)
    past = [strand for strand in first.strands if strand.course is Course.PAST]
    paths = "".join(_draw_strand(strand, x) for strand in past)
    return f'{paths}<path d="M{x} 0V{ROW_HEIGHT}" class="edge {style} run"/>'


def _draw_strand(strand: Strand, x: int) -> str:
    """`x` is the position of the row's node."""
    lane = _get_x(strand.lane)
    if strand.course is Course.PAST:
        course = f"M{lane} 0V{ROW_HEIGHT}"
    elif strand.course is Course.ABOVE:
        course = f"M{lane} 0V{_MIDDLE}" if lane == x else f"M{lane} 0Q{lane} {_MIDDLE} {x} {_MIDDLE}"
    else:
        course = f"M{x} {_MIDDLE}V{ROW_HEIGHT}" if lane == x else f"M{x} {_MIDDLE}Q{lane} {_MIDDLE} {lane} {ROW_HEIGHT}"
    path = f'<path d="{course}" class="edge {strand.style}"/>'
    if not strand.is_end:
        return path
    return f'{path}<path d="M{x - _RADIUS - 1} {_MIDDLE}l-7-4v8z" class="tip {strand.style}"/>'


def _get_x(lane: int) -> int:
    return LANE_WIDTH * lane + LANE_WIDTH // 2
