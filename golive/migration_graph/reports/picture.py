"""The graph as a self-contained SVG without scripts, in the viewer's light or dark colour scheme."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Final

from golive.migration_graph.model import Node, Report
from golive.migration_graph.reports.defects import Defects, find_defects, mark
from golive.migration_graph.reports.drawing import ROW_HEIGHT, draw_row, draw_run, measure
from golive.migration_graph.reports.layout import Row, Run, lay_out
from golive.migration_graph.reports.offer import describe_offer, summarize
from golive.migration_graph.reports.words import count, describe_size, get_noun, make_visible, show

MARGIN: Final = 16
HEAD: Final = 84
# The width of a monospaced character at 13 px, rounded up.
CHARACTER_WIDTH: Final = 8.2
MAX_LABEL_LENGTH: Final = 72
MAX_TITLE_LENGTH: Final = 110
MAX_NAMES_IN_TOOLTIP: Final = 200
STYLE: Final = (Path(__file__).parent / "picture.css").read_text(encoding="ascii")


def render(report: Report) -> str:
    # ASCII with character references: safe in any encoding.
    return "\n".join(_write(report)).encode("ascii", "xmlcharrefreplace").decode() + "\n"


def _write(report: Report) -> Iterator[str]:
    defects = find_defects(report)
    layout = lay_out(report.graph, defects)
    lanes = measure(layout.lanes)
    labels = [_describe(report, item) for item in layout.items]
    titles = [summarize(report), describe_offer(report) or "Every revision has its place.", describe_size(report)]
    titles = [show(title, MAX_TITLE_LENGTH) for title in titles]
    widest = max([len(title) for title in titles] + [len(label) + 4 + lanes / CHARACTER_WIDTH for label in labels])
    width, height = round(2 * MARGIN + widest * CHARACTER_WIDTH), HEAD + ROW_HEIGHT * len(labels) + MARGIN
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'role="img" aria-labelledby="title description">'
    )
    yield f'<title id="title">{escape(titles[0])}</title><desc id="description">{escape(titles[1])}</desc>'
    yield f'<style>{STYLE}</style><rect width="{width}" height="{height}" class="ground"/>'
    verdict = "good" if report.sound else "bad"
    yield f'<text x="{MARGIN}" y="30" class="verdict {verdict}">{escape(titles[0])}</text>'
    yield f'<text x="{MARGIN}" y="50" class="answer">{escape(titles[1])}</text>'
    yield f'<text x="{MARGIN}" y="68" class="quiet">{escape(titles[2])}</text>'
    for index, (item, label) in enumerate(zip(layout.items, labels)):
        yield f'<g transform="translate({MARGIN} {HEAD + ROW_HEIGHT * index})">'
        yield (
            _draw(report, defects, item) + f'<text x="{lanes + 8}" y="21" {_classify(item)}>{escape(label)}</text></g>'
        )
    yield "</svg>"


def _describe(report: Report, item: Row | Run) -> str:
    if isinstance(item, Run):
        return count(len(item.rows), get_noun(report))
    node = report.graph.nodes[item.key]
    return show(f"{node.name}  {node.message or node.key}", MAX_LABEL_LENGTH)


def _classify(item: Row | Run) -> str:
    return 'class="quiet label"' if isinstance(item, Run) else 'class="label"'


def _draw(report: Report, defects: Defects, item: Row | Run) -> str:
    nodes = [report.graph.nodes[row.key] for row in (item.rows if isinstance(item, Run) else (item,))]
    drawn = draw_run(item) if isinstance(item, Run) else draw_row(item, mark(defects, item.key))
    return f"<title>{escape(_make_tooltip(nodes))}</title>{drawn}"


def _make_tooltip(nodes: list[Node]) -> str:
    """The tooltip of a row: the names, or for a single revision its name and place."""
    if len(nodes) == 1:
        return make_visible(f"{nodes[0].name} in {nodes[0].key}:{nodes[0].line}")
    more = f" and {len(nodes) - MAX_NAMES_IN_TOOLTIP} more" if len(nodes) > MAX_NAMES_IN_TOOLTIP else ""
    return ", ".join(show(node.name) for node in nodes[:MAX_NAMES_IN_TOOLTIP]) + more
