"""Suggest what a dangling reference was probably meant to name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from golive.migration_graph.model import Graph, Kind, split_name

# The maximum edit distance of a suggestion; for short ids a third of their length.
MAX_EDITS = 2
# No two ids are longer together.
MAX_JOINED = 200


def suggest_names(
    graph: Graph, name: str, *, child: str, stray: Mapping[str, str] | None = None
) -> list[tuple[str, str]]:
    """(name, reason) of up to three candidates, likeliest first.

    Never `child`, the revision that names it, nor one that comes after it, with which it would close a loop.

    `stray`: id -> file outside the configured folders.
    """
    if stray and name in stray:
        return [(name, f"it is in {stray[name]}, which is in no configured location")]
    certain = [*_find_by_case(graph, name), *_find_by_file(graph, name), *_find_by_label(graph, name)]
    certain += [*_find_by_start(graph, name), *_find_in_other_app(graph, name)]
    found = certain or _find_near(graph, name)
    later = _collect_later(graph, child) if found else set()
    return [each for each in dict.fromkeys(found) if each[0] not in later][:3]


def split_joined(graph: Graph, name: str, *, child: str) -> tuple[str, str] | None:
    """The two ids of which a name is made up: Python joins strings between which the comma is missing."""
    known = {node.name for node in graph.nodes.values()} if len(name) <= MAX_JOINED else set()
    halves = ((name[:at], name[at:]) for at in range(1, len(name)))
    pair = next((pair for pair in halves if known.issuperset(pair)), None)
    return pair if pair and _collect_later(graph, child).isdisjoint(pair) else None


def _collect_later(graph: Graph, name: str) -> set[str]:
    """The names of a revision and of all that come after it."""
    children: dict[str, list[str]] = {}
    for edges in (graph.parents, graph.dependencies):
        for child, parents in edges.items():
            for parent in parents:
                children.setdefault(graph.nodes[parent].name, []).append(graph.nodes[child].name)
    later = {name}
    pending = [name]
    while pending:
        new = set(children.get(pending.pop(), ())) - later
        later |= new
        pending += new
    return later


def _find_by_case(graph: Graph, name: str) -> Iterable[tuple[str, str]]:
    for node in graph.nodes.values():
        if node.name != name and node.name.casefold() == name.casefold():
            yield node.name, "ids are case-sensitive"


def _find_by_file(graph: Graph, name: str) -> Iterable[tuple[str, str]]:
    wanted = PurePosixPath(name).name.removesuffix(".py")
    for key, node in graph.nodes.items():
        # Without pathlib: this is asked of every file for every reference.
        stem = key.rpartition("/")[2].removesuffix(".py")
        if graph.kind is Kind.ALEMBIC and wanted and wanted != node.name:
            if stem == wanted:
                yield node.name, f"the file {key} is named so, but its id is {node.name}"
            elif stem == f"{node.name}_{wanted}":
                yield node.name, f"that is the slug of {key}, not an id"


def _find_by_label(graph: Graph, name: str) -> Iterable[tuple[str, str]]:
    for key, node in graph.nodes.items():
        if name in node.branch_labels:
            yield node.name, f"{name} is a branch label of {key}; only depends_on takes labels"


def _find_by_start(graph: Graph, name: str) -> Iterable[tuple[str, str]]:
    """Alembic's command line accepts a prefix of an id; its files do not."""
    if len(name) < 3:
        return
    matches = [node.name for node in graph.nodes.values() if node.name != name and node.name.startswith(name)]
    if len(matches) == 1:
        yield matches[0], "a file must name the whole id, not its beginning"


def _find_in_other_app(graph: Graph, name: str) -> Iterable[tuple[str, str]]:
    if graph.kind is Kind.DJANGO:
        _, migration = split_name(name)
        same = [node.name for node in graph.nodes.values() if split_name(node.name)[1] == migration]
        if len(same) == 1:
            yield same[0], f"the app {split_name(same[0])[0]} has a migration of that name"


def _find_near(graph: Graph, name: str) -> list[tuple[str, str]]:
    limit = min(MAX_EDITS, len(name) // 3)
    near = []
    for candidate in dict.fromkeys(node.name for node in graph.nodes.values()):
        if graph.kind is Kind.DJANGO and _get_number(candidate) != _get_number(name):
            continue
        edits = count_edits(name, candidate, limit)
        if edits is not None:
            near.append((edits, candidate))
    return [(candidate, f"it differs by {edits} character{'s' * (edits > 1)}") for edits, candidate in sorted(near)]


def _get_number(name: str) -> str:
    """App and number of a Django migration: another number is another migration, not a misspelt one."""
    app, migration = split_name(name)
    return f"{app}.{migration.partition('_')[0]}"


def count_edits(first: str, second: str, limit: int) -> int | None:
    """The edit distance, counting a swap of neighbours as one edit (optimal string alignment). None: over `limit`."""
    if abs(len(first) - len(second)) > limit:
        return None
    before: list[int] = []
    row = list(range(len(second) + 1))
    for i, left in enumerate(first, 1):
        current = [i]
        for j, right in enumerate(second, 1):
            cost = min(row[j] + 1, current[-1] + 1, row[j - 1] + (left != right))
            if i > 1 and j > 1 and left == second[j - 2] and first[i - 2] == right:
                cost = min(cost, before[j - 2] + 1)
            current.append(cost)
        if min(current) > limit:
            return None
        before, row = row, current
    return row[-1] if row[-1] <= limit else None
