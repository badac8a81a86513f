"""The report for readers who are not developers: what is affected, since when, what to do; then every finding."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Final

from golive.migration_graph.model import Commit, Edge, Edit, Finding, Report, Severity
from golive.migration_graph.reports.offer import (
    MAX_COMMAND_LENGTH,
    Offer,
    describe_change,
    describe_cut,
    describe_outcome,
    describe_replaced,
    find_offer,
    get_verb,
    get_written,
    summarize,
)
from golive.migration_graph.reports.words import (
    MAX_NAME_LENGTH,
    NO_SINGLE_EDIT,
    PENDING_TITLE,
    count,
    describe_severity,
    describe_size,
    make_visible,
    name_place,
    shorten_cycle,
    show,
)

MAX_SHOWN: Final = {Severity.ERROR: 50, Severity.WARNING: 10, Severity.INFO: 10}
MAX_CUTS: Final = 10
# Everything that Markdown could interpret as markup, a tag or a link in the middle of a line. `@` becomes code: nothing
# else keeps GitHub from notifying the user of that name.
_MARKS: Final = re.compile(r"@+|[\\`*_\[\]<>#~&:$]|(?<=www)\.", re.IGNORECASE)
_REFERENCES: Final = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "`": "&#96;"}


def render(report: Report) -> str:
    return "\n".join(_write(report)) + "\n"


def _write(report: Report) -> Iterator[str]:
    yield f"# Migration audit: {summarize(report).lower()}"
    yield ""
    yield f"{quote(report.path)}: {escape(describe_size(report))}."
    offer = find_offer(report)
    if offer is not None:
        yield from _write_offer(report, offer)
    elif not report.sound:
        yield ""
        yield NO_SINGLE_EDIT
        if report.last_sound is not None:
            yield ""
            yield f"Last sound: {_describe_commit(report.last_sound)}."
    if report.findings:
        yield ""
        yield "## Findings"
        for _, findings in groupby(report.findings, lambda finding: (finding.code, describe_severity(finding))):
            yield from _write_group(list(findings))
    yield from _write_history(report)
    if report.pending is not None:
        yield ""
        yield f"## {PENDING_TITLE}"
        yield ""
        yield from (f"1. {quote(name)}" for name in report.pending)
        if not report.pending:
            yield "Nothing."


def _write_offer(report: Report, offer: Offer) -> Iterator[str]:
    yield ""
    yield "| | |"
    yield "|---|---|"
    yield _write_row("What is affected", _describe_affected(offer.finding))
    yield _write_row("Since when", _describe_since(offer.finding.introduced_by))
    if report.last_sound is not None:
        yield _write_row("Last sound", _describe_commit(report.last_sound))
    yield _write_row("What to do", _describe_answer(offer))
    if offer.outcome:
        yield _write_row("Then", escape(offer.outcome))
    if offer.because:
        yield _write_row("Why this one", "; ".join(escape(reason) for reason in offer.because))


def _write_row(name: str, text: str) -> str:
    """A row of the table. An unescaped bar would end the cell, even inside code."""
    bar = "\\|"
    return f"| **{name}** | {text.replace('|', bar)} |"


def _describe_affected(finding: Finding) -> str:
    if finding.affected is None:
        return escape(finding.message)
    return f"{count(finding.affected, 'migration')} cannot be put in order, so no deploy can run any that is new."


def _describe_since(commit: Commit | None) -> str:
    if commit is None:
        return "Not known: no commit could be found for it."
    return _describe_commit(commit)


def _describe_commit(commit: Commit) -> str:
    return f"{escape(show(commit.date)[:10])}, commit {_name_commit(commit)}"


def _name_commit(commit: Commit) -> str:
    author = f" by {escape(show(commit.author))}" if commit.author else ""
    return f"{quote(commit.commit[:12])} ({quote(commit.subject)}){author}"


def _describe_answer(offer: Offer) -> str:
    headline = offer.headline
    if headline is None:
        return f"Ask who knows which of {offer.ties} edits is wrong: nothing tells them apart. They are listed below."
    if headline.command is not None:
        return f"Run {quote(headline.command, MAX_COMMAND_LENGTH)}."
    return f"{'; '.join(_describe_edit(edit, get_verb(headline)) for edit in headline.edits)}."


def _describe_edit(edit: Edit, verb: str) -> str:
    return f"In {_quote_place(edit)}, {verb} {quote(get_written(edit))}{describe_replaced(edit, quote)}"


def _quote_edge(edge: Edge) -> str:
    return f"{quote(edge.child)} → {quote(edge.parent)}"


def _quote_place(thing: Edge | Edit | Finding) -> str:
    return quote(name_place(thing.file, thing.line))


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
        yield f"  - Since {escape(show(finding.introduced_by.date)[:10])}, {_name_commit(finding.introduced_by)}"
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
            ended = f"ended by {_name_commit(episode.ended)}" if episode.ended is not None else "not fixed yet"
            yield f"- {episode.code} {escape(episode.summary)}: began with {_name_commit(episode.began)}, {ended}"


def escape(text: str) -> str:
    """Untrusted text to be shown verbatim: on one line, with all markup escaped."""
    text = make_visible(" ".join(text.split("\n")))
    return _MARKS.sub(_escape_mark, text)


def _escape_mark(match: re.Match[str]) -> str:
    mark = match[0]
    return f"`{mark}`" if mark.startswith("@") else _REFERENCES.get(mark, f"\\{mark}")


def quote(text: str, max_length: int = MAX_NAME_LENGTH) -> str:
    """Untrusted text as inline code."""
    text = show(text, max_length)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    inner = f" {text} " if text.startswith(("`", " ")) or text.endswith(("`", " ")) or not text else text
    return f"{fence}{inner}{fence}"
