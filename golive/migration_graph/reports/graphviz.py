"""The whole graph in Graphviz's DOT language: nothing folded, defects in red. Render it with `dot -Tsvg`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from golive.migration_graph.model import Report
from golive.migration_graph.reports.defects import find_defects
from golive.migration_graph.reports.layout import Style, get_edges
from golive.migration_graph.reports.offer import describe_offer, summarize
from golive.migration_graph.reports.words import show

_ATTRIBUTES: Final = {
    Style.PARENT: "",
    Style.DEPENDENCY: " [style=dashed]",
    Style.LOOP: ' [color="#c77a7a"]',
    Style.CUT: ' [color="#c01f1f", penwidth=3]',
}


def render(report: Report) -> str:
    return "\n".join(_write(report)) + "\n"


def _write(report: Report) -> Iterator[str]:
    defects = find_defects(report)
    yield "digraph migrations {"
    yield f"  graph [label={_quote(f'{summarize(report)}. {describe_offer(report)}'.strip())}, labelloc=t];"
    yield '  node [shape=box, fontname="monospace"];'
    for key, node in report.graph.nodes.items():
        red = ', color="#c01f1f", penwidth=2' if key in defects.pinned else ""
        yield f"  {_quote(key)} [label={_quote(node.name)}, tooltip={_quote(node.message or key)}{red}];"
    for arrows in get_edges(report.graph, defects).values():
        for (child, end), style in arrows.items():
            yield f"  {_quote(child)} -> {_quote(end)}{_ATTRIBUTES[style]};"
    yield "}"


def _quote(text: str) -> str:
    """A quoted string: Graphviz interprets backslash escapes and `&...;` character references."""
    escaped = show(text, 500).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
    return f'"{escaped}"'
