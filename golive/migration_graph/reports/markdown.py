"""The report in Markdown: a summary to send to stakeholders, one for developers, then every finding."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Final

from golive.migration_graph.model import ComparedDatabase, Edge, Finding, Report, Severity
from golive.migration_graph.reports.markdown_summary import write_summary
from golive.migration_graph.reports.markdown_text import escape, name_commit, quote, quote_place
from golive.migration_graph.reports.offer import describe_change, describe_cut, describe_outcome, summarize
from golive.migration_graph.reports.words import (
    NO_PLAN,
    describe_knowledge,
    describe_severity,
    describe_size,
    shorten_cycle,
    show,
    title_plan,
)

MAX_SHOWN: Final = {Severity.ERROR: 50, Severity.WARNING: 10, Severity.INFO: 10}
MAX_CUTS: Final = 10


def render(report: Report) -> str:
    return "\n".join(_write(report)) + "\n"


def _write(report: Report) -> Iterator[str]:
    yield f"# Migration audit: {summarize(report).lower()}"
    yield ""
    yield f"{quote(report.path)}: {escape(describe_size(report))}."
    yield from write_summary(report)
    if report.findings:
        yield ""
        yield "## Findings"
        for _, findings in groupby(report.findings, lambda finding: (finding.code, describe_severity(finding))):
            yield from _write_group(list(findings))
    yield from _write_history(report)
    for database in report.databases:
        yield from _write_plan(report, database)


def _write_plan(report: Report, database: ComparedDatabase) -> Iterator[str]:
    yield ""
    yield f"## {title_plan(report, database, quote)}"
    yield ""
    if database.pending is None:
        yield NO_PLAN
    else:
        yield from (f"1. {quote(name)}" for name in database.pending)
        if not database.pending:
            yield "Nothing."
    if knowledge := describe_knowledge(database):
        yield ""
        yield knowledge


def _quote_edge(edge: Edge) -> str:
    return f"{quote(edge.child)} → {quote(edge.parent)}"


def _quote_place(thing: Edge | Finding) -> str:
    return quote_place(thing.file, thing.line)


def _write_group(findings: list[Finding]) -> Iterator[str]:
    first = findings[0]
    yield ""
    yield f"### {first.code} {escape(first.name)} ({describe_severity(first)})"
    limit = MAX_SHOWN[first.severity]
    for finding in findings[:limit]:
        yield ""
        yield from _write_finding(finding)
    if len(findings) > limit:
        yield ""
        yield f"And {len(findings) - limit:,} more."


def _write_finding(finding: Finding) -> Iterator[str]:
    place = f"{_quote_place(finding)}: " if finding.file is not None else ""
    yield f"- {place}{escape(finding.message)} {escape(finding.hint)}".rstrip()
    if finding.introduced_by is not None:
        yield f"  - Since {escape(show(finding.introduced_by.date)[:10])}, {name_commit(finding.introduced_by)}"
    if finding.edit is not None:
        yield f"  - The commit changed {describe_change(finding.edit, quote)}"
    if finding.cycle:
        steps = shorten_cycle(finding.cycle)
        yield f"  - The cycle: {' → '.join(quote(name) for name in steps)}"
    for cut in finding.cuts[:MAX_CUTS]:
        described = describe_cut(cut, (f"{_quote_edge(edge)} ({_quote_place(edge)})" for edge in cut.edges), quote)
        then = f"; then {escape(outcome)}" if (outcome := describe_outcome(cut)) else ""
        yield f"  - Remedy, rank {cut.rank}: take out {described}{then}"
    if len(finding.cuts) > MAX_CUTS:
        yield f"  - And {len(finding.cuts) - MAX_CUTS} more remedies"


def _write_history(report: Report) -> Iterator[str]:
    if report.history_note:
        yield ""
        yield f"About the history: {escape(report.history_note)}"
    if report.episodes:
        yield ""
        yield "## Episodes"
        yield ""
        for episode in report.episodes:
            ended = f"ended by {name_commit(episode.ended)}" if episode.ended is not None else "not fixed yet"
            yield f"- {episode.code} {escape(episode.summary)}: began with {name_commit(episode.began)}, {ended}"
