"""The graph on the page: a list of rows, each with its part of the lanes; long runs without defects are folded."""

from __future__ import annotations

from collections.abc import Iterator

from golive.migration_graph.model import Node, Report
from golive.migration_graph.reports.defects import Defects, mark
from golive.migration_graph.reports.drawing import ROW_HEIGHT, draw_row, draw_run, measure
from golive.migration_graph.reports.layout import Layout, Row, Run, lay_out
from golive.migration_graph.reports.markup import code, text
from golive.migration_graph.reports.words import count, get_noun, show

_KEYS = (("/", "search"), ("Enter", "next"), ("j", "down"), ("k", "up"), ("d", "defect"), ("u", "unfold"))
_BUTTONS = (("previous", "Previous"), ("next", "Next"), ("defect", "Show the defect"), ("unfold", "Unfold all"))
_TOOLS = f"""<div class="tools" hidden>
<label for="search">Search</label><input id="search" type="search" autocomplete="off" spellcheck="false">
{"".join(f'<button type="button" data-do="{action}">{label}</button>' for action, label in _BUTTONS)}
<output for="search" aria-live="polite"></output>
<p class="keys">{" ".join(f"<span><kbd>{key}</kbd> {action}</span>" for key, action in _KEYS)}</p>
</div>"""
_LEGEND = """<ul class="legend">
<li><i class="edge parent"></i>comes before</li><li><i class="edge dependency"></i>only ordered before</li>
<li><i class="edge loop"></i>part of a cycle</li><li><i class="edge cut"></i>remedy: take out</li></ul>"""


def write_graph(report: Report, defects: Defects) -> Iterator[str]:
    if not report.graph.nodes:
        return
    layout = lay_out(report.graph, defects)
    writer = _Writer(report, defects, layout)
    yield '<section class="card" aria-labelledby="graph-title"><h2 id="graph-title">Graph, newest first</h2>'
    yield _TOOLS
    yield '<div class="graph" id="graph" role="region" aria-labelledby="graph-title" tabindex="0"><ol>'
    for item in layout.items:
        yield writer.write_run(item) if isinstance(item, Run) else writer.write_row(item)
    yield "</ol></div>"
    yield _LEGEND
    yield "</section>"


class _Writer:
    def __init__(self, report: Report, defects: Defects, layout: Layout) -> None:
        self._report = report
        self._defects = defects
        self._width = measure(layout.lanes)
        self._noun = get_noun(report)
        self._cut_children = {child for child, _ in defects.cuts}
        self._best = defects.cuts[0][0] if defects.cuts else None

    def write_run(self, run: Run) -> str:
        """A folded run, tagged with the findings of all its revisions."""
        codes = {finding.code for row in run.rows for finding in self._defects.findings.get(row.key, ())}
        rows = "".join(self.write_row(row) for row in run.rows)
        return (
            f"<li><details><summary>{self._draw(draw_run(run))}"
            f'<span class="name">{count(len(run.rows), self._noun)}</span>{_tag(codes)}</summary>'
            f"<ol>{rows}</ol></details></li>"
        )

    def write_row(self, row: Row) -> str:
        node = self._report.graph.nodes[row.key]
        findings = self._defects.findings.get(row.key, ())
        classes = "row defect" if row.key in self._defects.pinned else "row"
        best = " data-best" if row.key == self._best else ""
        return (
            f'<li class="{classes}"{best}>{self._draw(draw_row(row, mark(self._defects, row.key)))}'
            f'<a class="name" href="#{_name_row(row.key)}" id="{_name_row(row.key)}">{code(node.name)}</a>'
            f'{_tag({finding.code for finding in findings})}<span class="about">{self._describe(node)}</span>'
            f'<span class="file">{text(show(f"{node.key}:{node.line}"))}</span></li>'
        )

    def _describe(self, node: Node) -> str:
        """The message, and the parents where the lanes do not show them clearly."""
        if not (parents := node.parents):
            after = "base. "
        elif len(parents) > 1 or node.key in self._cut_children:
            after = f"after {', '.join(show(parent) for parent in parents)}. "
        else:
            after = ""
        return text(f"{after}{show(node.message, 300)}".strip())

    def _draw(self, elements: str) -> str:
        return (
            f'<svg width="{self._width}" height="{ROW_HEIGHT}" viewBox="0 0 {self._width} {ROW_HEIGHT}" '
            f'aria-hidden="true">{elements}</svg>'
        )


def _tag(codes: set[str]) -> str:
    return "".join(f'<span class="tag">{text(code_)}</span>' for code_ in sorted(codes))


def _name_row(key: str) -> str:
    """An HTML id that no file name can break out of."""
    return f"row-{key.encode('utf-8', 'surrogatepass').hex()}"
