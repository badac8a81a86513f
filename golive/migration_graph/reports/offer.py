"""The answer of an audit: the one edit to make, or the candidates that the evidence cannot tell apart.

Also the sentences about edits and remedies that the text, Markdown and HTML reports share. `quote` is the report's own
escaping of an untrusted value."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from golive.migration_graph.model import Commit, Cut, Edge, Edit, Finding, Report, Severity
from golive.migration_graph.reports.words import count, describe_shape, name_edge, name_place, show

Quote = Callable[[str], str]


@dataclass(frozen=True)
class Offer:
    """The remedy for the first error that has one.

    `edits` are the values to restore, empty if unknown; `edges` are to be removed. `ties`: how many remedies are
    equally good, including this one. `outcome` describes the resulting graph, empty if it was not computed; both it and
    `because` are empty for a tie.
    """

    finding: Finding
    edits: tuple[Edit, ...]
    edges: tuple[Edge, ...]
    because: tuple[str, ...]
    commit: Commit | None
    ties: int
    outcome: str

    @property
    def place(self) -> tuple[str | None, int | None]:
        """The file and line to look at first."""
        place = self.edits[0] if self.edits else self.edges[0] if self.edges else self.finding
        return place.file, place.line

    @property
    def tied(self) -> tuple[Cut, ...]:
        """The equally good remedies; empty if there is a single best one."""
        return self.finding.cuts[: self.ties] if self.ties > 1 else ()


def find_offer(report: Report) -> Offer | None:
    """The offer for the first error that has a remedy; None if there is none."""
    for finding in report.findings:
        if finding.severity is Severity.ERROR and (finding.cuts or finding.edit is not None):
            return _offer(finding)
    return None


def _offer(finding: Finding) -> Offer:
    cut = finding.cuts[0] if finding.cuts else Cut(())
    ties = sum(other.rank == cut.rank for other in finding.cuts)
    return Offer(
        finding,
        _find_edits(finding, cut),
        cut.edges,
        cut.because if ties <= 1 else (),
        finding.introduced_by,
        ties,
        describe_outcome(cut) if ties <= 1 else "",
    )


def _find_edits(finding: Finding, cut: Cut) -> tuple[Edit, ...]:
    if cut.edits:
        return cut.edits
    edit = finding.edit
    if not cut.edges:
        return (edit,) if edit is not None and edit.before is not None else ()
    if cut.restore is None:
        return ()
    edge = cut.edges[0]
    after = edit.after if edit is not None and edit.file == edge.file else None
    return (Edit(edge.file, edge.line, cut.restore, after),)


def list_values(cut: Cut) -> list[str]:
    """The values that a cut restores, one per edit; empty if unknown."""
    if cut.edits:
        return [edit.before for edit in cut.edits if edit.before is not None]
    return [] if cut.restore is None else [cut.restore]


def describe_outcome(cut: Cut) -> str:
    """`1 head (c3), 1 base (a1), sound`; empty if it was not computed."""
    if cut.heads is None or cut.bases is None:
        return ""
    verdict = {True: ", sound", False: ", not yet sound", None: ""}[cut.is_sound]
    return describe_shape(cut.heads, cut.bases) + verdict


def summarize(report: Report) -> str:
    """The verdict on one line: `Not sound: 2 errors, 1 warning`."""
    counts = [
        count(number, noun)
        for severity, noun in ((Severity.ERROR, "error"), (Severity.WARNING, "warning"), (Severity.INFO, "note"))
        if (number := sum(finding.severity is severity for finding in report.findings))
    ]
    return ("Sound" if report.sound else "Not sound") + (f": {', '.join(counts)}" if counts else "")


def describe_offer(report: Report) -> str:
    """The answer in one sentence; empty if there is no offer."""
    offer = find_offer(report)
    if offer is None:
        return ""
    if offer.tied:
        return f"Undo one of {offer.ties} edits that nothing tells apart."
    if offer.edits:
        return f"Put back {' and '.join(_describe_edit(edit) for edit in offer.edits)}."
    if not offer.edges:
        return f"Look at {name_place(*offer.place)}."
    return f"Take out {' and '.join(map(describe_edge, offer.edges))}."


def _describe_edit(edit: Edit) -> str:
    return f"{show(get_restored(edit))} in {name_place(edit.file, edit.line)}"


def describe_edge(edge: Edge) -> str:
    """`b2 -> a1 (versions/b.py:14)`, for plain text."""
    return f"{name_edge(edge)} ({name_place(edge.file, edge.line)})"


def get_restored(edit: Edit) -> str:
    """The value that undoing the edit puts back, as Python source."""
    return edit.before or "None"


def describe_replaced(edit: Edit, quote: Quote) -> str:
    """` in place of 'c3'`; empty if the current value is unknown."""
    return f" in place of {quote(edit.after)}" if edit.after is not None else ""


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
