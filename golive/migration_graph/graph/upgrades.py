"""Plan what `alembic upgrade heads` or Django's `migrate` would run, in the tool's own order.

Only for graphs that the tool can load (`is_loadable`): no cycle, no dangling reference, no duplicate name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from golive.migration_graph.graph.components import find_components
from golive.migration_graph.model import Graph, Kind, split_name


def is_loadable(graph: Graph) -> bool:
    """Whether the tool can load the graph, and every place in it is known."""
    before = {key: [*graph.parents.get(key, ()), *graph.dependencies.get(key, ())] for key in graph.nodes}
    names = {node.name for node in graph.nodes.values()}
    return (
        len(names) == len(graph.nodes)
        and not graph.dangling
        and not any(node.unread for node in graph.nodes.values())
        and not any(node.name in (*node.parents, *node.dependencies) for node in graph.nodes.values())
        and not find_components(before)
    )


def plan_upgrade(graph: Graph, applied: Collection[str]) -> tuple[str, ...]:
    """The names to run, in order. For `applied` see `golive.migration_graph.findings.applied`."""
    done = find_done(graph, applied)
    plan = _plan_alembic(graph, done) if graph.kind is Kind.ALEMBIC else _plan_django(graph, done)
    return tuple(graph.nodes[key].name for key in plan)


def find_done(graph: Graph, applied: Collection[str]) -> set[str]:
    """The keys of the files that the tool takes for applied, as far as the rows say; for Alembic without ancestors."""
    keys = {node.name: key for key, node in graph.nodes.items()}
    done = {keys[name] for name in applied if name in keys}
    # Django takes a squashed migration for applied once all that it replaces are.
    return done | {squashed for squashed, old in graph.replaces.items() if set(old) <= set(applied)}


def find_partly_applied(graph: Graph, applied: Collection[str]) -> frozenset[str]:
    """The keys of squashed migrations of which only a part of what they replace is applied."""
    done = find_done(graph, applied)
    return frozenset(
        squashed
        for squashed, old in graph.replaces.items()
        if squashed not in done and not set(old).isdisjoint(applied)
    )


def find_overlaps(graph: Graph, applied: Collection[str]) -> list[tuple[str, str]]:
    """(row, other row that it comes before), by key, for rows of Alembic's table: it refuses both of them."""
    done = find_done(graph, applied)
    before = {key: (*graph.parents.get(key, ()), *graph.dependencies.get(key, ())) for key in graph.nodes}
    overlaps = []
    for key in sorted(done):
        below = _find_below(before, before[key])
        overlaps += [(other, key) for other in sorted(below & done) if other != key]
    return overlaps


def find_inconsistent(graph: Graph, applied: Collection[str]) -> list[tuple[str, str]]:
    """(applied migration, parent that is not applied), by key: Django refuses such a history.

    A squashed migration that only counts as applied is not looked at.
    """
    done = find_done(graph, applied)
    return [
        (key, parent)
        for key in sorted(done)
        if key not in graph.replaced and graph.nodes[key].name in applied
        for parent in (*graph.parents.get(key, ()), *graph.dependencies.get(key, ()))
        if parent not in done
    ]


def list_fragile(graph: Graph) -> list[str]:
    """Revisions of which one predecessor comes before another, by key. Alembic may fail there.

    Where several rows of its table are among the predecessors, Alembic replaces all predecessors by the revision, and
    fails if one of them is not a row: because it comes before another one.
    """
    before = _list_all_before(graph)
    return [
        key
        for key, names in before.items()
        if len(names) > 1 and any(set(names) & _find_below(before, before[name]) for name in names)
    ]


def find_failing_step(graph: Graph, applied: Collection[str]) -> str | None:
    """The revision (by key) at which Alembic could not keep its table up to date; None: an upgrade goes through."""
    if not list_fragile(graph):
        return None
    rows = find_done(graph, applied)
    before = _list_all_before(graph)
    for key in _plan_alembic(graph, rows):
        replaced = set(before[key])
        if len(rows & replaced) > 1:
            replaced -= _find_below(before, rows - replaced)
            if not replaced <= rows:
                return key
        rows = rows - replaced | {key}
    return None


