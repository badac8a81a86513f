"""Which edges to remove from a strongly connected component so that no cycle is left.

Runs without branches are first folded into one edge: a loop of ten thousand revisions then has a single edge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from golive.migration_graph.graph.components import find_shortest_cycle, has_cycle

Arc = tuple[str, str]
Weigh = Callable[[Arc], float]
# How many states the exact search may visit, and how many cycles it may collect.
MAX_STATES = 20_000
MAX_CYCLES = 400


@dataclass(frozen=True)
class Folded:
    """A component with its runs folded. `edges`: node -> parent -> the keys along the run, including both ends."""

    edges: Mapping[str, Mapping[str, tuple[str, ...]]]

    def unfold(self, arc: Arc) -> list[Arc]:
        """The original edges behind a folded one."""
        path = self.edges[arc[0]][arc[1]]
        return list(zip(path, path[1:]))

    def get_lengths(self) -> dict[str, dict[str, int]]:
        return {node: {parent: len(run) - 1 for parent, run in parents.items()} for node, parents in self.edges.items()}


def fold(component: Iterable[str], edges: Mapping[str, Sequence[str]]) -> Folded:
    """Fold the runs of a component."""
    members = set(component)
    inner = {node: [parent for parent in edges.get(node, ()) if parent in members] for node in sorted(members)}
    children: dict[str, int] = {}
    for parents in inner.values():
        for parent in parents:
            children[parent] = children.get(parent, 0) + 1
    ends = {node for node in inner if len(inner[node]) != 1 or children[node] != 1} or {next(iter(inner))}
    while True:
        folded: dict[str, dict[str, tuple[str, ...]]] = {node: {} for node in inner if node in ends}
        parallel = set()
        for run in _list_runs(inner, ends):
            existing = folded[run[0]].setdefault(run[-1], run)
            if existing is not run:
                # Two runs between the same ends: the longer one gets its first inner revision as an extra node.
                parallel.add(max(existing, run, key=len)[1])
        if not parallel:
            return Folded(folded)
        ends |= parallel


def _list_runs(inner: Mapping[str, Sequence[str]], ends: set[str]) -> Iterator[tuple[str, ...]]:
    for node in inner:
        if node in ends:
            for parent in inner[node]:
                run = [node, parent]
                while run[-1] not in ends:
                    run.append(inner[run[-1]][0])
                yield tuple(run)


def find_cycle(folded: Folded) -> tuple[str, ...]:
    """A shortest cycle, in the order child, parent, grandparent."""
    nodes = find_shortest_cycle(folded.get_lengths())
    keys: list[str] = []
    for child, parent in zip(nodes, (*nodes[1:], nodes[0])):
        keys += folded.edges[child][parent][:-1]
    return tuple(keys)


def find_single_cuts(folded: Folded) -> list[Arc]:
    """Every edge whose removal alone breaks all cycles. Such an edge is on every cycle, so on a shortest one."""
    nodes = find_shortest_cycle(folded.get_lengths())
    cuts: list[Arc] = []
    for arc in zip(nodes, (*nodes[1:], nodes[0])):
        if not has_cycle(_without(folded.edges, {arc})):
            cuts += folded.unfold(arc)
    return cuts


def _without(edges: Mapping[str, Iterable[str]], arcs: set[Arc]) -> dict[str, list[str]]:
    return {node: [parent for parent in parents if (node, parent) not in arcs] for node, parents in edges.items()}


def find_minimum_cut(folded: Folded, weigh: Weigh = lambda arc: 1.0) -> tuple[tuple[Arc, ...], bool]:
    """A feedback edge set of minimum weight, and whether it is proven minimal.

    Exact by hitting sets: take the cheapest edges that hit all cycles known so far, until no cycle is left. If that
    takes too long, return a set from which no edge can be dropped, not proven to be the cheapest.
    """
    cheapest = {
        (child, parent): min(folded.unfold((child, parent)), key=lambda arc: (weigh(arc), arc))
        for child, parents in folded.edges.items()
        for parent in parents
    }
    costs = {arc: weigh(real) for arc, real in cheapest.items()}
    chosen = _search(folded, costs)
    is_proven = chosen is not None
    if chosen is None:
        chosen = _approximate(folded, costs)
    return tuple(sorted(cheapest[arc] for arc in chosen)), is_proven


def _search(folded: Folded, costs: Mapping[Arc, float]) -> set[Arc] | None:
    lengths = folded.get_lengths()
    cycles: list[list[Arc]] = []
    chosen: set[Arc] = set()
    while len(cycles) <= MAX_CYCLES:
        new = _collect_cycles(lengths, chosen)
        if not new:
            return chosen
        cycles += new
        solution = _HittingSet(cycles, costs).solve()
        if solution is None:
            return None
        chosen = solution
    return None


def _collect_cycles(lengths: Mapping[str, Mapping[str, int]], removed: set[Arc]) -> list[list[Arc]]:
    """Edge-disjoint cycles of the graph without the removed edges."""
    cycles: list[list[Arc]] = []
    gone = set(removed)
    while True:
        rest = {
            node: {parent: length for parent, length in parents.items() if (node, parent) not in gone}
            for node, parents in lengths.items()
        }
        nodes = find_shortest_cycle(rest)
        if not nodes:
            return cycles
        cycle = list(zip(nodes, (*nodes[1:], nodes[0])))
        cycles.append(cycle)
        gone.update(cycle)


class _HittingSet:
    """The cheapest set of edges that hits every cycle: branch and bound on the shortest cycle not yet hit."""

    def __init__(self, cycles: Iterable[Sequence[Arc]], costs: Mapping[Arc, float]) -> None:
        self.cycles = sorted((tuple(cycle) for cycle in cycles), key=len)
        self.costs = costs
        self.best: set[Arc] | None = None
        self.best_cost = float("inf")
        self.states = 0

    def solve(self) -> set[Arc] | None:
        """The cheapest set; None: the search hit MAX_STATES."""
        self._try(set(), frozenset(), 0.0)
        return None if self.states > MAX_STATES else self.best

    def _try(self, chosen: set[Arc], barred: frozenset[Arc], cost: float) -> None:
        self.states += 1
        if self.states > MAX_STATES or cost + self._bound(chosen) >= self.best_cost:
            return
        cycle = next((cycle for cycle in self.cycles if chosen.isdisjoint(cycle)), None)
        if cycle is None:
            self.best, self.best_cost = set(chosen), cost
            return
        for arc in sorted(cycle, key=lambda arc: (self.costs[arc], arc)):
            if arc not in barred:
                self._try(chosen | {arc}, barred, cost + self.costs[arc])
                # All sets that contain this edge have been searched.
                barred |= {arc}

    def _bound(self, chosen: set[Arc]) -> float:
        """A lower bound of the remaining cost: edge-disjoint cycles each need an edge of their own."""
        used: set[Arc] = set()
        total = 0.0
        for cycle in self.cycles:
            if chosen.isdisjoint(cycle) and used.isdisjoint(cycle):
                used.update(cycle)
                total += min(self.costs[arc] for arc in cycle)
        return total


def _approximate(folded: Folded, costs: Mapping[Arc, float]) -> set[Arc]:
    """The back edges of a depth-first search, minus those that are not needed."""
    chosen: set[Arc] = set()
    state: dict[str, int] = {}
    for root in folded.edges:
        if root in state:
            continue
        state[root] = 1
        work = [(root, iter(folded.edges[root]))]
        while work:
            node, rest = work[-1]
            for parent in rest:
                if state.get(parent) == 1:
                    chosen.add((node, parent))
                elif parent not in state:
                    state[parent] = 1
                    work.append((parent, iter(folded.edges[parent])))
                    break
            else:
                state[node] = 2
                work.pop()
    for arc in sorted(chosen, key=lambda arc: (-costs[arc], arc)):
        if not has_cycle(_without(folded.edges, chosen - {arc})):
            chosen.discard(arc)
    return chosen
