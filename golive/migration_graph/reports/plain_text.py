"""The report for a terminal: verdict, answer, findings, history. Short for a sound graph."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from textwrap import wrap

from golive.migration_graph.model import ComparedDatabase, Cut, Edit, Episode, Finding, Report, Severity
from golive.migration_graph.reports.offer import (
    MAX_COMMAND_LENGTH,
    Offer,
    describe_change,
    describe_cut,
    describe_edge,
    describe_outcome,
    describe_replaced,
    find_offer,
    get_verb,
    get_written,
    is_tied,
    summarize,
)
from golive.migration_graph.reports.words import (
    NOT_MINIMAL,
    describe_knowledge,
    describe_not_read,
    describe_severity,
    describe_size,
    list_names,
    make_visible,
    name_commit,
    name_place,
    shorten_cycle,
    show,
)

WIDTH = 100
# Findings shown per code: many errors, but only a few that are merely worth a look.
MAX_SHOWN = {Severity.ERROR: 20, Severity.WARNING: 3, Severity.INFO: 3}
MAX_CUTS = 3
_COLOURS = {"error": "31", "warning": "33", "info": "36", "good": "32", "bold": "1", "quiet": "2"}


def render(report: Report, *, is_coloured: bool = False) -> str:
    return "\n".join(_Writer(is_coloured).write(report)) + "\n"


class _Writer:
    def __init__(self, is_coloured: bool) -> None:
        self._is_coloured = is_coloured
        self._answered: Finding | None = None

    def _paint(self, text: str, *styles: str) -> str:
        if not self._is_coloured:
            return text
        return f"\x1b[{';'.join(_COLOURS[style] for style in styles)}m{text}\x1b[0m"

    def write(self, report: Report) -> Iterator[str]:
        yield self._paint(summarize(report), "good" if report.sound else "error", "bold")
        yield f"{describe_size(report)}, in {make_visible(report.path)}"
        yield from describe_not_read(report)
        offer = find_offer(report)
        if offer is not None:
            # Do not repeat in the findings what the answer already says.
            self._answered = offer.finding if offer.headline else None
            yield ""
            yield from self._write_offer(offer)
        if report.last_sound is not None and not report.sound:
            yield ""
            yield f"last sound: {name_commit(report.last_sound)}"
        for (_, severity), findings in groupby(report.findings, lambda finding: (finding.code, finding.severity)):
            yield from self._write_group(list(findings), MAX_SHOWN[severity])
        yield from self._write_history(report)
        for database in report.databases:
            yield ""
            yield from _write_plan(report, database)

    def _write_offer(self, offer: Offer) -> Iterator[str]:
        headline = offer.headline
        if headline is None:
            yield f"One of these {offer.ties} remedies, which nothing tells apart:"
            yield from (f"  take out {_describe_cut(cut)}" for cut in offer.tied[:MAX_CUTS])
            if offer.ties > MAX_CUTS:
                yield f"  and {offer.ties - MAX_CUTS} more, listed by --format json"
        else:
            yield from (self._describe_edit(edit, get_verb(headline)) for edit in headline.edits)
            if headline.command is not None:
                yield f"run {self._paint(show(headline.command, MAX_COMMAND_LENGTH), 'good', 'bold')}"
        if offer.finding.introduced_by is not None:
            yield f"  since commit {name_commit(offer.finding.introduced_by)}"
        for reason in offer.because:
            yield from _fold(f"because {reason}", "  ")
        if offer.outcome:
            yield f"  then: {offer.outcome}"

    def _describe_edit(self, edit: Edit, verb: str) -> str:
        place = self._paint(name_place(edit.file, edit.line), "bold")
        value = self._paint(show(get_written(edit)), "good", "bold")
        return f"{place}: {verb} {value}{describe_replaced(edit, show)}"

    def _write_group(self, findings: list[Finding], limit: int) -> Iterator[str]:
        yield ""
        for finding in findings[:limit]:
            yield from self._write_finding(finding)
        if len(findings) > limit:
            yield self._paint(
                f"{findings[0].code} and {len(findings) - limit:,} more, listed by --format json", "quiet"
            )

    def _write_finding(self, finding: Finding) -> Iterator[str]:
        code = self._paint(f"{finding.code} {finding.name}", finding.severity.value, "bold")
        place = name_place(finding.file, finding.line)
        yield f"{code} ({describe_severity(finding)})" + (f" {place}" if place else "")
        yield from _fold(finding.message, "  ")
        if finding.hint and finding is not self._answered:
            yield from _fold(finding.hint, "  ")
        if finding.cycle:
            yield from _fold(" -> ".join(shorten_cycle(finding.cycle)), "  cycle: ")
            yield from self._write_cuts(finding)
        if finding.introduced_by is not None:
            yield f"  since commit {name_commit(finding.introduced_by)}"
        if finding.edit is not None:
            place = name_place(finding.edit.file, finding.edit.line)
            yield from _fold(f"which changed {place} from {describe_change(finding.edit, show)}", "  ")

    def _write_cuts(self, finding: Finding) -> Iterator[str]:
        for cut in finding.cuts[:MAX_CUTS]:
            rank = f"{cut.rank}{'=' if is_tied(finding, cut) else '.'}"
            then = f"; then: {outcome}" if (outcome := describe_outcome(cut)) else ""
            yield from _fold(f"take out {_describe_cut(cut)}{then}", f"  remedy {rank} ")
        if len(finding.cuts) > MAX_CUTS:
            yield f"  and {len(finding.cuts) - MAX_CUTS} more remedies, listed by --format json"
        if finding.is_minimal is False:
            yield f"  {NOT_MINIMAL.lower()}"

    def _write_history(self, report: Report) -> Iterator[str]:
        if report.history_note:
            yield ""
            yield from _fold(report.history_note, "history: ")
        if report.episodes:
            yield ""
            yield self._paint("Episodes, newest first", "bold")
            for episode in report.episodes:
                yield from _describe_episode(episode)


def _write_plan(report: Report, database: ComparedDatabase) -> Iterator[str]:
    which = "" if len(report.databases) == 1 else f" of {show(database.name)}"
    if database.pending is None:
        yield from _fold(f"No upgrade{which} is possible: the findings say why.")
    else:
        yield from _fold(f"An upgrade{which} would run, in this order: {list_names(database.pending, 50)}")
    if knowledge := describe_knowledge(database):
        yield from _fold(knowledge)


def _describe_cut(cut: Cut) -> str:
    return describe_cut(cut, map(describe_edge, cut.edges), show)


def _describe_episode(episode: Episode) -> Iterator[str]:
    yield from _fold(f"{episode.code} {episode.summary}", "  ")
    yield f"    began {name_commit(episode.began)}"
    yield f"    ended {name_commit(episode.ended)}" if episode.ended is not None else "    not fixed yet"


def _fold(text: str, indent: str = "") -> list[str]:
    """Wrap the text to a readable width, with a hanging indent."""
    text = make_visible(" ".join(text.split("\n")))
    return wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=" " * len(indent),
        break_long_words=False,
        break_on_hyphens=False,
    )
