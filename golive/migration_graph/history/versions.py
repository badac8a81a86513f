"""Versions of migration files, and how one commit changes the shape of a graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from golive.migration_graph.model import Edit, Kind, Node, ParsedFile, Role, get_app
from golive.migration_graph.readers.values import format_value

Key = tuple[Role, str]
# The attributes that hold each list (see `Node.unread`).
_VARIABLES = {Role.PARENT: {"down_revision", "dependencies"}, Role.DEPENDENCY: {"depends_on"}}


@dataclass(frozen=True)
class Origin:
    """Where a reference comes from: the number of the commit that wrote it, and the list before that.

    `before` None: the file was new.
    """

    commit: int
    before: tuple[str, ...] | None


@dataclass(frozen=True)
class Version:
    """One file in one state. `known` is the last readable node, `added` the number of the commit that added it."""

    blob: str
    file: ParsedFile
    known: Node | None
    origins: Mapping[Key, Origin]
    added: int


def make_version(number: int, blob: str, file: ParsedFile, ancestors: Sequence[Version]) -> Version:
    """The version of a file in commit `number`; `ancestors`: its versions in the commit's parents, in order."""
    known = ancestors[0].known if ancestors else None
    added = min((ancestor.added for ancestor in ancestors), default=number)
    if file.node is None:
        # A file that is temporarily unreadable (conflict markers) keeps its last known node.
        return Version(blob, file, known, ancestors[0].origins if ancestors else {}, added)
    origins: dict[Key, Origin] = {}
    for reference in file.node.references:
        key = (reference.role, reference.name)
        inherited = next((ancestor.origins[key] for ancestor in ancestors if key in ancestor.origins), None)
        origins[key] = inherited or Origin(number, read_names(known, reference.role) if known else None)
    return Version(blob, file, file.node, origins, added)


def list_names(node: Node, role: Role) -> tuple[str, ...]:
    return node.parents if role is Role.PARENT else node.dependencies


def read_names(node: Node, role: Role) -> tuple[str, ...] | None:
    """The names of one list; None if only running the file would tell."""
    return None if _VARIABLES[role].intersection(node.unread) else list_names(node, role)


def find_edit(before: Node | None, after: Node | None, kind: Kind) -> Edit | None:
    """The change of a file's references; None: unchanged, or the file is new or removed."""
    if before is None or after is None:
        return None
    for role in Role:
        old, new = read_names(before, role), read_names(after, role)
        if old is not None and new is not None and old != new:
            return Edit(after.key, after.find_line(role), format_value(old, kind), format_value(new, kind), role)
    return None


def get_scope(name: str, kind: Kind) -> str:
    """The scope of heads and bases: the app for Django, "" (the whole folder) for Alembic."""
    return get_app(name) if kind is Kind.DJANGO else ""


@dataclass
class Shape:
    """Per name: the number of files that define it, of references to it, and of its children in the same scope."""

    kind: Kind
    names: Counter[str] = field(default_factory=Counter)
    referenced: Counter[str] = field(default_factory=Counter)
    children: Counter[str] = field(default_factory=Counter)

    def copy(self) -> Shape:
        return Shape(self.kind, self.names.copy(), self.referenced.copy(), self.children.copy())

    def count(self, nodes: Iterable[Node | None], step: int = 1) -> None:
        """Add nodes to the counts, or subtract them with `step` -1."""
        for node in nodes:
            if node is None:
                continue
            self.names[node.name] += step
            for reference in node.references:
                self.referenced[reference.name] += step
                if self.is_parent(node, reference.name):
                    self.children[reference.name] += step

    def list_heads(self) -> frozenset[str]:
        return frozenset(name for name, files in self.names.items() if files > 0 and self.children[name] <= 0)

    def is_parent(self, node: Node, name: str) -> bool:
        return name in node.parents and get_scope(name, self.kind) == get_scope(node.name, self.kind)

    def grows_by(self, new: Sequence[Node]) -> bool:
        """Whether the new nodes only extend the graph at its heads, so that no graph-wide defect can begin or end.

        True if their names are unique and not yet referenced, their parents exist, they form no loop, and the number of
        heads and bases stays the same. False if that cannot be determined cheaply.
        """
        names = {node.name for node in new}
        if len(names) != len(new) or any(self.names[name] or self.referenced[name] for name in names):
            return False
        for node in new:
            if node.branch_labels or node.dependencies or not node.parents:
                return False
            if any(name not in names and self.names[name] != 1 for name in node.parents):
                return False
        try:
            TopologicalSorter({node.name: names.intersection(node.parents) for node in new}).prepare()
        except CycleError:
            return False
        named = {name for node in new for name in node.parents if self.is_parent(node, name)}
        lost = [name for name in named - names if not self.children[name]]
        return self._count_scopes(lost) == self._count_scopes(names - named)

    def _count_scopes(self, names: Iterable[str]) -> Counter[str]:
        return Counter(get_scope(name, self.kind) for name in names)
