"""Strongly connected components and shortest cycles of a directed graph given as `node -> parents`."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from heapq import heappop, heappush
from typing import TypeVar

T = TypeVar("T", bound=Hashable)
# How many steps a search for the shortest cycle may take; beyond that, the shortest one seen so far is given.
MAX_STEPS = 2_000_000


def find_components(edges: Mapping[T, Sequence[T]]) -> list[list[T]]:
    """The components of more than one node (Tarjan 1972, without recursion), in a stable order."""
    index: dict[T, int] = {}
    low: dict[T, int] = {}
    stack: list[T] = []
    on_stack: set[T] = set()
    found: list[list[T]] = []
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
                        found.append(component)
    return found


def _pop_component(root: T, stack: list[T], on_stack: set[T]) -> list[T]:
    component = []
    while True:
        node = stack.pop()
        on_stack.discard(node)
        component.append(node)
        if node == root:
            return component


def has_cycle(edges: Mapping[T, Iterable[T]]) -> bool:
    """Whether there is any cycle; an edge from a node to itself is one."""
    waiting: dict[T, int] = {}
    for parents in edges.values():
        for parent in parents:
            waiting[parent] = waiting.get(parent, 0) + 1
    nodes = set(edges) | set(waiting)
    ready = [node for node in nodes if node not in waiting]
    done = 0
    while ready:
        node = ready.pop()
        done += 1
        for parent in edges.get(node, ()):
            waiting[parent] -= 1
            if not waiting[parent]:
                ready.append(parent)
    return done < len(nodes)


def find_shortest_cycle(edges: Mapping[T, Mapping[T, int]]) -> list[T]:
    """One cycle of the least length, as nodes in the order of the edges; `edges`: node -> parent -> length.

    Empty if there is none. A node that points at itself is a cycle of that edge's length.
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
