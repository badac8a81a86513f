"""The findings and the past episodes on the page."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from golive.migration_graph.catalogue import CATALOGUE
from golive.migration_graph.model import Cut, Episode, Finding, Report
from golive.migration_graph.reports.markup import code, commit_text, text
from golive.migration_graph.reports.offer import describe_change, describe_cut, describe_outcome
from golive.migration_graph.reports.words import (
    NOT_MINIMAL,
    count,
    describe_severity,
    name_edge,
    name_place,
    shorten_cycle,
)

# Remedies visible at first, and listed in total.
MAX_VISIBLE_CUTS, MAX_CUTS = 3, 50


def write_findings(report: Report) -> Iterator[str]:
    if not report.findings:
        return
    yield '<section aria-labelledby="findings"><h2 id="findings">Findings</h2>'
    for _, findings in groupby(report.findings, lambda finding: (finding.code, describe_severity(finding))):
        yield from _write_group(list(findings))
    yield "</section>"


def _write_group(findings: list[Finding]) -> Iterator[str]:
    first = findings[0]
    is_open = " open" if first.is_new_error else ""
    yield f'<details class="card finding"{is_open}><summary><h3>'
    yield f'<span class="severity" data-severity="{first.severity.value}">{describe_severity(first)}</span> '
    yield f"{text(first.code)} {text(first.name)}</h3>"
    yield f"<span>{count(len(findings), 'finding')}</span></summary>"
    yield f'<p class="meaning">{text(CATALOGUE[first.code].meaning)}</p>'
    yield "<ul>"
    for finding in findings:
        yield from _write_finding(finding)
    yield "</ul></details>"


def _write_finding(finding: Finding) -> Iterator[str]:
    place = f"<p>{code(name_place(finding.file, finding.line))}</p>" if finding.file is not None else ""
    yield f"<li>{place}<p>{text(finding.message)}</p>"
    if finding.hint:
        yield f'<p class="hint">{text(finding.hint)}</p>'
    if finding.introduced_by is not None:
        yield f"<p>Since {commit_text(finding.introduced_by)}</p>"
    if finding.edit is not None:
        yield f"<p>The commit changed {describe_change(finding.edit, code)}</p>"
    if finding.cycle:
        yield f"<p>The cycle: {' &rarr; '.join(code(name) for name in shorten_cycle(finding.cycle))}</p>"
        yield from _write_cuts(finding)
    yield "</li>"


def _write_cuts(finding: Finding) -> Iterator[str]:
    yield '<ol class="cuts">'
    for cut in finding.cuts[:MAX_VISIBLE_CUTS]:
        yield from _write_cut(cut)
    yield "</ol>"
    if others := finding.cuts[MAX_VISIBLE_CUTS:]:
        yield f"<details><summary>{count(len(others), 'more remedy', 'more remedies')}</summary>"
        yield f'<ol class="cuts" start="{MAX_VISIBLE_CUTS + 1}">'
        for cut in others[: MAX_CUTS - MAX_VISIBLE_CUTS]:
            yield from _write_cut(cut)
        yield "</ol>"
        if len(finding.cuts) > MAX_CUTS:
            yield f"<p>And {len(finding.cuts) - MAX_CUTS} more.</p>"
        yield "</details>"
    if finding.is_minimal is False:
        yield f"<p>{NOT_MINIMAL}.</p>"


def _write_cut(cut: Cut) -> Iterator[str]:
    edges = (f"{code(name_edge(edge))} ({code(name_place(edge.file, edge.line))})" for edge in cut.edges)
    yield f"<li><span>Rank {cut.rank}</span> Take out {describe_cut(cut, edges, code)}"
    reasons = [*cut.because, *([f"then: {outcome}"] if (outcome := describe_outcome(cut)) else [])]
    if reasons:
        yield f"<ul>{''.join(f'<li>{text(line)}</li>' for line in reasons)}</ul>"
    yield "</li>"


def write_episodes(report: Report) -> Iterator[str]:
    if not report.episodes and not report.history_note:
        return
    yield '<section class="card" aria-labelledby="episodes"><h2 id="episodes">History</h2>'
    if report.history_note:
        yield f"<p>{text(report.history_note)}</p>"
    if report.episodes:
        yield '<ol class="episodes">'
        yield from (_write_episode(episode) for episode in report.episodes)
        yield "</ol>"
    yield "</section>"


def _write_episode(episode: Episode) -> str:
    ended = f"Ended {commit_text(episode.ended)}" if episode.ended is not None else "Not fixed yet"
    return (
        f"<li><p><b>{text(episode.code)}</b> {text(episode.summary)}</p>"
        f"<p>Began {commit_text(episode.began)}</p><p>{ended}</p></li>"
    )
