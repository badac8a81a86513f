"""The report as one HTML file: the answer, the graph with the defect in the middle, the findings.

It loads and sends nothing: its Content-Security-Policy allows only its own style and script. Without the script only
the search and the keyboard shortcuts are missing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from golive.migration_graph.model import Edge, Report
from golive.migration_graph.reports.defects import find_defects
from golive.migration_graph.reports.markup import code, commit_text, text
from golive.migration_graph.reports.offer import (
    MAX_COMMAND_LENGTH,
    Offer,
    describe_cut,
    describe_replaced,
    find_offer,
    get_verb,
    get_written,
    summarize,
)
from golive.migration_graph.reports.page_findings import write_episodes, write_findings
from golive.migration_graph.reports.page_graph import write_graph
from golive.migration_graph.reports.words import (
    NO_PLAN,
    NO_SINGLE_EDIT,
    count,
    describe_knowledge,
    describe_not_read,
    describe_size,
    list_names,
    name_edge,
    name_place,
    title_plan,
)

_HERE: Final = Path(__file__).parent
STYLE: Final = (_HERE / "page.css").read_text(encoding="ascii")
SCRIPT: Final = (_HERE / "page.js").read_text(encoding="ascii")
MAX_PENDING: Final = 50


def render(report: Report) -> str:
    # ASCII with character references: safe in any encoding.
    return "\n".join(_write(report)).encode("ascii", "xmlcharrefreplace").decode() + "\n"


def _write(report: Report) -> Iterator[str]:
    defects = find_defects(report)
    yield "<!doctype html>"
    yield '<html lang="en">'
    yield "<head>"
    yield '<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_get_policy()}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="color-scheme" content="light dark">'
    yield '<meta name="referrer" content="no-referrer">'
    yield f"<title>{text(f'Migration audit: {summarize(report).lower()}')}</title>"
    yield '<link rel="icon" href="data:,">'
    yield f"<style>{STYLE}</style>"
    yield "</head>"
    yield "<body>"
    yield f'<header data-sound="{"yes" if report.sound else "no"}"><p>Migration audit</p>'
    yield f"<h1>{text(summarize(report))}</h1>"
    yield f"<p>{text(describe_size(report))}, in {code(report.path)}</p>"
    yield from (f"<p>{text(sentence)}</p>" for sentence in describe_not_read(report))
    yield "</header>"
    yield "<main>"
    yield from _write_answer(report, find_offer(report))
    yield from write_graph(report, defects)
    yield from write_findings(report)
    yield from write_episodes(report)
    yield from _write_pending(report)
    yield "</main>"
    yield f"<script>{SCRIPT}</script>"
    yield "</body>"
    yield "</html>"


def _get_policy() -> str:
    style, script = (base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (STYLE, SCRIPT))
    return (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _write_answer(report: Report, offer: Offer | None) -> Iterator[str]:
    if offer is None:
        if not report.sound:
            yield '<section class="card"><h2>What to do</h2>'
            yield f"<p>{NO_SINGLE_EDIT}</p></section>"
        return
    yield '<section class="card answer" aria-labelledby="answer">'
    yield from _write_edit(offer)
    yield "<dl>"
    if offer.finding.introduced_by is not None:
        yield f"<dt>Since</dt><dd>{commit_text(offer.finding.introduced_by)}</dd>"
    if report.last_sound is not None:
        yield f"<dt>Last sound</dt><dd>{commit_text(report.last_sound)}</dd>"
    if offer.finding.affected is not None:
        yield f"<dt>Affects</dt><dd>{count(offer.finding.affected, 'revision')} that cannot be put in order</dd>"
    if offer.because:
        yield f"<dt>Because</dt><dd><ul>{''.join(f'<li>{text(reason)}</li>' for reason in offer.because)}</ul></dd>"
    if offer.outcome:
        yield f"<dt>Then</dt><dd>{text(offer.outcome)}</dd>"
    yield "</dl></section>"


def _write_edit(offer: Offer) -> Iterator[str]:
    headline = offer.headline
    if headline is None:
        yield f'<h2 id="answer">One of {offer.ties} edits is wrong</h2>'
        yield "<p>Nothing tells them apart. Taking out any of these edges breaks the cycle:</p><ul>"
        for cut in offer.tied:
            yield f"<li>{describe_cut(cut, map(_describe_edge, cut.edges), code)}</li>"
        yield "</ul>"
    elif headline.command is not None:
        yield f'<h2 id="answer">Run {code(headline.command, MAX_COMMAND_LENGTH)}</h2>'
    else:
        values = " and ".join(code(get_written(edit)) for edit in headline.edits)
        yield f'<h2 id="answer">{get_verb(headline).capitalize()} {values}</h2>'
        for edit in headline.edits:
            place = f"{code(name_place(edit.file, edit.line))}{describe_replaced(edit, code)}"
            yield f'<p class="place">in {place}</p>'


def _describe_edge(edge: Edge) -> str:
    return f"{code(name_edge(edge))} in {code(name_place(edge.file, edge.line))}"


def _write_pending(report: Report) -> Iterator[str]:
    for database in report.databases:
        yield f'<section class="card"><h2>{title_plan(report, database, code)}</h2>'
        yield f"<p>{NO_PLAN if database.pending is None else text(list_names(database.pending, MAX_PENDING))}</p>"
        if knowledge := describe_knowledge(database):
            yield f"<p>{knowledge}</p>"
        yield "</section>"
