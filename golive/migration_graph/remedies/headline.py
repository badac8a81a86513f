"""Choose the headline: the first remedy, worst error first, of which the resulting graph is proven.

For several heads that is always a merge. Another parent for one of them would be a guess about what databases have run.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, combinations, groupby, islice
from pathlib import PurePosixPath

from golive.migration_graph.findings.defects import list_stopping, make_merge_command
from golive.migration_graph.findings.lock_file import Lock
from golive.migration_graph.findings.names import find_second_definitions
from golive.migration_graph.history.past import Past, Removed
from golive.migration_graph.history.versions import read_names
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
    Role,
    Severity,
    get_app,
    index_by_name,
)
from golive.migration_graph.readers.values import format_value
from golive.migration_graph.remedies.outcome import Trial, undo
from golive.migration_graph.remedies.ranking import stands_out

MERGE_NAME = "(merge)"
# How many earlier values of a reference list are tried, the newest first.
MAX_EARLIER = 5
# How many remedies are tried, each of which costs an audit; and as many that are several edits together.
MAX_TRIALS = 40
# Errors of the references themselves.
_BY_REFERENCES = frozenset({"MG101", "MG102", "MG104", "MG107"})
TOGETHER = "one of these edits hides what the others did; the tool could load what stood before them"
EARLIER = "of the values that stood there earlier it is the last one that is sound"


@dataclass(frozen=True)
class _Remedy:
    """`edits`: from what stands now to what is to be written. `changed` and `added`: the files after it."""

    action: Action
    finding: Finding
    edits: tuple[Edit, ...] = ()
    command: str | None = None
    because: tuple[str, ...] = ()
    changed: Mapping[str, Node] = field(default_factory=dict)
    added: tuple[ParsedFile, ...] = ()
    hidden_heads: frozenset[str] = frozenset()


def find_headline(report: Report, trial: Trial, *, past: Past, lock: Lock, folder: str) -> Headline | None:
    """The first remedy that is proven; None: the audit does not know one. The cycles of the report are ranked.

    `folder`: what the keys are relative to.
    """
    alone, together = _list_remedies(report, past, lock, folder), _list_joint_restorations(report, past)
    for remedy in chain(islice(alone, MAX_TRIALS), islice(together, MAX_TRIALS)):
        outcome = trial.run(remedy.finding, remedy.changed, added=remedy.added, hidden_heads=remedy.hidden_heads)
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


def _list_remedies(report: Report, past: Past, lock: Lock, folder: str) -> Iterator[_Remedy]:
    errors = [finding for finding in report.findings if finding.severity is Severity.ERROR]
    for finding in errors:
        hidden = past.heads.get((finding.code, finding.revisions), frozenset())
        if finding.code == "MG101":
            yield from _list_restorations_of_loop(report.graph, finding, past, lock, hidden)
        elif finding.code == "MG103":
            yield from _list_new_ids(report.graph, finding, past, lock)
        elif finding.code == "MG201":
            if not list_stopping(errors):
                yield _merge(report, finding)
        else:
            if finding.edit is not None:
                yield from _restore(report.graph, finding, [finding.edit], (), hidden)
            if past.removed.keys().isdisjoint(_list_missing(report.graph, finding)):
                yield from _list_earlier(report.graph, finding, finding.file or "", past, hidden)
            else:
                yield from _bring_back(report.graph, finding, past.removed, folder, hidden)


def _list_missing(graph: Graph, finding: Finding) -> list[str]:
    return [reference.name for reference in graph.dangling.get(finding.file or "", ())]


def _list_restorations_of_loop(
    graph: Graph, loop: Finding, past: Past, lock: Lock, hidden: frozenset[str]
) -> Iterator[_Remedy]:
    best = loop.cuts[0]
    if best.edits and stands_out(graph, loop, past, lock):
        yield from _restore(graph, loop, best.edits, best.because, hidden)
        if len(best.edits) == 1:
            yield from _list_earlier(graph, loop, best.edits[0].file, past, hidden)


def _list_earlier(graph: Graph, finding: Finding, file: str, past: Past, hidden: frozenset[str]) -> Iterator[_Remedy]:
    """Restore what stood in a file before its last edit, which only put one error in the place of another."""
    if file not in graph.nodes:
        return
    node = graph.nodes[file]
    for role in Role:
        for value in dict.fromkeys(past.values.get((role, node.name), ())[:MAX_EARLIER]):
            if edit := _make_edit(graph.kind, node, role, value):
                yield from _restore(graph, finding, [edit], (EARLIER,), hidden)


def _make_edit(kind: Kind, node: Node, role: Role, value: tuple[str, ...]) -> Edit | None:
    """The edit that made the present value of this one; None: the present value is unknown, or the same."""
    now = read_names(node, role)
    if now is None or now == value:
        return None
    return Edit(node.key, node.find_line(role), format_value(value, kind), format_value(now, kind), role)


def _list_joint_restorations(report: Report, past: Past) -> Iterator[_Remedy]:
    """Undo several edits, the fewest first, where none can be undone alone.

    Only those since the last commit that the tool could load: no database can have run what they say.
    """
    names = index_by_name(report.graph.nodes)
    edits = [
        edit
        for (role, name), value in past.loadable.items()
        for key in names.get(name, ())
        if (edit := _make_edit(report.kind, report.graph.nodes[key], role, value))
    ]
    for number in range(2, len(edits) + 1):
        for chosen in combinations(edits, number):
            for finding in report.findings:
                if finding.severity is Severity.ERROR and finding.code in _BY_REFERENCES:
                    hidden = past.heads.get((finding.code, finding.revisions), frozenset())
                    yield from _restore(report.graph, finding, chosen, (TOGETHER,), hidden)


def _restore(
    graph: Graph, finding: Finding, undone: Sequence[Edit], because: tuple[str, ...], hidden: frozenset[str]
) -> Iterator[_Remedy]:
    """Undo edits whose values stand in the files."""
    changed = undo(graph, undone)
    if changed:
        edits = tuple(replace(edit, before=edit.after, after=edit.before) for edit in undone)
        yield _Remedy(Action.RESTORE, finding, edits, None, because, changed, hidden_heads=hidden)


def _bring_back(
    graph: Graph, finding: Finding, removed: Mapping[str, Removed], folder: str, hidden: frozenset[str]
) -> Iterator[_Remedy]:
    """Bring back the deleted files that a revision needs, and those that they need in their turn.

    None where one of them was in a folder that is no longer read.
    """
    known = {node.name for node in graph.nodes.values()}
    folders = {PurePosixPath(key).parent for key in graph.nodes}
    pending = _list_missing(graph, finding)
    needed: dict[str, Removed] = {}
    while pending:
        name = pending.pop()
        found = removed.get(name)
        if found is None or name in known or name in needed:
            continue
        if found.successor is not None or found.file.node is None or found.file.key in graph.nodes:
            return
        if PurePosixPath(found.file.key).parent not in folders:
            return
        needed[name] = found
        pending += [reference.name for reference in found.file.node.references]
    if needed:
        files = sorted(needed.values(), key=lambda one: (one.commit.commit if one.commit else "", one.file.key))
        yield _Remedy(
            Action.BRING_BACK,
            finding,
            command=" && ".join(_list_checkouts(folder, files)),
            because=tuple(dict.fromkeys(_explain_deletion(one) for one in files)),
            added=tuple(one.file for one in files),
            hidden_heads=hidden,
        )


def _list_checkouts(folder: str, files: Iterable[Removed]) -> Iterator[str]:
    """A command for each commit that deleted some of the files: it takes them from the commit before that."""
    place = [] if folder == "." else ["-C", folder]
    for commit, group in groupby(files, key=lambda one: one.commit):
        revision = f"{commit.commit}~" if commit else "HEAD"
        yield shlex.join(["git", *place, "checkout", revision, "--", *(one.file.key for one in group)])


def _explain_deletion(removed: Removed) -> str:
    return f"commit {removed.commit.commit[:10]} deleted it" if removed.commit else "it was deleted"


def _list_new_ids(graph: Graph, finding: Finding, past: Past, lock: Lock) -> Iterator[_Remedy]:
    """New ids for all files of one id but the oldest.

    None for files that are the same: one of them is to be deleted. None for Django, where the id is the file's name.
    """
    (name,) = finding.revisions
    names = index_by_name(graph.nodes)
    is_copy = len({graph.nodes[key].content_hash for key in names[name]}) < len(names[name])
    newer, reason = find_newer(graph, name, past, lock)
    if newer and not is_copy and graph.kind is Kind.ALEMBIC:
        changed = {key: replace(graph.nodes[key], name=_make_id(graph.nodes[key], names)) for key in newer}
        edits = tuple(Edit(key, node.line, repr(name), repr(node.name)) for key, node in changed.items())
        # They had none of their own before, so that they could be no heads of their own.
        hidden = frozenset(node.name for node in changed.values())
        yield _Remedy(Action.REID, finding, edits, None, (reason,), changed, hidden_heads=hidden)


def find_newer(graph: Graph, name: str, past: Past, lock: Lock) -> tuple[list[str], str]:
    """All files of one id but the one that it belongs to, oldest first, and how that is known; empty if it is not.

    It belongs to the file that was released with it, else to the one that was added first, else to the only one that
    does not come after another.
    """
    names = index_by_name(graph.nodes)
    keys = sorted(names[name], key=lambda key: (past.added.get(key, 0), key))
    released = [key for key in keys if name in lock and lock[name].sha256 == graph.nodes[key].content_hash]
    if len(released) == 1:
        return [key for key in keys if key != released[0]], "the lock file has the other one"
    added = [past.added[key] for key in keys if key in past.added]
    if len(added) == len(keys) and added[0] < added[1]:
        return keys[1:], "by the history it came later"
    second = find_second_definitions(graph, names)
    later = [key for key in keys if key in second]
    return (later, "it comes after the other one") if len(later) == len(keys) - 1 else ([], "")


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
