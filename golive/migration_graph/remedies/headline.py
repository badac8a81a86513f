"""Choose the headline: the first remedy, worst error first, of which the resulting graph is proven.

For several heads that is always a merge. Another parent for one of them would be a guess about what databases have run.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from golive.migration_graph.findings.defects import list_stopping, make_merge_command
from golive.migration_graph.findings.lock_file import Lock
from golive.migration_graph.findings.names import find_second_definitions
from golive.migration_graph.history.past import Past, Removed
from golive.migration_graph.model import (
    Action,
    Edit,
    Finding,
    Graph,
    Headline,
    Kind,
    Node,
    ParsedFile,
    Reference,
    Report,
    Severity,
    get_app,
    index_by_name,
)
from golive.migration_graph.remedies.outcome import Trial, undo
from golive.migration_graph.remedies.ranking import is_evident

MERGE_NAME = "(merge)"


@dataclass(frozen=True)
class _Remedy:
    """`edits`: from what stands now to what is to be written. `changed` and `added`: the files after it."""

    action: Action
    finding: Finding
    edits: tuple[Edit, ...] = ()
    command: str | None = None
    because: tuple[str, ...] = ()
    changed: Mapping[str, Node] | None = None
    added: tuple[ParsedFile, ...] = ()
    hidden_heads: frozenset[str] = frozenset()


def find_headline(report: Report, trial: Trial, *, past: Past, lock: Lock) -> Headline | None:
    """The first remedy that is proven; None: the audit does not know one. The cycles of the report are ranked."""
    for remedy in _list_remedies(report, past, lock):
        outcome = trial.run(remedy.finding, remedy.changed or {}, added=remedy.added, hidden_heads=remedy.hidden_heads)
        if outcome.is_proven:
            return Headline(
                remedy.action,
                remedy.finding.code,
                remedy.finding.revisions,
                remedy.edits,
                remedy.command,
                remedy.because,
                outcome.graph.heads,
                outcome.graph.bases,
                outcome.is_sound,
            )
    return None


def _list_remedies(report: Report, past: Past, lock: Lock) -> Iterator[_Remedy]:
    errors = [finding for finding in report.findings if finding.severity is Severity.ERROR]
    loops = {name for finding in errors if finding.code == "MG101" for name in finding.revisions}
    # A file that got the id of another one and so closed a loop needs an id; the loop needs no cut then.
    errors.sort(key=lambda one: one.code != "MG103" or loops.isdisjoint(one.revisions))
    for finding in errors:
        hidden = past.heads.get((finding.code, finding.revisions), frozenset())
        if finding.code == "MG101":
            yield from _list_restorations_of_loop(report.graph, finding, past, lock, hidden)
        elif finding.code == "MG103":
            yield from _list_new_ids(report.graph, finding, past.added)
        elif finding.code == "MG201":
            if not list_stopping(errors):
                yield _merge(report, finding)
        else:
            if finding.edit is not None:
                yield from _restore(report.graph, finding, [finding.edit], (), hidden)
            if finding.code in ("MG102", "MG107"):
                yield from _bring_back(report, finding, past.removed, hidden)


def _list_restorations_of_loop(
    graph: Graph, loop: Finding, past: Past, lock: Lock, hidden: frozenset[str]
) -> Iterator[_Remedy]:
    best = [cut for cut in loop.cuts if cut.rank == 1]
    if len(best) == 1 and best[0].edits and is_evident(graph, best[0], past, lock):
        yield from _restore(graph, loop, best[0].edits, best[0].because, hidden)


def _restore(
    graph: Graph, finding: Finding, undone: Sequence[Edit], because: tuple[str, ...], hidden: frozenset[str]
) -> Iterator[_Remedy]:
    """Undo edits whose values stand in the files."""
    changed = undo(graph, undone)
    if changed:
        edits = tuple(replace(edit, before=edit.after, after=edit.before) for edit in undone)
        yield _Remedy(Action.RESTORE, finding, edits, None, because, changed, hidden_heads=hidden)


def _bring_back(
    report: Report, finding: Finding, removed: Mapping[str, Removed], hidden: frozenset[str]
) -> Iterator[_Remedy]:
    """Bring back the deleted files that a revision needs, and those that they need in their turn."""
    graph = report.graph
    known = {node.name for node in graph.nodes.values()}
    pending = [one.name for one in graph.dangling.get(finding.file or "", ())]
    needed: dict[str, Removed] = {}
    while pending:
        name = pending.pop()
        found = removed.get(name)
        if found is None or name in known or name in needed:
            continue
        if found.successor is not None or found.file.node is None or found.file.key in graph.nodes:
            return
        needed[name] = found
        pending += [reference.name for reference in found.file.node.references]
    if needed:
        files = sorted(needed.values(), key=lambda one: (one.commit.commit if one.commit else "", one.file.key))
        yield _Remedy(
            Action.BRING_BACK,
            finding,
            command=" && ".join(_list_checkouts(report.path, files)),
            because=tuple(dict.fromkeys(_explain_deletion(one) for one in files)),
            added=tuple(one.file for one in files),
            hidden_heads=hidden,
        )


def _list_checkouts(path: str, files: Iterable[Removed]) -> Iterator[str]:
    """A command for each commit that deleted some of the files: it takes them from the commit before that."""
    folder = [] if path in ("", ".") else ["-C", path]
    for commit, group in groupby(files, key=lambda one: one.commit):
        revision = f"{commit.commit}~" if commit else "HEAD"
        yield shlex.join(["git", *folder, "checkout", revision, "--", *(one.file.key for one in group)])


def _explain_deletion(removed: Removed) -> str:
    return f"commit {removed.commit.commit[:10]} deleted it" if removed.commit else "it was deleted"


def _list_new_ids(graph: Graph, finding: Finding, added: Mapping[str, int]) -> Iterator[_Remedy]:
    """New ids for all files of one id but the oldest: by the history, or where the graph itself shows which came first.

    None for files that are the same: one of them is to be deleted. None for Django, where the id is the file's name.
    """
    (name,) = finding.revisions
    names = index_by_name(graph.nodes)
    keys = names[name]
    is_copy = len({graph.nodes[key].content_hash for key in keys}) < len(keys)
    if graph.kind is Kind.DJANGO or is_copy:
        return
    second = [key for key in keys if key in find_second_definitions(graph, names)]
    by_history, by_graph = find_newer(keys, added), second if len(second) == len(keys) - 1 else []
    for newer, reason in ((by_history, "was added later"), (by_graph, "comes after the other one")):
        if newer:
            changed = {key: replace(graph.nodes[key], name=_make_id(graph.nodes[key], names)) for key in newer}
            edits = tuple(Edit(key, node.line, repr(name), repr(node.name)) for key, node in changed.items())
            because = tuple(f"{key} {reason}" for key in newer)
            # They had none of their own before, so that they could be no heads of their own.
            hidden = frozenset(node.name for node in changed.values())
            yield _Remedy(Action.REID, finding, edits, None, because, changed, hidden_heads=hidden)


def find_newer(keys: Sequence[str], added: Mapping[str, int]) -> list[str]:
    """All but the oldest of these files, oldest first; empty if the history does not tell which one that is."""
    if not all(key in added for key in keys):
        return []
    ordered = sorted(keys, key=lambda key: added[key])
    return ordered[1:] if added[ordered[0]] < added[ordered[1]] else []


def _make_id(node: Node, taken: Mapping[str, object]) -> str:
    """An id as Alembic makes them, but always the same for the same file."""
    digest = hashlib.sha256(f"{node.key}\0{node.content_hash}".encode("utf-8", "surrogateescape")).hexdigest()
    return next(name for at in range(len(digest) - 12) if (name := digest[at : at + 12]) not in taken)


def _merge(report: Report, finding: Finding) -> _Remedy:
    """One merge for Alembic's heads; for Django one for each app that has several, as its command makes them."""
    kind = report.kind
    added = []
    for one in report.findings:
        if one.code == "MG201" and one.severity is Severity.ERROR:
            name = f"{get_app(one.revisions[0])}.{MERGE_NAME}" if kind is Kind.DJANGO else MERGE_NAME
            references = tuple(Reference(head, 1) for head in one.revisions)
            added.append(ParsedFile(name, Node(name, name, 1, references)))
    command = make_merge_command(kind, finding.revisions)
    hidden = frozenset(file.key for file in added)
    return _Remedy(Action.MERGE, finding, command=command, added=tuple(added), hidden_heads=hidden)
