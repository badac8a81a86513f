"""MG101: each strongly connected component, with a shortest cycle and the edges whose removal breaks it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from golive.migration_graph.catalogue import make_finding
from golive.migration_graph.findings.evidence import GRAPH_ALONE, Evidence, Judge, judge_statically, rank_cuts
from golive.migration_graph.graph.components import find_components
from golive.migration_graph.graph.cuts import Arc, find_cycle, find_minimum_cut, find_single_cuts, fold
from golive.migration_graph.model import Cut, Edge, Finding, Graph, Kind

Edges = Mapping[str, Sequence[str]]


def find_cycles(graph: Graph, *, judge: Judge | None = None) -> list[Finding]:
    """One finding per component: over parents, then over parents and dependencies where parents alone have no cycle.

    `judge` returns the evidence for removing an edge (child key, parent key); default: the evidence in the files.
    """
    judge = judge or (lambda arc: judge_statically(graph, *arc))
    by_parents = find_components(graph.parents)
    together = join_edges(graph)
    tangled = {key for component in by_parents for key in component}
    by_both = find_components(together) if graph.dependencies else []
    findings = [_describe(graph, component, graph.parents, together, judge) for component in by_parents]
    for component in by_both:
        if tangled.isdisjoint(component):
            findings.append(_describe(graph, component, together, together, judge))
    return findings


def join_edges(graph: Graph) -> Edges:
    """Parents and dependencies combined: everything that must run before a revision."""
    if not graph.dependencies:
        return graph.parents
    keys = dict.fromkeys([*graph.parents, *graph.dependencies])
    return {key: tuple(dict.fromkeys((*graph.parents.get(key, ()), *graph.dependencies.get(key, ())))) for key in keys}


def find_stuck(component: Iterable[str], edges: Edges) -> set[str]:
    """The revisions in a component and downstream of it: none of them can be ordered."""
    children: dict[str, list[str]] = {}
    for child, parents in edges.items():
        for parent in parents:
            children.setdefault(parent, []).append(child)
    stuck = set(component)
    pending = list(stuck)
    while pending:
        for child in children.get(pending.pop(), ()):
            if child not in stuck:
                stuck.add(child)
                pending.append(child)
    return stuck


def make_edge(graph: Graph, child: str, parent: str) -> Edge:
    """The edge between two keys, with the file and line that define it."""
    node, target = graph.nodes[child], graph.nodes[parent]
    if (child, parent) in graph.origins:
        file, line = graph.origins[child, parent]
    else:
        file, line = child, next((part.line for part in node.references if part.name == target.name), node.line)
    return Edge(node.name, target.name, file, line)


def _describe(graph: Graph, component: list[str], edges: Edges, together: Edges, judge: Judge) -> Finding:
    folded = fold(component, edges)
    cycle = find_cycle(folded)
    singles = find_single_cuts(folded)
    sets: list[tuple[Arc, ...]] = [(arc,) for arc in singles]
    is_minimal = True
    if not singles:
        minimum, is_minimal = find_minimum_cut(folded, lambda arc: 1.0 / (1 + sum(judge(arc).score)))
        sets = [minimum]
    cuts = rank_cuts(_weigh(graph, arcs, edges, judge) for arcs in sets)
    stuck = find_stuck(component, together)
    first = cuts[0].edges[0]
    names = tuple(dict.fromkeys(graph.nodes[key].name for key in cycle))
    finding = make_finding(
        "MG101",
        _make_message(graph, component, names, len(stuck), edges is not graph.parents),
        _make_hint(cuts, is_minimal=is_minimal),
        file=first.file,
        line=first.line,
        revisions=tuple(sorted({graph.nodes[key].name for key in component})),
    )
    return replace(finding, cycle=names, cuts=cuts, affected=len(stuck), is_minimal=is_minimal)


def _weigh(graph: Graph, arcs: tuple[Arc, ...], edges: Edges, judge: Judge) -> tuple[Cut, tuple[int, ...]]:
    evidence = [judge(arc) for arc in arcs]
    heads, bases = predict_ends(graph, arcs)
    cut = Cut(
        tuple(make_edge(graph, *arc) for arc in arcs),
        because=tuple(text for each in evidence for text in each.because),
        heads=heads,
        bases=bases,
    )
    return cut, _add_scores(evidence)


def _add_scores(evidence: list[Evidence]) -> tuple[int, ...]:
    return tuple(sum(parts) for parts in zip(*(each.score for each in evidence)))


def predict_ends(graph: Graph, arcs: Iterable[Arc]) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Heads and bases after these edges are removed. None for Django, where they depend on the apps."""
    if graph.kind is Kind.DJANGO:
        return None, None
    gone = set(arcs)
    children: dict[str, list[str]] = {parent: [] for _, parent in gone}
    for child, parents in graph.parents.items():
        for parent in parents:
            if parent in children and (child, parent) not in gone:
                children[parent].append(child)
    heads = [*graph.heads, *(graph.nodes[key].name for key, left in children.items() if not left)]
    bases = list(graph.bases)
    for child in {child for child, _ in gone}:
        lost = {graph.nodes[parent].name for other, parent in gone if other == child}
        if not set(graph.nodes[child].parents) - lost:
            bases.append(graph.nodes[child].name)
    return tuple(dict.fromkeys(heads)), tuple(dict.fromkeys(bases))


def _make_message(graph: Graph, component: list[str], names: tuple[str, ...], stuck: int, is_mixed: bool) -> str:
    loop = " -> ".join(
        [*names, names[0]] if len(names) <= 6 else [*names[:3], f"... {len(names) - 5} more ...", *names[-2:], names[0]]
    )
    over = " (over parents and dependencies)" if is_mixed else ""
    return (
        f"{len(component)} revisions need each other{over}: {loop}. "
        f"{stuck} of {len(graph.nodes)} revisions cannot be put in order."
    )


def _make_hint(cuts: tuple[Cut, ...], *, is_minimal: bool) -> str:
    best = [cut for cut in cuts if cut.rank == 1]
    edges = " and ".join(f"{edge.child} -> {edge.parent} ({edge.file}:{edge.line})" for edge in best[0].edges)
    if len(best[0].edges) > 1:
        how = f"No single edge ends it; these {len(best[0].edges)} together do: {edges}"
        how += "." if is_minimal else " (not proven to be the fewest)."
    elif len(best) == 1:
        how = f"Taking out {edges} ends it."
    else:
        how = f"Taking out any one of {len(best)} edges ends it, such as {edges}."
    reasons = f" Evidence: {'; '.join(best[0].because)}." if best[0].because and len(best) == 1 else ""
    return f"{how}{reasons} But {GRAPH_ALONE}: put back the previous value."
