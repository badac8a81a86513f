"""Rank the remedies of a cycle by all available evidence, and compute the graph after each.

The preferred remedy restores the value before the edit. Whether that repairs the graph is not guessed: the graph is
rebuilt with the restored value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from golive.migration_graph.findings.cycles import find_cycles
from golive.migration_graph.findings.defects import leave_out_second
from golive.migration_graph.findings.evidence import list_documented
from golive.migration_graph.findings.lock_file import Lock, find_locked_parents
from golive.migration_graph.history.edge_origins import make_judge
from golive.migration_graph.history.past import Past
from golive.migration_graph.history.versions import list_names
from golive.migration_graph.model import Cut, Edge, Edit, Finding, Graph, Node, Report, Role, index_by_name
from golive.migration_graph.readers.values import format_value
from golive.migration_graph.remedies.outcome import Outcome, Trial, set_references

# For how many cuts, best first, the resulting graph is computed: each costs an audit.
MAX_RESULTS = 12


def rank_remedies(report: Report, trial: Trial, *, past: Past, lock: Lock) -> Report:
    """The report with the cuts of its cycles ranked, best first, and with the values to restore."""
    loops = [finding for finding in report.findings if finding.code == "MG101"]
    if not loops:
        return report
    ranking = _Ranking(trial, past, lock)
    graph = leave_out_second(report.graph)
    judged = {one.revisions: one for one in find_cycles(graph, judge=make_judge(graph, past.origins, lock))}
    ranked = {id(loop): ranking.rank(loop, judged[loop.revisions]) for loop in loops}
    return replace(report, findings=tuple(ranked.get(id(finding), finding) for finding in report.findings))


def stands_out(graph: Graph, loop: Finding, past: Past, lock: Lock) -> bool:
    """Whether something else than dates puts the first remedy of a ranked cycle before the second."""
    judge = make_judge(graph, past.origins, lock)
    keys = index_by_name(graph.nodes)

    def weigh(cut: Cut) -> list[int]:
        scores = [judge((keys[edge.child][0], keys[edge.parent][0])).score for edge in cut.edges]
        # The last part is the dates.
        return [sum(parts) for parts in zip(*scores)][:-1]

    first, *others = loop.cuts
    return not others or (others[0].rank > first.rank and weigh(first) != weigh(others[0]))


class _Ranking:
    def __init__(self, trial: Trial, past: Past, lock: Lock) -> None:
        self._trial = trial
        self._graph = trial.graph
        self._past = past
        self._origins = past.origins
        self._lock = lock

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
        outcome = results.get(best.edges)
        is_traced = bool(best.edits) and (best.edges[0].file, best.edges[0].parent) in self._origins
        return replace(
            loop,
            hint=(_make_hint(cuts) if outcome and outcome.is_proven else None) or judged.hint,
            file=best.edges[0].file,
            line=best.edges[0].line,
            cuts=tuple(_add_result(cut, results.get(cut.edges)) for cut in cuts),
            edit=best.edits[0] if is_traced else loop.edit,
        )

    def _has_sufficient_cut(self, cuts: Sequence[Cut], results: Mapping[tuple[Edge, ...], Outcome | None]) -> bool:
        """Whether one of the best cuts undoes what the history blames, and repairs the loop without new errors."""
        for cut in cuts:
            result = results.get(cut.edges)
            if cut.rank == 1 and result is not None and result.is_proven:
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
        return Edit(edge.file, edge.line, format_value(before, kind), format_value(list_names(node, role), kind), role)

    def _find_before(self, node: Node, edge: Edge) -> tuple[str, ...] | None:
        """The value to restore: as released, else as before the edit, else as in the docstring."""
        locked = find_locked_parents(self._lock, node)
        if locked is not None and edge.parent not in locked:
            return locked
        origin = self._origins.get((edge.file, edge.parent))
        if origin is not None:
            return origin.before
        documented = list_documented(node)
        return (
            None if documented is None or edge.parent not in node.parents or edge.parent in documented else documented
        )

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
                if result is not None and result.is_proven:
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

    def _compute_result(self, loop: Finding, cut: Cut) -> Outcome | None:
        """The graph with the previous values restored, or with the edges removed where these are unknown."""
        changed: dict[str, Node] = {}
        for edge in cut.edges:
            node = changed.get(edge.file, self._graph.nodes[edge.file])
            role = _find_role(node, edge)
            if role is None:
                # The edge is defined by another file (`run_before`, `replaces`): there is nothing to restore here.
                return None
            before = self._find_before(node, edge)
            if before is None:
                before = tuple(name for name in list_names(node, role) if name != edge.parent)
            changed[edge.file] = set_references(node, role, before)
        return self._trial.run(loop, changed, hidden_heads=self._past.heads.get((loop.code, loop.revisions), ()))


def _find_role(node: Node, edge: Edge) -> Role | None:
    roles = {reference.role for reference in node.references if reference.name == edge.parent}
    return next((role for role in Role if role in roles), None)


def _add_result(cut: Cut, result: Outcome | None) -> Cut:
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
