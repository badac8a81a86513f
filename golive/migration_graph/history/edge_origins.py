"""Evidence from the history and the lock file that an edge is wrong.

Strongest first: the file was released with another value; the edge was written in the commit where the defect began; it
comes from an edit of an existing file; its parent was added after its child; then the evidence in the files themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from golive.migration_graph.findings.evidence import Evidence, Judge, judge_statically
from golive.migration_graph.findings.lock_file import Lock, find_locked_parents
from golive.migration_graph.model import Commit, Graph, Node
from golive.migration_graph.readers.values import format_value


@dataclass(frozen=True)
class EdgeOrigin:
    """Where an edge of the current graph comes from.

    `commit` wrote the reference; None: uncommitted. `before` is the reference list before that; None: the file was new,
    or the list could not be read. `blame`: 2 if the edge was written in the commit where the defect began, 1 if a merge
    brought it in there, else 0. `is_later`: written while the defect existed.
    """

    commit: Commit | None
    before: tuple[str, ...] | None
    blame: int = 0
    is_later: bool = False
    is_parent_newer: bool = False


# (file of the child, name of the parent) -> origin.
EdgeOrigins = Mapping[tuple[str, str], EdgeOrigin]


def make_judge(graph: Graph, origins: EdgeOrigins, lock: Lock) -> Judge:
    """A function that returns the evidence for an edge (child key, parent key)."""

    def judge(arc: tuple[str, str]) -> Evidence:
        child, parent = arc
        node, name = graph.nodes[child], graph.nodes[parent].name
        static = judge_statically(graph, child, parent)
        origin = origins.get((child, name))
        released = _judge_lock(node, name, lock)
        is_edit = origin is not None and origin.before is not None
        score = (
            released,
            origin.blame if origin else 0,
            int(is_edit),
            int(origin is not None and origin.is_parent_newer),
            *static.score,
        )
        words = (*_explain_lock(graph, node, released, lock), *_explain_origin(graph, origin, name), *static.because)
        return Evidence(score, words)

    return judge


def _judge_lock(node: Node, parent: str, lock: Lock) -> int:
    """2: released without this parent, so suspect; 0: released with it, so not; 1: not in the lock file."""
    if node.name not in lock:
        return 1
    return 2 if find_locked_parents(lock, node) is not None and parent not in lock[node.name].parents else 0


def _explain_lock(graph: Graph, node: Node, released: int, lock: Lock) -> tuple[str, ...]:
    if released == 1:
        return ()
    value = format_value(lock[node.name].parents, graph.kind)
    return (f"{node.name} was released with {value} (lock file)" if released else "it was released so (lock file)",)


def _explain_origin(graph: Graph, origin: EdgeOrigin | None, parent: str) -> tuple[str, ...]:
    if origin is None:
        return ()
    words = []
    if origin.blame:
        who = f"commit {origin.commit.commit[:10]}" if origin.commit else "a change that is not committed"
        words.append(
            f"{who} wrote it, and with it the loop began" if origin.blame > 1 else f"a merge brought it in ({who})"
        )
    if origin.before is not None:
        words.append(f"it is an edit; the previous value was {format_value(origin.before, graph.kind)}")
    if origin.is_parent_newer:
        words.append(f"the file of its parent {parent} was added later than its own")
    return tuple(words)
