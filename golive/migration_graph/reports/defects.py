"""Map findings to nodes and edges: what a drawing highlights and never folds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from golive.migration_graph.model import Edge, Finding, Graph, Report, Severity, index_by_name

# An edge as (child key, parent key).
Arrow = tuple[str, str]

# A finding with more revisions than this concerns a whole region; only its file is marked.
MAX_NAMED = 12
MAX_CUTS = 12


@dataclass(frozen=True)
class Defects:
    """`cuts`: the edges of the best remedies, best first. `loop`: the other edges of the shortest cycles. `pinned`: the
    nodes that are never folded. `findings`: key -> the findings of that node."""

    cuts: tuple[Arrow, ...]
    loop: frozenset[Arrow]
    pinned: frozenset[str]
    findings: Mapping[str, list[Finding]]


def find_defects(report: Report) -> Defects:
    finder = _Finder(report.graph)
    for finding in report.findings:
        finder.add(finding)
    return Defects(
        tuple(finder.cuts), frozenset(finder.loop.difference(finder.cuts)), frozenset(finder.pinned), finder.findings
    )


def mark(defects: Defects, key: str) -> str:
    """The CSS class of a node: its worst severity, or empty."""
    severities = {finding.severity for finding in defects.findings.get(key, ())}
    return next((severity.value for severity in Severity if severity in severities), "")


class _Finder:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._keys = index_by_name(graph.nodes)
        self.cuts: dict[Arrow, None] = {}
        self.loop: set[Arrow] = set()
        self.pinned: set[str] = set()
        self.findings: dict[str, list[Finding]] = defaultdict(list)

    def add(self, finding: Finding) -> None:
        if finding.file is not None and finding.file in self._graph.nodes:
            self._note(finding.file, finding)
        if len(finding.revisions) <= MAX_NAMED:
            for name in finding.revisions:
                for key in self._keys.get(name, ()):
                    self._note(key, finding)
        if finding.cycle:
            self._add_cycle(finding, finding.cycle)
            best = [cut for cut in finding.cuts if cut.rank == finding.cuts[0].rank][:MAX_CUTS]
            for cut in best:
                for edge in cut.edges:
                    self._add_cut(edge)

    def _note(self, key: str, finding: Finding) -> None:
        if finding not in self.findings[key]:
            self.findings[key].append(finding)
        if finding.severity is Severity.ERROR:
            self.pinned.add(key)

    def _add_cycle(self, finding: Finding, cycle: tuple[str, ...]) -> None:
        for child, parent in zip(cycle, (*cycle[1:], cycle[0])):
            for key in self._keys.get(child, ()):
                self.loop |= {(key, end) for end in self._ends(key, parent)}
                if finding not in self.findings[key]:
                    self.findings[key].append(finding)

    def _add_cut(self, edge: Edge) -> None:
        children = [edge.file] if edge.file in self._graph.nodes else self._keys.get(edge.child, [])
        for key in children:
            for end in self._ends(key, edge.parent):
                self.cuts[(key, end)] = None
                self.pinned |= {key, end}

    def _ends(self, key: str, parent: str) -> list[str]:
        """The keys of the node's parents and dependencies that have this name."""
        ends = (*self._graph.parents.get(key, ()), *self._graph.dependencies.get(key, ()))
        return [end for end in ends if self._graph.nodes[end].name == parent]
