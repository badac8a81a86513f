"""The graph with its long runs folded, as nodes and edges, for formats that do their own layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from golive.migration_graph.model import Report
from golive.migration_graph.reports.defects import Defects
from golive.migration_graph.reports.layout import Row, Run, Style, get_edges, lay_out


@dataclass(frozen=True)
class Piece:
    """One revision, or a run of them (newest first); `id` is unique and safe in any markup."""

    id: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """An edge from a piece to one of its parents, by id."""

    child: str
    parent: str
    style: Style


def condense(report: Report, defects: Defects) -> tuple[list[Piece], list[Line]]:
    layout = lay_out(report.graph, defects)
    pieces = [Piece(f"n{number}", _get_keys(item)) for number, item in enumerate(layout.items)]
    ids = {key: piece.id for piece in pieces for key in piece.keys}
    return pieces, list(_find_lines(report, defects, ids))


def _get_keys(item: Row | Run) -> tuple[str, ...]:
    return tuple(row.key for row in item.rows) if isinstance(item, Run) else (item.key,)


def _find_lines(report: Report, defects: Defects, ids: dict[str, str]) -> Iterator[Line]:
    for arrows in get_edges(report.graph, defects).values():
        for (child, end), style in arrows.items():
            is_inside = ids[child] == ids[end] and child != end
            if not is_inside:
                yield Line(ids[child], ids[end], style)
