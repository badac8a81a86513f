"""The transition from the state of a commit's first parent to its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Optional

from golive.migration_graph.history.states import Fresh, Removal, State
from golive.migration_graph.history.versions import Key, Version, find_edit, make_version, read_names
from golive.migration_graph.model import Edit, Kind, Node, ParsedFile, Role

# Path -> blob and parsed content of the file; None: the path was removed.
Changed = Mapping[str, Optional[tuple[str, ParsedFile]]]


class Step:
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
        """The same file under another id or name, or a new one that was made at the same time on the same parents."""
        if path in self.new:
            return self.new[path]
        node = version.known
        added = [one for other, one in self.new.items() if other not in self.old and one.known]
        for one in added:
            if one.blob == version.blob:
                return one
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
