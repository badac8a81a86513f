"""The answer of an audit: its headline, or the candidates that the evidence cannot tell apart.

Also the sentences about edits and remedies that the text, Markdown and HTML reports share. `quote` is the report's own
escaping of an untrusted value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from golive.migration_graph.model import Action, Cut, Edge, Edit, Finding, Headline, Report
from golive.migration_graph.reports.words import count, describe_severity, describe_shape, name_edge, name_place, show

Quote = Callable[[str], str]
# A command is of no use if it is cut short; but one of thousands of names is not for reading either.
MAX_COMMAND_LENGTH = 1_000


@dataclass(frozen=True)
class Offer:
    """What a report says first: its headline, or the equally good candidates (`tied`) for a cycle without one.

    `finding` is the error that it is about. `outcome` describes the graph that the headline leads to.
    """

    finding: Finding
    headline: Headline | None
    tied: tuple[Cut, ...] = ()

    @property
    def ties(self) -> int:
        return len(self.tied)

    @property
    def because(self) -> tuple[str, ...]:
        return self.headline.because if self.headline else ()

    @property
    def outcome(self) -> str:
        if self.headline is None:
            return ""
        return _describe_graph(self.headline.heads, self.headline.bases, self.headline.is_sound)

    @property
    def place(self) -> tuple[str | None, int | None]:
        """The file and line to look at first."""
        edits = self.headline.edits if self.headline else ()
        places: list[Edit | Edge | Finding] = [*edits, *(edge for cut in self.tied for edge in cut.edges), self.finding]
        return places[0].file, places[0].line


def find_offer(report: Report) -> Offer | None:
    """The headline, else the tied candidates for the first cycle; None if there is neither."""
    headline = report.headline
    for finding in report.findings:
        if headline is not None and (finding.code, finding.revisions) == (headline.code, headline.revisions):
            return Offer(finding, headline)
        if headline is None and finding.cuts:
            best = tuple(cut for cut in finding.cuts if cut.rank == finding.cuts[0].rank)
            return Offer(finding, None, best) if len(best) > 1 else None
    return None


def find_place(report: Report, finding: Finding, offer: Offer | None) -> tuple[str | None, int | None]:
    """The file and line that a finding blames: where the offer edits or an edit was made, else its own.

    A finding without a file is about the configuration. `offer` is that of the report.
    """
    if offer is not None and offer.finding is finding:
        return offer.place
    edited = report.graph.nodes.get(finding.edit.file) if finding.edit is not None else None
    if finding.edit is not None and edited is not None:
        return edited.key, edited.find_line(finding.edit.role)
    return finding.file or report.configuration, finding.line


def list_values(cut: Cut) -> list[str]:
    """The values that a cut restores, one per edit; empty if unknown."""
    if cut.edits:
        return [edit.before for edit in cut.edits if edit.before is not None]
    return [] if cut.restore is None else [cut.restore]


def describe_outcome(cut: Cut) -> str:
    """`1 head (c3), 1 base (a1), sound`; empty if it was not computed."""
    if cut.heads is None or cut.bases is None:
        return ""
    return _describe_graph(cut.heads, cut.bases, cut.is_sound)


def _describe_graph(heads: Sequence[str], bases: Sequence[str], is_sound: bool | None) -> str:
    verdict = {True: ", sound", False: ", not yet sound", None: ""}[is_sound]
    return describe_shape(heads, bases) + verdict


def summarize(report: Report) -> str:
    """The verdict on one line: `Not sound: 2 errors, 1 known error, 1 warning`."""
    nouns = {"error": "error", "known error": "known error", "warning": "warning", "info": "note"}
    severities = [describe_severity(finding) for finding in report.findings]
    counts = [count(number, noun) for severity, noun in nouns.items() if (number := severities.count(severity))]
    return ("Sound" if report.sound else "Not sound") + (f": {', '.join(counts)}" if counts else "")


def describe_offer(report: Report) -> str:
    """The answer in one sentence; empty if there is no offer."""
    offer = find_offer(report)
    if offer is None:
        return ""
    if offer.headline is None:
        return f"Undo one of {offer.ties} edits that nothing tells apart."
    if offer.headline.command is not None:
        return f"Run `{show(offer.headline.command, MAX_COMMAND_LENGTH)}`."
    return f"{get_verb(offer.headline).capitalize()} {' and '.join(map(_describe_edit, offer.headline.edits))}."


def _describe_edit(edit: Edit) -> str:
    return f"{show(get_written(edit))} in {name_place(edit.file, edit.line)}"


def get_verb(headline: Headline) -> str:
    """What to do with the values of the edits."""
    return "put back" if headline.action is Action.RESTORE else "write"


def describe_edge(edge: Edge) -> str:
    """`b2 -> a1 (versions/b.py:14)`, for plain text."""
    return f"{name_edge(edge)} ({name_place(edge.file, edge.line)})"


def get_written(edit: Edit) -> str:
    """The value that an edit of a headline writes, as Python source."""
    return edit.after or "None"


def describe_replaced(edit: Edit, quote: Quote) -> str:
    """` in place of 'c3'`; empty if the current value is unknown."""
    return f" in place of {quote(edit.before)}" if edit.before is not None else ""


def describe_change(edit: Edit, quote: Quote) -> str:
    """`None to 'c3'`; "nothing" stands for a missing value."""
    before, after = (quote(value) if value is not None else "nothing" for value in (edit.before, edit.after))
    return f"{before} to {after}"


def describe_cut(cut: Cut, edges: Iterable[str], quote: Quote) -> str:
    """The edges of a cut, as the report writes them, and the values that it puts back."""
    joined = " and ".join(edges)
    values = " and ".join(map(quote, list_values(cut)))
    return f"{joined}, put back {values}" if values else joined


def is_tied(finding: Finding, cut: Cut) -> bool:
    """Whether another remedy of the finding has the same rank."""
    return sum(other.rank == cut.rank for other in finding.cuts) > 1
