"""One graph out of many parsed files: which reference leads to which file, and what follows from that.

For Django it is the graph of `MigrationLoader` with nothing applied yet: squashed migrations stand for the old ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from golive.migration_graph.graph.django_references import DjangoResolver
from golive.migration_graph.model import Graph, Kind, Node, ParsedFile, Project, Reference, Role, get_app, index_by_name

Keys = tuple[str, ...]


def build_graph(kind: Kind, files: Iterable[ParsedFile], project: Project | None = None) -> Graph:
    """The graph of files that were read; `project` helps to resolve what Django's references leave open."""
    ordered = sorted(files, key=lambda file: file.key)
    nodes = {file.key: file.node for file in ordered if file.node is not None}
    guesses = frozenset(name for file in ordered for name in file.guesses)
    if kind is Kind.DJANGO:
        return _build_django(nodes, ordered, project or Project(), guesses)
    return _build_alembic(nodes, guesses)


def _build_alembic(nodes: Mapping[str, Node], guesses: frozenset[str]) -> Graph:
    names = index_by_name(nodes)
    labels: dict[str, list[str]] = {}
    for key, node in nodes.items():
        for label in node.branch_labels:
            labels.setdefault(label, [key])
    parents: dict[str, Keys] = {}
    dependencies: dict[str, Keys] = {}
    dangling: dict[str, tuple[Reference, ...]] = {}
    for key, node in nodes.items():
        lost = []
        for reference in node.references:
            found = names.get(reference.name)
            if found is None and reference.role is Role.DEPENDENCY:
                found = labels.get(reference.name)
            if found is None:
                lost.append(reference)
                continue
            edges = parents if reference.role is Role.PARENT else dependencies
            _add(edges, key, found)
        if lost:
            dangling[key] = tuple(lost)
    children = count_children(parents)
    heads = unique(nodes[key].name for key in nodes if key not in children)
    bases = unique(node.name for key, node in nodes.items() if not node.parents and "down_revision" not in node.unread)
    return Graph(Kind.ALEMBIC, nodes, parents, dependencies, heads, bases, dangling, guesses=guesses)


def _add(edges: dict[str, Keys], child: str, found: Sequence[str]) -> None:
    """Point a child at its parents; a reference to itself is a finding, not an edge."""
    known = edges.get(child, ())
    fresh = tuple(parent for parent in found if parent != child and parent not in known)
    if fresh:
        edges[child] = known + fresh


def _build_django(
    nodes: Mapping[str, Node], files: Sequence[ParsedFile], project: Project, guesses: frozenset[str]
) -> Graph:
    resolver = DjangoResolver(nodes, files, project)
    resolver.resolve()
    parents, dependencies = resolver.parents, resolver.dependencies
    in_app_children = defaultdict(set)
    in_app_parents = defaultdict(set)
    for edges in (parents, dependencies):
        for child, targets in edges.items():
            for parent in targets:
                if get_app(nodes[child].name) == get_app(nodes[parent].name):
                    in_app_children[parent].add(child)
                    in_app_parents[child].add(parent)
    own = {key for key, lost in resolver.dangling.items() if _leads_into_own_app(nodes[key], lost)}
    alive = [key for key in nodes if key not in resolver.replaced]
    heads = unique(nodes[key].name for key in alive if not in_app_children[key])
    bases = unique(nodes[key].name for key in alive if not in_app_parents[key] and key not in own)
    return Graph(
        Kind.DJANGO,
        nodes,
        parents,
        dependencies,
        heads,
        bases,
        resolver.dangling,
        MappingProxyType(resolver.origins),
        resolver.replaced,
        guesses,
        {file.key: file.replaces for file in files if file.replaces and file.key in nodes},
    )


def _leads_into_own_app(node: Node, lost: Iterable[Reference]) -> bool:
    return any(get_app(reference.name) == get_app(node.name) for reference in lost)


def unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def count_children(parents: Mapping[str, Keys]) -> dict[str, int]:
    """Key -> how many files name it as a parent; keys that no file names are left out."""
    counts: dict[str, int] = {}
    for found in parents.values():
        for parent in found:
            counts[parent] = counts.get(parent, 0) + 1
    return counts


def count_merges(graph: Graph) -> int:
    """How many revisions have several parents (for Django: within their app)."""
    return sum(len(_count_related(graph, key, found)) > 1 for key, found in graph.parents.items())


def count_branch_points(graph: Graph) -> int:
    """How many revisions have several children (for Django: within their app)."""
    children: dict[str, set[str]] = defaultdict(set)
    for child, found in graph.parents.items():
        for parent in _count_related(graph, child, found):
            children[parent].add(graph.nodes[child].name)
    return sum(len(names) > 1 for names in children.values())


def _count_related(graph: Graph, child: str, found: Keys) -> set[str]:
    names = {graph.nodes[parent].name for parent in found}
    if graph.kind is Kind.DJANGO:
        app = get_app(graph.nodes[child].name)
        return {name for name in names if get_app(name) == app}
    return names
