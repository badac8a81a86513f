"""Which remedy of a cycle comes first, with all evidence there is, and the graph that each one gives.

The first offer is to put back the value that stood before. Whether that mends the graph is not guessed: the graph is
built again with the value in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from golive.migration_graph.findings.cycles import find_cycles
from golive.migration_graph.findings.defects import find_defects
from golive.migration_graph.findings.lock_file import Lock, find_locked_parents
from golive.migration_graph.graph.build import build_graph
from golive.migration_graph.history.edge_origins import EdgeOrigins, make_judge
from golive.migration_graph.history.versions import list_names
from golive.migration_graph.model import (
    Cut,
    Edge,
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
from golive.migration_graph.readers.values import format_value

# For how many cuts, best first, the resulting graph is worked out: each takes an audit.
RESULTS = 12


def rank_remedies(
    report: Report, project: Project, *, origins: EdgeOrigins | None = None, lock: Lock | None = None
) -> Report:
    """The report with the cuts of its cycles ranked, best first, and with the values to put back.

    `origins` come from the history, `lock` from the lock file; without them only the files speak. `project` as in the
    layout that was audited.
    """
    loops = [finding for finding in report.findings if finding.code == "MG101"]
    if not loops:
        return report
    ranking = _Ranking(report, project, origins or {}, lock or {})
    judged = {
        one.revisions: one
        for one in find_cycles(report.graph, judge=make_judge(report.graph, origins or {}, lock or {}))
    }
    ranked = {id(loop): ranking.rank(loop, judged[loop.revisions]) for loop in loops}
    return replace(report, findings=tuple(ranked.get(id(finding), finding) for finding in report.findings))


@dataclass(frozen=True, slots=True)
class _Result:
    """The graph after a cut. `new_errors`: how many errors it has more, what is left of the loop included."""

    graph: Graph
    is_sound: bool
    new_errors: int


class _Ranking:
    def __init__(self, report: Report, project: Project, origins: EdgeOrigins, lock: Lock) -> None:
        self._graph = report.graph
        self._project = project
        self._origins = origins
        self._lock = lock
        self._errors = {
            _identify(finding): len(finding.revisions)
            for finding in report.findings
            if finding.severity is Severity.ERROR
        }
        # What only the files by themselves show stays as it is, whatever is cut.
        self._has_broken_files = any(finding.code == "MG105" for finding in report.findings)

    def rank(self, loop: Finding, judged: Finding) -> Finding:
        cuts = [self._add_values(cut) for cut in judged.cuts]
        results = {cut.edges: self._work_out(loop, cut) for cut in cuts[:RESULTS]}
        if not self._is_blamed_enough(cuts, results):
            together = self._find_together(loop)
            if together is not None:
                results[together.edges] = self._work_out(loop, together)
                others = [cut for cut in cuts if cut.edges != together.edges]
                cuts = [together, *(replace(cut, rank=cut.rank + 1) for cut in others)]
        best = cuts[0]
        is_told = bool(best.edits) and (best.edges[0].file, best.edges[0].parent) in self._origins
        return replace(
            loop,
            hint=_make_hint(cuts) or judged.hint,
            file=best.edges[0].file,
            line=best.edges[0].line,
            cuts=tuple(_add_result(cut, results.get(cut.edges)) for cut in cuts),
            edit=best.edits[0] if is_told else loop.edit,
        )

    def _is_blamed_enough(self, cuts: Sequence[Cut], results: Mapping[tuple[Edge, ...], _Result | None]) -> bool:
        """Does one of the best cuts undo what the history blames, and mend the loop without new errors?"""
        for cut in cuts:
            result = results.get(cut.edges)
            if cut.rank == 1 and result is not None and not result.new_errors:
                origins = [self._origins.get((edge.file, edge.parent)) for edge in cut.edges]
                if not self._origins or all(origin and origin.blame for origin in origins):
                    return True
        return False

    def _add_values(self, cut: Cut) -> Cut:
        edits = [self._find_edit(edge) for edge in cut.edges]
        known = tuple(dict.fromkeys(edit for edit in edits if edit is not None))
        if None in edits:
            return cut
        return replace(cut, edits=known, restore=known[0].before if len(known) == 1 else None)

    def _find_edit(self, edge: Edge) -> Edit | None:
        """The edit to undo: from the value before to that of today."""
        node = self._graph.nodes[edge.file]
        role = _find_role(node, edge)
        before = self._find_before(node, edge)
        if role is None or before is None:
            return None
        kind = self._graph.kind
        return Edit(edge.file, edge.line, format_value(before, kind), format_value(list_names(node, role), kind))

    def _find_before(self, node: Node, edge: Edge) -> tuple[str, ...] | None:
        """The value to put back: as released; else as it was before the edit; else as the docstring has it."""
        locked = find_locked_parents(self._lock, node)
        if locked is not None and edge.parent not in locked:
            return locked
        origin = self._origins.get((edge.file, edge.parent))
        if origin is not None:
            return origin.before
        if node.revises is None:
            return None
        named = tuple(name for name in re.split(r"[\s,()'\"]+", node.revises) if name)
        return None if edge.parent in named else named

    def _find_together(self, loop: Finding) -> Cut | None:
        """Edits that mend the loop when all are undone: those with which it began, or those since too."""
        begun = self._list_edits(loop, with_later=False)
        if not begun:
            return None
        for edits in (begun, self._list_edits(loop, with_later=True)):
            if len({edit.file for edit in edits.values()}) > 1:
                words = f"these {len(edits)} edits were made when the loop began or since, and it takes all of them"
                cut = self._add_values(Cut(tuple(edits), because=(words,)))
                result = self._work_out(loop, cut)
                if result is not None and not result.new_errors:
                    return cut
        return None

    def _list_edits(self, loop: Finding, *, with_later: bool) -> dict[Edge, Edit]:
        """Edits of references inside the loop that the history blames; on request also those made while it stood."""
        members = set(loop.revisions)
        edges = [
            Edge(node.name, reference.name, key, reference.line)
            for key, node in self._graph.nodes.items()
            if node.name in members
            for reference in node.references
            if reference.name in members
            and (origin := self._origins.get((key, reference.name)))
            and (origin.blame or (with_later and origin.is_later))
        ]
        return {edge: edit for edge in edges if (edit := self._find_edit(edge))}

    def _work_out(self, loop: Finding, cut: Cut) -> _Result | None:
        """The graph with the values before put back, or without the edges where these are not known."""
        nodes = dict(self._graph.nodes)
        for edge in cut.edges:
            node = nodes[edge.file]
            role = _find_role(node, edge)
            if role is None:
                # The edge is made by another file, or by way of one: nothing here can be put back.
                return None
            before = self._find_before(node, edge)
            if before is None:
                before = tuple(name for name in list_names(node, role) if name != edge.parent)
            nodes[edge.file] = _restore(node, role, before)
        files = [ParsedFile(key, node) for key, node in nodes.items()]
        graph = build_graph(self._graph.kind, files, self._project)
        errors = [one for one in find_defects(graph, files) if one.severity is Severity.ERROR]
        new = sum(self._is_new(one, set(loop.revisions)) for one in errors)
        return _Result(graph, not errors and not self._has_broken_files, new)

    def _is_new(self, error: Finding, members: set[str]) -> bool:
        """Is it an error that was not there, or one head more, or what is left of the loop?"""
        if error.code == "MG101" and not members.isdisjoint(error.revisions):
            return True
        return len(error.revisions) > self._errors.get(_identify(error), -1)


def _identify(finding: Finding) -> tuple[str, frozenset[str]]:
    # Which heads there are says nothing about the loop, only how many.
    return finding.code, frozenset(() if finding.code == "MG201" else finding.revisions)


def _find_role(node: Node, edge: Edge) -> Role | None:
    roles = {reference.role for reference in node.references if reference.name == edge.parent}
    return next((role for role in Role if role in roles), None)


def _restore(node: Node, role: Role, names: Iterable[str]) -> Node:
    """The node with the names of one list put in the place of those that it has."""
    others = tuple(reference for reference in node.references if reference.role is not role)
    line = next((reference.line for reference in node.references if reference.role is role), node.line)
    return replace(node, references=(*(Reference(name, line, role) for name in names), *others))


def _add_result(cut: Cut, result: _Result | None) -> Cut:
    if result is None:
        return cut
    return replace(cut, heads=result.graph.heads, bases=result.graph.bases, is_sound=result.is_sound)


def _make_hint(cuts: Sequence[Cut]) -> str | None:
    """What to put back, if the best cut says it and no other is as good."""
    best = [cut for cut in cuts if cut.rank == 1]
    if len(best) > 1 or not best[0].edits:
        return None
    values = " and ".join(f"{edit.before} in {edit.file}:{edit.line}" for edit in best[0].edits)
    return f"Put back {values}. For it speaks: {'; '.join(best[0].because)}."
