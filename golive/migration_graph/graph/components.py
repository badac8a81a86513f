"""Strongly connected components and shortest cycles of a directed graph given as `node -> parents`."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from heapq import heappop, heappush
from typing import TypeVar

T = TypeVar("T", bound=Hashable)
# How many steps the search for a shortest cycle may take; after that it returns the shortest one so far.
MAX_STEPS = 2_000_000


def find_components(edges: Mapping[T, Sequence[T]]) -> list[list[T]]:
    """The strongly connected components of more than one node, in a stable order (Tarjan 1972, iterative)."""
    index: dict[T, int] = {}
    low: dict[T, int] = {}
    stack: list[T] = []
    on_stack: set[T] = set()
    components: list[list[T]] = []
    for root in edges:
        if root in index:
            continue
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        work = [(root, iter(edges[root]))]
        while work:
            node, rest = work[-1]
            for parent in rest:
                if parent not in index:
                    index[parent] = low[parent] = len(index)
                    stack.append(parent)
                    on_stack.add(parent)
                    work.append((parent, iter(edges.get(parent, ()))))
                    break
                if parent in on_stack and index[parent] < low[node]:
                    low[node] = index[parent]
            else:
                work.pop()
                if work and low[node] < low[work[-1][0]]:
                    low[work[-1][0]] = low[node]
                if low[node] == index[node]:
                    component = _pop_component(node, stack, on_stack)
                    if len(component) > 1:
                        components.append(component)
    return components


def _pop_component(root: T, stack: list[T], on_stack: set[T]) -> list[T]:
    component = []
    while True:
        node = stack.pop()
        on_stack.discard(node)
        component.append(node)
        if node == root:
            return component


def has_cycle(edges: Mapping[T, Iterable[T]]) -> bool:
    """Whether there is any cycle; a self-loop counts as one."""
    child_counts: dict[T, int] = {}
    for parents in edges.values():
        for parent in parents:
            child_counts[parent] = child_counts.get(parent, 0) + 1
    nodes = set(edges) | set(child_counts)
    ready = [node for node in nodes if node not in child_counts]
    done = 0
    while ready:
        node = ready.pop()
        done += 1
        for parent in edges.get(node, ()):
            child_counts[parent] -= 1
            if not child_counts[parent]:
                ready.append(parent)
    return done < len(nodes)


def find_shortest_cycle(edges: Mapping[T, Mapping[T, int]]) -> list[T]:
    """A shortest cycle, as nodes in the order of the edges; empty if there is none. `edges`: node -> parent -> length.

    A self-loop is a cycle of that edge's length.
    """
    best: list[T] = []
    best_length = float("inf")
    steps = 0
    for start in edges:
        if steps > MAX_STEPS and best:
            break
        distance: dict[T, int] = {start: 0}
        came_from: dict[T, T] = {}
        queue: list[tuple[int, int, T]] = [(0, 0, start)]
        while queue:
            length, _, node = heappop(queue)
            if length > distance[node] or length >= best_length:
                continue
            for parent, more in edges.get(node, {}).items():
                steps += 1
                total = length + more
                if total >= best_length:
                    continue
                if parent == start:
                    best, best_length = _trace(came_from, start, node), total
                elif total < distance.get(parent, total + 1):
                    distance[parent] = total
                    came_from[parent] = node
                    heappush(queue, (total, steps, parent))
    return best


def _trace(came_from: Mapping[T, T], start: T, end: T) -> list[T]:
    path = [end]
    while path[-1] != start:
        path.append(came_from[path[-1]])
    return path[::-1]
