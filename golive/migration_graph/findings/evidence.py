"""Evidence in the files themselves that an edge of a cycle is wrong. See `history` for stronger evidence."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from golive.migration_graph.model import Cut, Edge, Graph, Node

# Without the history there are only the current files, which cannot prove which edge is wrong.
GRAPH_ALONE = "the graph alone cannot tell which edge is wrong; the history can"


@dataclass(frozen=True)
class Evidence:
    """How strongly the evidence favours removing an edge (compared lexicographically), and the same in sentences."""

    score: tuple[int, ...] = ()
    because: tuple[str, ...] = ()


Judge = Callable[[tuple[str, str]], Evidence]


def judge_statically(graph: Graph, child: str, parent: str) -> Evidence:
    """The evidence in the two files of an edge, which are given by key."""
    node, target = graph.nodes[child], graph.nodes[parent]
    because = []
    disagrees = does_docstring_disagree(node, target)
    if disagrees:
        documented = node.revises or "nothing"
        because.append(f'the docstring of {child} says "Revises: {documented}", not {target.name}')
    newer = is_newer(target, node)
    if newer:
        because.append(
            f"{target.name} ({target.create_date}) was made after its child {node.name} ({node.create_date})"
        )
    return Evidence((int(disagrees), int(newer)), tuple(because))


def does_docstring_disagree(child: Node, parent: Node) -> bool:
    """Whether the child's docstring has a `Revises:` line that does not name this parent of its `down_revision`."""
    documented = list_documented(child)
    return documented is not None and parent.name in child.parents and parent.name not in documented


def list_documented(node: Node) -> tuple[str, ...] | None:
    """The parents that the docstring names in its `Revises:` line; None: it has no such line."""
    return None if node.revises is None else tuple(name for name in re.split(r"[\s,()'\"]+", node.revises) if name)


def is_newer(node: Node, other: Node) -> bool:
    """Whether a revision was created after another, by their docstrings; False if that is unknown."""
    first, second = parse_date(node.create_date), parse_date(other.create_date)
    if first is None or second is None or (first.tzinfo is None) is not (second.tzinfo is None):
        return False
    return first > second


def get_age(node: Node) -> datetime:
    """For sorting by the creation date in the docstring, whatever its time zone; unknown dates come first."""
    date = parse_date(node.create_date)
    return datetime.min.replace(tzinfo=timezone.utc) if date is None else date.replace(tzinfo=timezone.utc)


def parse_date(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        # Before Python 3.11 `Z` is not understood.
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None


def rank_cuts(cuts: Iterable[tuple[Cut, tuple[int, ...]]]) -> tuple[Cut, ...]:
    """Rank (cut, score) pairs from 1, best first. Equal scores share a rank and are ordered by file."""
    ordered = sorted(cuts, key=lambda pair: (tuple(-part for part in pair[1]), _get_places(pair[0].edges)))
    ranked: list[Cut] = []
    previous: tuple[int, ...] | None = None
    rank = 0
    for cut, score in ordered:
        if score != previous:
            rank, previous = rank + 1, score
        ranked.append(replace(cut, rank=rank))
    return tuple(ranked)


def _get_places(edges: Iterable[Edge]) -> list[tuple[str, int, str]]:
    return [(edge.file, edge.line, edge.parent) for edge in edges]
