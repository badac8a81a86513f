"""Replay the history of a migrations folder commit by commit, and track when each defect existed.

A state is the tree of one commit: the state of its first parent plus the commit's changes. Each version of a file is
read once. A defect begins at a commit that has it while none of its parents has, and ends at the first commit that
lacks it while a parent has it. Defects come and go, so every commit is checked, merges included: two sound branches
may form a loop when merged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Optional

from golive.migration_graph.history.versions import (
    Key,
    Shape,
    Version,
    find_edit,
    get_scope,
    make_version,
    read_names,
)
from golive.migration_graph.model import Edit, Finding, Kind, Node, ParsedFile, Role, Severity

# A commit that changes at most this many files may be audited incrementally, without the whole folder.
MAX_CHANGES = 100
# Findings that involve only a file and its parents: create-date-inversion and irreversible.
_LOCAL_CODES = ("MG203", "MG204")


@dataclass(frozen=True)
class Defect:
    """The identity of a finding across commits. Two loops are the same if they have a revision in common."""

    code: str
    subject: frozenset[str]

    def is_same(self, other: Defect) -> bool:
        if self.code != other.code:
            return False
        return self.subject == other.subject or (self.code == "MG101" and not self.subject.isdisjoint(other.subject))


def name_defect(finding: Finding, kind: Kind) -> Defect:
    """The identity of a finding across commits: names, not files, lines or the particular heads."""
    if finding.code in ("MG201", "MG202"):
        return Defect(finding.code, frozenset(get_scope(name, kind) for name in finding.revisions))
    return Defect(finding.code, frozenset(finding.revisions) or frozenset({finding.file or ""}))


@dataclass(frozen=True)
class Fresh:
    """The new edges of one child when a loop began. For `blame` and `before` see `history.edge_origins`."""

    blame: int
    before: tuple[str, ...] | None
    parents: frozenset[str]


@dataclass
class Span:
    """The lifetime of a defect, as commit numbers.

    `edits`: name of the revision -> the edit of an existing file in the commit where the defect began. `fresh`, for a
    loop: name of the child -> its new edges. `heads`: those just before the defect began, for errors.
    """

    finding: Finding
    began: int
    edits: Mapping[str, Edit]
    fresh: Mapping[str, Fresh] = field(default_factory=dict)
    heads: frozenset[str] = frozenset()
    ended: int | None = None


@dataclass
class State:
    """The tree of one commit. `defects`: the span of each defect; shared between states, so never mutated."""

    shape: Shape
    versions: dict[str, Version] = field(default_factory=dict)
    defects: Mapping[Defect, Span] = field(default_factory=dict)
    # The codes of its errors.
    errors: frozenset[str] = frozenset()

    def copy(self) -> State:
        return State(self.shape.copy(), dict(self.versions), self.defects, self.errors)


@dataclass(frozen=True)
class Removal:
    """The commit, by number, that left a revision without a file; its last version, and what took its place, if any."""

    commit: int
    version: Version
    successor: Version | None


# Parsed files -> the findings of a folder that consists of them.
Audit = Callable[[Iterable[ParsedFile]], Sequence[Finding]]
# Path -> blob and parsed content of the file; None: the path was removed.
Changed = Mapping[str, Optional[tuple[str, ParsedFile]]]


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
        step = _Step(number, state, parents[1:], changed)
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

    def _audit_part(self, step: _Step) -> tuple[set[str], Sequence[Finding]] | None:
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
        step: _Step,
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

    def _begin(self, step: _Step, finding: Finding) -> Span:
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


class _Step:
    """The transition from the state of a commit's first parent to its own."""

    def __init__(self, number: int, state: State, others: Sequence[State], changed: Changed) -> None:
        self.number = number
        self.state = state
        self.others = others
        # The versions in the first parent.
        self.old = {path: state.versions[path] for path in changed if path in state.versions}
        self.removed = {path for path, change in changed.items() if change is None and path in state.versions}
        gone = [state.versions[path] for path in self.removed]
        self._moved = {version.known.name: version for version in gone if version.known}
        self.new = {path: self._make(path, *change) for path, change in changed.items() if change is not None}

    def _make(self, path: str, blob: str, file: ParsedFile) -> Version:
        ancestors = [state.versions[path] for state in (self.state, *self.others) if path in state.versions]
        for ancestor in ancestors:
            if ancestor.blob == blob:
                return ancestor
        if not ancestors and file.node and file.node.name in self._moved:
            ancestors = [self._moved[file.node.name]]
        return make_version(self.number, blob, file, ancestors)

    def list_replaced(self) -> Iterator[tuple[Key, tuple[str, ...]]]:
        """The values of the reference lists that the commit changed."""
        for path, version in self.new.items():
            before = self._find_before(path)
            if before and before.known and version.known and version is not before:
                for role in Role:
                    old = read_names(before.known, role)
                    if old is not None and old != read_names(version.known, role):
                        yield (role, version.known.name), old

    def find_removals(self) -> dict[str, Removal]:
        """The names that the commit itself took away: what a parent of a merge lacks already was taken away there."""
        present = {version.known.name for version in self.new.values() if version.known}
        removals = {}
        for path, version in self.old.items():
            name = version.known.name if version.known else None
            if name is None or name in present or not all(path in other.versions for other in self.others):
                continue
            removals[name] = Removal(self.number, version, self._find_successor(path, version))
        return removals

    def _find_successor(self, path: str, version: Version) -> Version | None:
        """The same file under another id, or a new one that was made at the same time on the same parents."""
        if path in self.new:
            return self.new[path]
        node = version.known
        added = [one for other, one in self.new.items() if other not in self.old and one.known]
        return next(
            (
                one
                for one in added
                if one.known
                and node
                and node.create_date
                and (node.create_date, node.message, node.parents)
                == (one.known.create_date, one.known.message, one.known.parents)
            ),
            None,
        )

    def find_heads_before(self) -> frozenset[str]:
        """The heads of the commit's parents. Call after `apply`."""
        before = self.state.shape.copy()
        before.count((version.file.node for version in self.new.values()), -1)
        before.count(version.file.node for version in self.old.values())
        return before.list_heads().union(*(other.shape.list_heads() for other in self.others))

    def apply(self) -> None:
        shape, versions = self.state.shape, self.state.versions
        shape.count((version.file.node for version in self.old.values()), -1)
        shape.count(version.file.node for version in self.new.values())
        for path in self.removed:
            del versions[path]
        versions |= self.new

    def is_unchanged(self, path: str) -> bool:
        """Whether the file means the same as before, as far as findings are concerned."""
        old, new = self.old.get(path), self.new[path]
        if old is None or old.file.node is None or new.file.node is None:
            return False
        meanings = [replace(file, node=describe_meaning(file.node)) for file in (old.file, new.file)]
        return meanings[0] == meanings[1]

    def keeps_graph(self, path: str) -> bool:
        """Whether an existing file changed only in attributes that do not shape the graph, such as its date."""
        old, new = self.old[path].file, self.new[path].file
        if old.node is None or new.node is None or old.findings or old.run_before or old.replaces:
            return False
        before, after = (
            describe_meaning(replace(node, create_date=None, revises=None, is_reversible=None))
            for node in (old.node, new.node)
        )
        return before == after

    def list_neighbours(self, names: set[str], with_children: bool) -> list[ParsedFile]:
        """The parents of the changed files, and optionally their children, reduced to references to these files."""
        wanted = {name for version in self.new.values() if version.known for name in version.known.parents} - names
        neighbours = []
        for version in self.state.versions.values():
            node = version.file.node
            if node is None or node.name in names:
                continue
            references = tuple(one for one in node.references if one.name in names) if with_children else ()
            if references or node.name in wanted:
                neighbours.append(ParsedFile(node.key, replace(node, references=references)))
        return neighbours

    def list_edits(self, kind: Kind) -> dict[str, Edit]:
        """The commit's edits to the references of existing files, by revision name."""
        edits = {}
        for path, version in sorted(self.new.items()):
            before = self._find_before(path)
            if before and version.known and (edit := find_edit(before.known, version.known, kind)):
                edits[version.known.name] = edit
        return edits

    def _find_before(self, path: str) -> Version | None:
        known = self.new[path].known
        return self.old.get(path) or (self._moved.get(known.name) if known else None)

    def find_fresh(self, members: frozenset[str]) -> dict[str, Fresh]:
        """For each child, the edges among `members` that the commit wrote, else those that one of its parents lacks.

        Call after `apply`.
        """
        versions = [one for one in self.state.versions.values() if one.known and one.known.name in members]
        written = {}
        merged = {}
        before = [
            self._list_edges_before(members),
            *(_list_edges(other.versions.values(), members) for other in self.others),
        ]
        for version in versions:
            name = version.known.name if version.known else ""
            keys = [key for key in version.origins if key[1] in members]
            own = [key for key in keys if version.origins[key].commit == self.number]
            if own:
                written[name] = _describe_fresh(2, version, own)
            foreign = [key for key in keys if any((name, key) not in edges for edges in before)]
            if foreign:
                merged[name] = _describe_fresh(1, version, foreign)
        return {**merged, **written}

    def _list_edges_before(self, members: frozenset[str]) -> set[tuple[str, Key]]:
        remaining = (version for path, version in self.state.versions.items() if path not in self.new)
        return _list_edges([*remaining, *self.old.values()], members)


def _describe_fresh(blame: int, version: Version, keys: Sequence[Key]) -> Fresh:
    return Fresh(blame, version.origins[keys[0]].before, frozenset(name for _, name in keys))


def _list_edges(versions: Iterable[Version], members: frozenset[str]) -> set[tuple[str, Key]]:
    return {(one.known.name, key) for one in versions if one.known and one.known.name in members for key in one.origins}


def describe_meaning(node: Node | None) -> Node | None:
    """The node without the fields that no finding depends on, so that equal results mean the same."""
    if node is None:
        return None
    references = tuple(replace(reference, line=0) for reference in node.references)
    return replace(
        node, line=0, references=references, message="", content_hash="", parents_line=0, dependencies_line=0
    )
