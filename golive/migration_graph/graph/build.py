"""Build the graph from parsed files by resolving each reference to a file.

For Django the result is the graph of `MigrationLoader` with nothing applied: squashed migrations replace the old ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from golive.migration_graph.graph.django_references import DjangoResolver
from golive.migration_graph.model import Graph, Kind, Node, ParsedFile, Project, Reference, Role, get_app, index_by_name

Keys = tuple[str, ...]


def build_graph(
    kind: Kind,
    files: Iterable[ParsedFile],
    project: Project | None = None,
    *,
    partly_applied: Collection[str] = (),
) -> Graph:
    """The graph of the parsed files; `project` resolves Django's references to settings and to other apps.

    `partly_applied`: keys of squashed migrations of which a database has run a part. Django leaves them out then.
    """
    every = sorted(files, key=lambda file: file.key)
    ordered = [file for file in every if file.key not in partly_applied]
    nodes = {file.key: file.node for file in ordered if file.node is not None}
    guesses = frozenset(name for file in ordered for name in file.guesses)
    if kind is Kind.DJANGO:
        removed = [file for file in every if file.key in partly_applied]
        return _build_django(nodes, ordered, project or Project(), guesses, removed)
    return _build_alembic(nodes, guesses | (project.elsewhere if project else frozenset()))


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
        unresolved = []
        for reference in node.references:
            targets = names.get(reference.name)
            if targets is None and reference.role is Role.DEPENDENCY:
                targets = labels.get(reference.name)
            if targets is None:
                unresolved.append(reference)
                continue
            edges = parents if reference.role is Role.PARENT else dependencies
            _add(edges, key, targets)
        if unresolved:
            dangling[key] = tuple(unresolved)
    children = count_children(parents)
    heads = unique(nodes[key].name for key in nodes if key not in children)
    bases = unique(node.name for key, node in nodes.items() if not node.parents and "down_revision" not in node.unread)
    return Graph(Kind.ALEMBIC, nodes, parents, dependencies, heads, bases, dangling, guesses=guesses)


def _add(edges: dict[str, Keys], child: str, parents: Sequence[str]) -> None:
    """Add edges from a child to its parents; a self-reference is a finding, not an edge."""
    existing = edges.get(child, ())
    new = tuple(parent for parent in parents if parent != child and parent not in existing)
    if new:
        edges[child] = existing + new


def _build_django(
    nodes: Mapping[str, Node],
    files: Sequence[ParsedFile],
    project: Project,
    guesses: frozenset[str],
    removed: Sequence[ParsedFile],
) -> Graph:
    resolver = DjangoResolver(nodes, files, project, removed)
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
    orphans = {key for key, lost in resolver.dangling.items() if _leads_into_own_app(nodes[key], lost)}
    active = [key for key in nodes if key not in resolver.replaced]
    heads = unique(nodes[key].name for key in active if not in_app_children[key])
    # A migration whose dependencies are computed, or lead nowhere, may well have a parent.
    orphans |= {key for key, node in nodes.items() if "dependencies" in node.unread}
    bases = unique(nodes[key].name for key in active if not in_app_parents[key] and key not in orphans)
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
        resolver.unchecked,
    )


def _leads_into_own_app(node: Node, lost: Iterable[Reference]) -> bool:
    return any(get_app(reference.name) == get_app(node.name) for reference in lost)


def unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def count_children(parents: Mapping[str, Keys]) -> dict[str, int]:
    """Key -> number of its children; keys without children are left out."""
    counts: dict[str, int] = {}
    for found in parents.values():
        for parent in found:
            counts[parent] = counts.get(parent, 0) + 1
    return counts


def count_merges(graph: Graph) -> int:
    """The number of revisions with several parents (for Django: within their app)."""
    return sum(len(_count_related(graph, key, found)) > 1 for key, found in graph.parents.items())


def count_branch_points(graph: Graph) -> int:
    """The number of revisions with several children (for Django: within their app)."""
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
