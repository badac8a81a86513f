"""The history of a folder of migrations, replayed commit by commit: what stood when, and which defects.

A state is the tree of one commit. It is made from the state of the first parent by what the commit changed; each
version of a file is read once. A defect begins with a commit that has it while none of its parents has, and ends with
the first one that lacks it while a parent has it. Defects come and go, so every commit is looked at, and merges too:
two branches that are sound may close a loop together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from golive.migration_graph.history.versions import Key, Shape, Version, find_edit, make_version, name_line
from golive.migration_graph.model import Edit, Finding, Kind, Node, ParsedFile

# A commit that changes this many files or fewer may be looked at on its own, not with the whole folder.
MAX_CHANGES = 100
# Findings of one file, or of it and its parent: create dates, and no way back.
_OF_FILES = ("MG203", "MG204")


@dataclass(frozen=True, slots=True)
class Defect:
    """A finding without what may change while it stands. Loops are one while they have a revision in common."""

    code: str
    subject: frozenset[str]

    def is_same(self, other: Defect) -> bool:
        if self.code != other.code:
            return False
        return self.subject == other.subject or (self.code == "MG101" and not self.subject.isdisjoint(other.subject))


def name_defect(finding: Finding, kind: Kind) -> Defect:
    """What makes a finding the same one in another commit: names, and not files, lines, or which heads there are."""
    if finding.code in ("MG201", "MG202"):
        return Defect(finding.code, frozenset(name_line(name, kind) for name in finding.revisions))
    return Defect(finding.code, frozenset(finding.revisions) or frozenset({finding.file or ""}))


@dataclass(frozen=True, slots=True)
class Fresh:
    """New edges of one child inside a loop as it began. `blame` and `before`: see `history.edge_origins`."""

    blame: int
    before: tuple[str, ...] | None
    parents: frozenset[str]


@dataclass(slots=True)
class Span:
    """A time in which a defect stood, by the numbers of commits.

    `edits`: what the commit with which it began did to older files, by the name of the revision. `fresh`, for a loop:
    its new edges, by the name of their child.
    """

    finding: Finding
    began: int
    edits: Mapping[str, Edit]
    fresh: Mapping[str, Fresh] = field(default_factory=dict)
    ended: int | None = None


@dataclass(slots=True)
class State:
    """The tree of one commit. `defects`: the span of each defect that it has; shared between states, never changed."""

    shape: Shape
    versions: dict[str, Version] = field(default_factory=dict)
    defects: Mapping[Defect, Span] = field(default_factory=dict)

    def copy(self) -> State:
        return State(self.shape.copy(), dict(self.versions), self.defects)


# What is wrong in a folder with these files.
Audit = Callable[[Iterable[ParsedFile]], Sequence[Finding]]
# By path the blob of a file and what it says; None: the path was removed.
Changed = Mapping[str, tuple[str, ParsedFile] | None]


class Replay:
    """Makes states, oldest first, and keeps in `spans` when which defect stood."""

    def __init__(self, kind: Kind, audit: Audit) -> None:
        self._kind = kind
        self._audit = audit
        self.spans: list[Span] = []

    def step(
        self, number: int, parents: Sequence[State], changed: Changed, findings: Sequence[Finding] | None = None
    ) -> State:
        """The state of the next commit. The first of `parents` becomes it: hand over a copy if it is needed still.

        `changed`: what the commit changed against its first parent. `findings`: what is wrong then, if that is known.
        """
        state = parents[0] if parents else State(Shape(self._kind))
        step = _Step(number, state, parents[1:], changed)
        part = self._audit_part(step) if findings is None else None
        step.apply()
        inherited = [parent.defects for parent in parents]
        remaining: Mapping[Defect, Span] = {}
        if part is not None:
            names, findings = part
            gone = {one for one in state.defects if one.code in _OF_FILES and not names.isdisjoint(one.subject)}
            remaining = {defect: span for defect, span in state.defects.items() if defect not in gone}
            if not findings and not gone and all(current is inherited[0] for current in inherited):
                return state
        elif findings is None:
            findings = self._audit(version.file for version in state.versions.values())
        state.defects = self._match(step, remaining, findings, inherited)
        return state

    def _audit_part(self, step: _Step) -> tuple[set[str], Sequence[Finding]] | None:
        """What is wrong with the changed files, and their names; None: the whole folder must be audited.

        A part will do where files were only added on top, or changed without a change to the graph: then the rest is as
        it was, and only these files, their parents and their children can show something else.
        """
        paths = [path for path in step.new if not step.is_unchanged(path)]
        files = [step.new[path].file for path in paths]
        nodes = [file.node for file in files if file.node and not (file.findings or file.run_before or file.replaces)]
        if step.removed or len(paths) > MAX_CHANGES or len(nodes) != len(files):
            return None
        # Whether a head is one depends on what a dangling reference may have meant.
        if any(defect.code in ("MG102", "MG107") for defect in step.state.defects):
            return None
        new = [node for path, node in zip(paths, nodes, strict=True) if path not in step.old]
        if not all(step.keeps_graph(path) for path in paths if path in step.old) or not step.state.shape.grows_by(new):
            return None
        names = {node.name for node in nodes}
        if not names:
            return names, ()
        neighbours = step.list_neighbours(names, len(new) < len(nodes))
        found = self._audit([*files, *neighbours])
        return names, [one for one in found if one.code in _OF_FILES and not names.isdisjoint(one.revisions)]

    def _match(
        self,
        step: _Step,
        remaining: Mapping[Defect, Span],
        findings: Sequence[Finding],
        inherited: Sequence[Mapping[Defect, Span]],
    ) -> Mapping[Defect, Span]:
        """Each defect with the span of the same one in a parent, or with a new span; spans that end are ended."""
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
        span = Span(finding, step.number, step.list_edits(self._kind), fresh)
        self.spans.append(span)
        return span


def _find_same(defect: Defect, defects_of_parents: Iterable[Mapping[Defect, Span]]) -> Iterator[Span]:
    for current in defects_of_parents:
        if defect in current:
            yield current[defect]
        elif defect.code == "MG101":
            yield from (span for other, span in current.items() if defect.is_same(other))


class _Step:
    """One commit on the way from the state of its first parent to its own."""

    def __init__(self, number: int, state: State, others: Sequence[State], changed: Changed) -> None:
        self.number = number
        self.state = state
        self.others = others
        # As the first parent had them.
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

    def apply(self) -> None:
        shape, versions = self.state.shape, self.state.versions
        shape.count((version.file.node for version in self.old.values()), -1)
        shape.count(version.file.node for version in self.new.values())
        for path in self.removed:
            del versions[path]
        versions |= self.new

    def is_unchanged(self, path: str) -> bool:
        """Does the file say the same as before, to whoever looks at the graph?"""
        old, new = self.old.get(path), self.new[path]
        if old is None or old.file.node is None or new.file.node is None:
            return False
        meanings = [replace(file, node=describe_meaning(file.node)) for file in (old.file, new.file)]
        return meanings[0] == meanings[1]

    def keeps_graph(self, path: str) -> bool:
        """Does a file that stood before differ only in what no other file's place depends on, such as its date?"""
        old, new = self.old[path].file, self.new[path].file
        if old.node is None or new.node is None or old.findings or old.run_before or old.replaces:
            return False
        before, after = (
            describe_meaning(replace(node, create_date=None, revises=None, is_reversible=None))
            for node in (old.node, new.node)
        )
        return before == after

    def list_neighbours(self, names: set[str], with_children: bool) -> list[ParsedFile]:
        """The parents of the changed files, and on request their children, without references to anything else."""
        wanted = {name for version in self.new.values() if version.known for name in version.known.parents} - names
        found = []
        for version in self.state.versions.values():
            node = version.file.node
            if node is None or node.name in names:
                continue
            references = tuple(one for one in node.references if one.name in names) if with_children else ()
            if references or node.name in wanted:
                found.append(ParsedFile(node.key, replace(node, references=references)))
        return found

    def list_edits(self, kind: Kind) -> dict[str, Edit]:
        """What the commit did to references of files that stood before, by the names of these."""
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
        """The edges among `members` that the commit wrote; if there are none, those that a parent of it lacks.

        To be asked after `apply`.
        """
        versions = [one for one in self.state.versions.values() if one.known and one.known.name in members]
        written = {}
        brought = {}
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
                brought[name] = _describe_fresh(1, version, foreign)
        return {**brought, **written}

    def _list_edges_before(self, members: frozenset[str]) -> set[tuple[str, Key]]:
        remaining = (version for path, version in self.state.versions.items() if path not in self.new)
        return _list_edges([*remaining, *self.old.values()], members)


def _describe_fresh(blame: int, version: Version, keys: Sequence[Key]) -> Fresh:
    return Fresh(blame, version.origins[keys[0]].before, frozenset(name for _, name in keys))


def _list_edges(versions: Iterable[Version], members: frozenset[str]) -> set[tuple[str, Key]]:
    return {(one.known.name, key) for one in versions if one.known and one.known.name in members for key in one.origins}


def describe_meaning(node: Node | None) -> Node | None:
    """The node without what no finding is made of: two that are equal then mean the same."""
    if node is None:
        return None
    references = tuple(replace(reference, line=0) for reference in node.references)
    return replace(node, line=0, references=references, message="", content_hash="")
