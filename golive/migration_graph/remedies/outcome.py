"""Work out what a remedy leads to: the graph is built again from the changed files, and audited as any other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Optional

from golive.migration_graph.findings.defects import find_defects
from golive.migration_graph.graph.build import build_graph
from golive.migration_graph.model import (
    Edit,
    Finding,
    Graph,
    Node,
    ParsedFile,
    Project,
    Reference,
    Report,
    Role,
    Severity,
)
from golive.migration_graph.readers.values import read_value

# Why a graph must not be reached although it has no new error: what it would do to a database, in one sentence; None:
# nothing speaks against it. The place for a comparison with what databases have run.
Refuse = Callable[[Graph], Optional[str]]
# Code, revisions: one error in the graph before and after. Of heads only how many matters (see `Trial`).
Identity = tuple[str, frozenset[str]]


@dataclass(frozen=True)
class Outcome:
    """The graph after a remedy. `is_harmless`: it has no new error. `is_proven`: and what it was tried for is mended.

    `is_sound` counts the errors that no edit of a reference mends, too: those of the lock file and of databases.
    """

    graph: Graph
    is_sound: bool
    is_harmless: bool
    is_proven: bool


class Trial:
    """Tries remedies. `files`: those of the report. `refuse`: the last word on a graph that is otherwise proven.

    An error is new if the report does not have it. A head is new if it is none today, was none just before the defect
    began, and is not the file that gets an id of its own: what the defect only hid is not the remedy's doing.
    """

    def __init__(
        self, report: Report, files: Iterable[ParsedFile], project: Project, *, refuse: Refuse | None = None
    ) -> None:
        self.graph = report.graph
        self._files = {file.key: file for file in files}
        self._project = project
        self._refuse = refuse
        present = find_defects(self.graph, self._files.values())
        self._before = _count_errors(present)
        self._loops = [frozenset(one.revisions) for one in present if one.code == "MG101"]
        # Errors that do not come from the files of the graph alone, and so stay.
        self._others = any(
            one.severity is Severity.ERROR and one.code != "MG201" and _identify(one) not in self._before
            for one in report.findings
        )

    def run(
        self,
        finding: Finding,
        changed: Mapping[str, Node],
        *,
        added: Iterable[ParsedFile] = (),
        hidden_heads: Iterable[str] = (),
    ) -> Outcome:
        """The outcome for one error of changed nodes, by key, and of added files. `hidden_heads` are no new heads."""
        files = {**self._files, **{file.key: file for file in added}}
        files |= {key: replace(files[key], node=node) for key, node in changed.items()}
        graph = build_graph(self.graph.kind, files.values(), self._project)
        found = find_defects(graph, files.values())
        errors = [one for one in found if one.severity is Severity.ERROR]
        after = _count_errors(found)
        heads = {*self.graph.heads, *hidden_heads}
        is_refused = self._refuse is not None and self._refuse(graph) is not None
        is_harmless = not is_refused and not any(self._is_new(one, heads, after) for one in errors)
        is_proven = is_harmless and self._is_mended(finding, errors, after)
        return Outcome(graph, not errors and not self._others, is_harmless, is_proven)

    def _is_mended(self, finding: Finding, errors: Sequence[Finding], after: Counter[Identity]) -> bool:
        if finding.code == "MG101":
            members = set(finding.revisions)
            return all(members.isdisjoint(one.revisions) for one in errors if one.code == "MG101")
        if finding.code == "MG201":
            return not any(one.code == "MG201" and set(one.revisions) & set(finding.revisions) for one in errors)
        return after[_identify(finding)] < self._before[_identify(finding)]

    def _is_new(self, error: Finding, heads: set[str], after: Counter[Identity]) -> bool:
        if error.code == "MG101":
            return not any(frozenset(error.revisions) <= loop for loop in self._loops)
        if error.code == "MG201":
            return not heads.issuperset(error.revisions)
        return after[_identify(error)] > self._before[_identify(error)]


def _count_errors(findings: Iterable[Finding]) -> Counter[Identity]:
    return Counter(_identify(one) for one in findings if one.severity is Severity.ERROR)


def _identify(finding: Finding) -> Identity:
    return finding.code, frozenset(finding.revisions or (finding.file or "",))


def set_references(node: Node, role: Role, names: Iterable[str]) -> Node:
    """The node with one of its reference lists replaced."""
    others = tuple(reference for reference in node.references if reference.role is not role)
    line = node.find_line(role)
    return replace(node, references=(*(Reference(name, line, role) for name in names), *others))


def undo(graph: Graph, edits: Iterable[Edit]) -> dict[str, Node]:
    """The nodes, by key, with the values before these edits; empty if one of them is unknown."""
    changed: dict[str, Node] = {}
    for edit in edits:
        if edit.before is None or edit.file not in graph.nodes:
            return {}
        node = changed.get(edit.file, graph.nodes[edit.file])
        changed[edit.file] = set_references(node, edit.role, read_value(edit.before, graph.kind))
    return changed
