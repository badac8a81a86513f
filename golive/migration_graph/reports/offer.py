"""The answer of an audit: the one edit to make, or the ones that no evidence tells apart."""

from __future__ import annotations

from dataclasses import dataclass

from golive.migration_graph.model import Commit, Cut, Edge, Edit, Finding, Report, Severity
from golive.migration_graph.reports.words import count, describe_shape, name_edge, name_place, show


@dataclass(frozen=True, slots=True)
class Offer:
    """What to do about the first defect that something can be offered for.

    `edits` are the values to put back, empty where they are not known; `edges` are to be taken out. `ties`: how many
    remedies are as good as this one, itself included. `outcome` is the graph that results, in words, empty where it was
    not worked out; both it and `because` are empty for a tie.
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
        """The file and the line to look at first."""
        known = self.edits[0] if self.edits else self.edges[0] if self.edges else self.finding
        return known.file, known.line

    @property
    def tied(self) -> tuple[Cut, ...]:
        """The remedies of which one is as good as the other; empty where there is a best one."""
        return self.finding.cuts[: self.ties] if self.ties > 1 else ()


def find_offer(report: Report) -> Offer | None:
    """The offer for the first error that has one; None for a sound graph, or where nothing can be offered."""
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
    """The values that a cut puts back, one for each place; empty where they are not known."""
    if cut.edits:
        return [edit.before for edit in cut.edits if edit.before is not None]
    return [] if cut.restore is None else [cut.restore]


def describe_outcome(cut: Cut) -> str:
    """`1 head (c3), 1 base (a1), sound`; empty where it was not worked out."""
    if cut.heads is None or cut.bases is None:
        return ""
    verdict = {True: ", sound", False: ", not yet sound", None: ""}[cut.is_sound]
    return describe_shape(cut.heads, cut.bases) + verdict


def summarize(report: Report) -> str:
    """The verdict in one line: `Not sound: 2 errors, 1 warning`."""
    counts = [
        count(number, noun)
        for severity, noun in ((Severity.ERROR, "error"), (Severity.WARNING, "warning"), (Severity.INFO, "note"))
        if (number := sum(finding.severity is severity for finding in report.findings))
    ]
    return ("Sound" if report.sound else "Not sound") + (f": {', '.join(counts)}" if counts else "")


def describe_offer(report: Report) -> str:
    """The answer in one sentence, empty for a sound graph or where nothing can be offered."""
    offer = find_offer(report)
    if offer is None:
        return ""
    if offer.tied:
        return f"Undo one of {offer.ties} edits that nothing tells apart."
    if offer.edits:
        return f"Put back {' and '.join(_describe_edit(edit) for edit in offer.edits)}."
    if not offer.edges:
        return f"Look at {name_place(*offer.place)}."
    edges = " and ".join(f"{name_edge(edge)} ({name_place(edge.file, edge.line)})" for edge in offer.edges)
    return f"Take out {edges}."


def _describe_edit(edit: Edit) -> str:
    return f"{show(edit.before or 'None')} in {name_place(edit.file, edit.line)}"
