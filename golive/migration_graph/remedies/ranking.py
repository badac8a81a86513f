"""Rank the remedies of a cycle by all available evidence, and compute the graph after each.

The preferred remedy restores the value before the edit. Whether that repairs the graph is not guessed: the graph is
rebuilt with the restored value.
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

# For how many cuts, best first, the resulting graph is computed: each costs an audit.
MAX_RESULTS = 12


def rank_remedies(
    report: Report, project: Project, *, origins: EdgeOrigins | None = None, lock: Lock | None = None
) -> Report:
    """The report with the cuts of its cycles ranked, best first, and with the values to restore.

    `origins` come from the history, `lock` from the lock file; without them the files are the only evidence. `project`
    is that of the audited layout.
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


@dataclass(frozen=True)
class _Result:
    """The graph after a cut. `new_errors`: the number of errors it adds, including what is left of the loop."""

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
        # Findings of single files are not affected by a cut.
        self._has_broken_files = any(finding.code == "MG105" for finding in report.findings)

    def rank(self, loop: Finding, judged: Finding) -> Finding:
        cuts = [self._add_values(cut) for cut in judged.cuts]
        results = {cut.edges: self._compute_result(loop, cut) for cut in cuts[:MAX_RESULTS]}
        if not self._has_sufficient_cut(cuts, results):
            combined = self._find_combined_cut(loop)
            if combined is not None:
                results[combined.edges] = self._compute_result(loop, combined)
                others = [cut for cut in cuts if cut.edges != combined.edges]
                cuts = [combined, *(replace(cut, rank=cut.rank + 1) for cut in others)]
        best = cuts[0]
        is_traced = bool(best.edits) and (best.edges[0].file, best.edges[0].parent) in self._origins
        return replace(
            loop,
            hint=_make_hint(cuts) or judged.hint,
            file=best.edges[0].file,
            line=best.edges[0].line,
            cuts=tuple(_add_result(cut, results.get(cut.edges)) for cut in cuts),
            edit=best.edits[0] if is_traced else loop.edit,
        )

    def _has_sufficient_cut(self, cuts: Sequence[Cut], results: Mapping[tuple[Edge, ...], _Result | None]) -> bool:
        """Whether one of the best cuts undoes what the history blames, and repairs the loop without new errors."""
        for cut in cuts:
            result = results.get(cut.edges)
            if cut.rank == 1 and result is not None and not result.new_errors:
                origins = [self._origins.get((edge.file, edge.parent)) for edge in cut.edges]
                if not self._origins or all(origin and origin.blame for origin in origins):
                    return True
        return False

    def _add_values(self, cut: Cut) -> Cut:
        edits = [self._find_edit(edge) for edge in cut.edges]
        distinct = tuple(dict.fromkeys(edit for edit in edits if edit is not None))
        if None in edits:
            return cut
        return replace(cut, edits=distinct, restore=distinct[0].before if len(distinct) == 1 else None)

    def _find_edit(self, edge: Edge) -> Edit | None:
        """The edit to undo: the previous value and the current one."""
        node = self._graph.nodes[edge.file]
        role = _find_role(node, edge)
        before = self._find_before(node, edge)
        if role is None or before is None:
            return None
        kind = self._graph.kind
        return Edit(edge.file, edge.line, format_value(before, kind), format_value(list_names(node, role), kind))

    def _find_before(self, node: Node, edge: Edge) -> tuple[str, ...] | None:
        """The value to restore: as released, else as before the edit, else as in the docstring."""
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

    def _find_combined_cut(self, loop: Finding) -> Cut | None:
        """A cut of several edits that repairs the loop: those with which it began, or also those made since."""
        initial = self._list_edits(loop, with_later=False)
        if not initial:
            return None
        for edits in (initial, self._list_edits(loop, with_later=True)):
            if len({edit.file for edit in edits.values()}) > 1:
                reason = f"these {len(edits)} edits were made when the loop began or since, and it takes all of them"
                cut = self._add_values(Cut(tuple(edits), because=(reason,)))
                result = self._compute_result(loop, cut)
                if result is not None and not result.new_errors:
                    return cut
        return None

    def _list_edits(self, loop: Finding, *, with_later: bool) -> dict[Edge, Edit]:
        """The edits of references within the loop that the history blames; optionally those made since it began."""
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

    def _compute_result(self, loop: Finding, cut: Cut) -> _Result | None:
        """The graph with the previous values restored, or with the edges removed where these are unknown."""
        nodes = dict(self._graph.nodes)
        for edge in cut.edges:
            node = nodes[edge.file]
            role = _find_role(node, edge)
            if role is None:
                # The edge is defined by another file (`run_before`, `replaces`): there is nothing to restore here.
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
        """Whether the error is new, is an additional head, or is what is left of the loop."""
        if error.code == "MG101" and not members.isdisjoint(error.revisions):
            return True
        return len(error.revisions) > self._errors.get(_identify(error), -1)


def _identify(finding: Finding) -> tuple[str, frozenset[str]]:
    # Only the number of heads matters, not which ones.
    return finding.code, frozenset(() if finding.code == "MG201" else finding.revisions)


def _find_role(node: Node, edge: Edge) -> Role | None:
    roles = {reference.role for reference in node.references if reference.name == edge.parent}
    return next((role for role in Role if role in roles), None)


def _restore(node: Node, role: Role, names: Iterable[str]) -> Node:
    """The node with one of its reference lists replaced."""
    others = tuple(reference for reference in node.references if reference.role is not role)
    line = next((reference.line for reference in node.references if reference.role is role), node.line)
    return replace(node, references=(*(Reference(name, line, role) for name in names), *others))


def _add_result(cut: Cut, result: _Result | None) -> Cut:
    if result is None:
        return cut
    return replace(cut, heads=result.graph.heads, bases=result.graph.bases, is_sound=result.is_sound)


def _make_hint(cuts: Sequence[Cut]) -> str | None:
    """Which value to restore, if there is a single best cut and its edits are known."""
    best = [cut for cut in cuts if cut.rank == 1]
    if len(best) > 1 or not best[0].edits:
        return None
    values = " and ".join(f"{edit.before} in {edit.file}:{edit.line}" for edit in best[0].edits)
    return f"Put back {values}. Evidence: {'; '.join(best[0].because)}."
