"""Replay the history of a migrations folder commit by commit, and track when each defect existed.

A state is the tree of one commit: the state of its first parent plus the commit's changes. Each version of a file is
read once. A defect begins at a commit that has it while none of its parents has, and ends at the first commit that
lacks it while a parent has it. Defects come and go, so every commit is checked, merges included: two sound branches
may form a loop when merged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from golive.migration_graph.history.states import Defect, Removal, Span, State, name_defect
from golive.migration_graph.history.step import Changed, Step
from golive.migration_graph.history.versions import Key, Shape
from golive.migration_graph.model import Finding, Kind, ParsedFile, Severity

# A commit that changes at most this many files may be audited incrementally, without the whole folder.
MAX_CHANGES = 100
# Findings that involve only a file and its parents: create-date-inversion and irreversible.
_LOCAL_CODES = ("MG203", "MG204")
# Parsed files -> the findings of a folder that consists of them.
Audit = Callable[[Iterable[ParsedFile]], Sequence[Finding]]


class Replay:
    """Builds states, oldest first, and records the lifetime of each defect in `spans`.

    `removals`: name of a revision -> the last commit that took it away. `values`: role and name of a revision ->
    the commits, by number, that changed this reference list, with the value before, oldest first.
    """

    def __init__(self, kind: Kind, audit: Audit) -> None:
        self._kind = kind
        self._audit = audit
        self.spans: list[Span] = []
        self.removals: dict[str, Removal] = {}
        self.values: dict[Key, list[tuple[int, tuple[str, ...]]]] = defaultdict(list)

    def step(
        self, number: int, parents: Sequence[State], changed: Changed, findings: Sequence[Finding] | None = None
    ) -> State:
        """The state of the next commit. Mutates and returns the first of `parents`: pass a copy if it is still needed.

        `changed`: the changes relative to the first parent. `findings`: those of the new state, if already known.
        """
        state = parents[0] if parents else State(Shape(self._kind))
        step = Step(number, state, parents[1:], changed)
        part = self._audit_part(step) if findings is None else None
        self.removals.update(step.find_removals())
        for key, value in step.list_replaced():
            self.values[key].append((number, value))
        step.apply()
        inherited = [parent.defects for parent in parents]
        remaining: Mapping[Defect, Span] = {}
        if part is not None:
            names, findings = part
            gone = {one for one in state.defects if one.code in _LOCAL_CODES and not names.isdisjoint(one.subject)}
            remaining = {defect: span for defect, span in state.defects.items() if defect not in gone}
            if not findings and not gone and all(current is inherited[0] for current in inherited):
                return state
        elif findings is None:
            findings = self._audit(version.file for version in state.versions.values())
        if part is None:
            state.errors = frozenset(one.code for one in findings if one.severity is Severity.ERROR)
        state.defects = self._match(step, remaining, findings, inherited)
        return state

    def _audit_part(self, step: Step) -> tuple[set[str], Sequence[Finding]] | None:
        """Audit only the changed files: their names and findings. None: the whole folder must be audited.

        This is enough if files were only added on top or changed without a change to the graph: then only these files,
        their parents and their children can have different findings.
        """
        paths = [path for path in step.new if not step.is_unchanged(path)]
        files = [step.new[path].file for path in paths]
        nodes = [file.node for file in files if file.node and not (file.findings or file.run_before or file.replaces)]
        if step.removed or len(paths) > MAX_CHANGES or len(nodes) != len(files):
            return None
        # With dangling references, which heads are reported depends on the whole graph (see `suggest_names`).
        if any(defect.code in ("MG102", "MG107") for defect in step.state.defects):
            return None
        new = [node for path, node in zip(paths, nodes) if path not in step.old]
        if not all(step.keeps_graph(path) for path in paths if path in step.old) or not step.state.shape.grows_by(new):
            return None
        names = {node.name for node in nodes}
        if not names:
            return names, ()
        neighbours = step.list_neighbours(names, len(new) < len(nodes))
        findings = self._audit([*files, *neighbours])
        return names, [one for one in findings if one.code in _LOCAL_CODES and not names.isdisjoint(one.revisions)]

    def _match(
        self,
        step: Step,
        remaining: Mapping[Defect, Span],
        findings: Sequence[Finding],
        inherited: Sequence[Mapping[Defect, Span]],
    ) -> Mapping[Defect, Span]:
        """Assign each defect the span of the same defect in a parent, or a new one; close the spans that end."""
        current = dict(remaining)
        for finding in findings:
            defect = name_defect(finding, self._kind)
            current[defect] = next(_find_same(defect, inherited), None) or self._begin(step, finding)
        for defect, span in (pair for parent in inherited for pair in parent.items()):
            if span.ended is None and next(_find_same(defect, [current]), None) is None:
                span.ended = step.number
        return current

    def _begin(self, step: Step, finding: Finding) -> Span:
        fresh = step.find_fresh(frozenset(finding.revisions)) if finding.code == "MG101" else {}
        heads = step.find_heads_before() if finding.severity is Severity.ERROR else frozenset()
        span = Span(finding, step.number, step.list_edits(self._kind), fresh, heads)
        self.spans.append(span)
        return span


def _find_same(defect: Defect, defects_of_parents: Iterable[Mapping[Defect, Span]]) -> Iterator[Span]:
    for current in defects_of_parents:
        if defect in current:
            yield current[defect]
        elif defect.code == "MG101":
            yield from (span for other, span in current.items() if defect.is_same(other))