@dataclass
class _Line:
    """A line of descent being walked down: the current revision, and everything at or below it."""

    tip: str
    below: set[str]


def _plan_alembic(graph: Graph, done: set[str]) -> list[str]:
    """Alembic walks down from the heads, one line of descent at a time, and reverses the walk.

    A line waits while another one is still above its tip; where a line forks, it continues with the first parent.
    """
    before = {key: _list_before(graph, key) for key in sorted(graph.nodes, key=_as_walked)}
    place = {key: index for index, key in enumerate(before)}
    named = {key for names in before.values() for key in names}
    todo = set(before) - _find_below(before, done)
    lines = [_Line(key, _find_below(before, [key]) & todo) for key in before if key not in named and key in todo]
    lines.sort(key=lambda line: place[line.tip])
    walked: list[str] = []
    at = 0
    while lines:
        tip = lines[at].tip
        above = next((index for index, line in enumerate(lines) if index != at and tip in line.below), None)
        if above is not None:
            at = above
            continue
        if tip in todo:
            walked.append(tip)
            todo.remove(tip)
        tips = {line.tip for line in lines}
        following = [key for key in before[tip] if key in todo and key not in tips]
        if not following:
            del lines[at]
            at = max(at - 1, 0)
        elif len(before[tip]) == 1:
            lines[at].tip = following[0]
            lines[at].below.discard(tip)
        else:
            forks = [_Line(key, _find_below(before, [key]) & todo) for key in following]
            lines[at] = forks[0]
            lines += forks[1:]
    return walked[::-1]


def _list_all_before(graph: Graph) -> dict[str, tuple[str, ...]]:
    return {key: _list_before(graph, key) for key in graph.nodes}


def _list_before(graph: Graph, key: str) -> tuple[str, ...]:
    """Parents, then the dependencies that no ancestor already implies."""
    parents, dependencies = graph.parents.get(key, ()), graph.dependencies.get(key, ())
    if dependencies:
        ancestors = _find_below(graph.parents, parents)
        implied = {name for ancestor in ancestors for name in graph.dependencies.get(ancestor, ())}
        dependencies = tuple(name for name in dependencies if name not in implied)
    return tuple(dict.fromkeys((*parents, *dependencies)))


def _as_walked(key: str) -> tuple[tuple[bool, str], ...]:
    """Sort key for the order in which Alembic reads folders: files by name, then subfolders by name."""
    *folders, file = PurePosixPath(key).parts
    return (*((True, folder) for folder in folders), (False, file))


def _find_below(before: Mapping[str, Iterable[str]], starts: Iterable[str]) -> set[str]:
    below: set[str] = set()
    todo = list(starts)
    while todo:
        key = todo.pop()
        if key not in below:
            below.add(key)
            todo += before.get(key, ())
    return below


def _plan_django(graph: Graph, done: set[str]) -> list[str]:
    """Django visits the leaves by name, and the ancestors of each in depth-first post-order."""
    names = {key: split_name(node.name) for key, node in graph.nodes.items()}
    named_within_app = {
        parent for key, parents in graph.parents.items() for parent in parents if names[parent][0] == names[key][0]
    }
    active = (key for key in graph.nodes if key not in graph.replaced)
    # From a leaf that is applied Django does not go down.
    leaves = sorted((key for key in active if key not in named_within_app and key not in done), key=names.__getitem__)
    plan = dict.fromkeys(key for leaf in leaves for key in _walk_up(graph, names, leaf))
    return [key for key in plan if key not in done]


def _walk_up(graph: Graph, names: Mapping[str, tuple[str, ...]], start: str) -> Iterator[str]:
    seen: set[str] = set()
    stack = [(start, False)]
    while stack:
        key, is_ready = stack.pop()
        if key in seen:
            continue
        if is_ready:
            seen.add(key)
            yield key
        else:
            stack.append((key, True))
            before = {*graph.parents.get(key, ()), *graph.dependencies.get(key, ())}
            stack += [(parent, False) for parent in sorted(before, key=names.__getitem__)]
