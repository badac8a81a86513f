"""Find all defects of a graph: those that involve several files, plus the findings of each single file."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Final

from golive.migration_graph.catalogue import make_finding
from golive.migration_graph.findings.cycles import find_cycles
from golive.migration_graph.findings.evidence import Judge, is_newer
from golive.migration_graph.findings.names import Names, collect_ancestors, find_name_defects, find_second_definitions
from golive.migration_graph.findings.suggestions import split_joined, suggest_names
from golive.migration_graph.model import (
    Finding,
    Graph,
    Kind,
    Node,
    ParsedFile,
    Reference,
    Role,
    Severity,
    get_app,
    index_by_name,
)

# A missing name and the revision that names it -> (name, reason) of each candidate.
Suggest = Callable[..., list[tuple[str, str]]]
_LEAVE_APART: Final = (
    "`alembic upgrade heads` runs them all; merge them only if the branches are not meant to stay apart."
)
# Errors with which the tool loads nothing, so that no database can have run what such a state says.
PREVENTS_LOADING: Final = frozenset({"MG101", "MG102", "MG104", "MG105", "MG107", "MG110"})
# And those with which it does not know the whole graph.
_PREVENTS_MERGING: Final = PREVENTS_LOADING | {"MG103", "MG108"}


def find_defects(
    graph: Graph,
    files: Iterable[ParsedFile] = (),
    *,
    judge: Judge | None = None,
    stray: Mapping[str, str] | None = None,
) -> tuple[Finding, ...]:
    """All findings of a graph, unsorted. `files`: the parsed files it was built from, for their own findings.

    Their order is that in which the tool reads them. `judge`: the evidence for cuts of cycles (see
    `cycles.find_cycles`). `stray`: id -> file, for files that are not
    part of the graph.
    """
    names = index_by_name(graph.nodes)
    listed = list(files)
    second = find_second_definitions(graph, names)
    # Asked twice of each reference: for its own finding, and for the heads.
    suggest = cache(partial(suggest_names, graph, stray=stray))
    found = (
        *(finding for file in listed for finding in file.findings),
        *find_cycles(leave_out_second(graph, second), judge=judge),
        *_find_dangling(graph, suggest),
        *find_name_defects(graph, names, second, [file.key for file in listed]),
        *_find_self_references(graph),
    )
    return (
        *found,
        *_find_heads(graph, names, suggest, list_stopping(found)),
        *_find_bases(graph, names),
        *_find_inversions(graph),
        *_find_irreversible(graph),
    )


def list_stopping(findings: Iterable[Finding]) -> list[str]:
    """The codes, sorted, of errors that are to be mended before anything can be merged."""
    return sorted({one.code for one in findings if one.severity is Severity.ERROR and one.code in _PREVENTS_MERGING})


def _find_dangling(graph: Graph, suggest: Suggest) -> Iterator[Finding]:
    missing = _find_perhaps_unread(graph)
    for key, references in graph.dangling.items():
        node = graph.nodes[key]
        for reference in references:
            # A reference to an unreadable file is a consequence of that file's own finding, not a defect.
            if reference.name in graph.guesses or reference.name in missing:
                continue
            is_parent = reference.role is Role.PARENT and graph.kind is Kind.ALEMBIC
            is_parent = is_parent or get_app(reference.name) == get_app(node.name)
            code, word = ("MG102", "parent") if is_parent else ("MG107", "dependency")
            yield make_finding(
                code,
                f"{node.name} names {reference.name!r} as its {word}, and there is no such revision.",
                _explain_dangling(graph, node, reference, suggest),
                file=key,
                line=reference.line,
                revisions=(node.name,),
            )


def _find_perhaps_unread(graph: Graph) -> set[str]:
    """The names of missing revisions, if all of them may be the ids of files whose id could not be read."""
    unknown = sum("revision" in node.unread for node in graph.nodes.values())
    missing = {reference.name for references in graph.dangling.values() for reference in references}
    return missing if len(missing) <= unknown else set()


def _explain_dangling(graph: Graph, node: Node, reference: Reference, suggest: Suggest) -> str:
    if not reference.name:
        return "Write None if it is the first revision: '' is the name of a revision with an empty id."
    if joined := split_joined(graph, reference.name, child=node.name):
        return f"Probably {' and '.join(joined)} were meant: between two strings a comma is missing."
    suggestions = suggest(reference.name, child=node.name)
    if not suggestions:
        return "Restore the missing file from git, or name the revision that took its place."
    name, why = suggestions[0]
    others = ", ".join(other for other, _ in suggestions[1:])
    also = f" Or one of: {others}." if others else ""
    if name == reference.name:
        return f"Probably {name} was meant: {why}. Add its folder to version_locations, or move the file."
    return f"Probably {name} was meant: {why}.{also}"


def leave_out_second(graph: Graph, keys: set[str] | None = None) -> Graph:
    """The graph as it is once these files have ids of their own; None: see `find_second_definitions`."""
    keys = find_second_definitions(graph, index_by_name(graph.nodes)) if keys is None else keys
    if not keys:
        return graph
    parents = {child: tuple(key for key in found if key not in keys) for child, found in graph.parents.items()}
    return replace(graph, parents={child: found for child, found in parents.items() if found})


def _find_self_references(graph: Graph) -> Iterator[Finding]:
    for key, node in graph.nodes.items():
        for reference in node.references:
            by_label = reference.role is Role.DEPENDENCY and reference.name in node.branch_labels
            if (reference.name == node.name or by_label) and key not in graph.replaced:
                how = f" by its branch label {reference.name}" if by_label else ""
                yield make_finding(
                    "MG104",
                    f"{node.name} names itself{how} as what comes before it.",
                    "Name its real parent, or None if it is the first.",
                    file=key,
                    line=reference.line,
                    revisions=(node.name,),
                )
                break


def _group(graph: Graph, names: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Group names by app for Django; all names are one group for Alembic."""
    if graph.kind is Kind.ALEMBIC:
        yield "", list(names)
        return
    apps: dict[str, list[str]] = {}
    for name in names:
        apps.setdefault(get_app(name), []).append(name)
    yield from apps.items()


def _find_heads(graph: Graph, names: Names, suggest: Suggest, stopping: Sequence[str]) -> Iterator[Finding]:
    excused = _find_excused(graph, suggest)
    for app, heads in _group(graph, graph.heads):
        reported = [name for name in heads if name not in excused]
        unreadable = sum(_hides_parents(node, app) for node in graph.nodes.values())
        # A revision whose id could not be read may have children that name it.
        unreadable += sum("revision" in node.unread for node in graph.nodes.values() if node.name in reported)
        if len(reported) - unreadable < 2:
            continue
        node = graph.nodes[names[reported[0]][0]]
        where = f" of the app {app}" if app else ""
        cannot = "`manage.py migrate` refuses them" if app else "`alembic upgrade head` does not know which one to take"
        is_labelled = not app and _has_label_each(graph, reported, names)
        yield make_finding(
            "MG201",
            f"There are {len(reported)} heads{where}: {', '.join(reported)}, and {cannot}.",
            _LEAVE_APART if is_labelled else _advise_merge(graph.kind, reported, stopping),
            file=node.key,
            line=node.find_line(),
            revisions=tuple(reported),
            severity=Severity.WARNING if is_labelled else None,
        )


def _advise_merge(kind: Kind, heads: Sequence[str], stopping: Sequence[str]) -> str:
    if stopping:
        return f"Mend {' and '.join(stopping)} first: before that, nothing can be merged."
    return f"Merge them with a revision that does nothing else: `{make_merge_command(kind, heads)}`."


def make_merge_command(kind: Kind, heads: Sequence[str]) -> str:
    """The command that joins these heads."""
    if kind is Kind.DJANGO:
        return "python manage.py makemigrations --merge"
    return shlex.join(["alembic", "merge", "-m", "merge heads", *heads])


def _has_label_each(graph: Graph, heads: Sequence[str], names: Names) -> bool:
    """Whether each head is on a branch with a label of its own, as where `upgrade heads` is meant."""
    labels = [_collect_labels(graph, names[head]) for head in heads]
    return all(
        own.difference(*(other for index, other in enumerate(labels) if index != at)) for at, own in enumerate(labels)
    )


def _collect_labels(graph: Graph, keys: Sequence[str]) -> set[str]:
    """The branch labels of these revisions and of all before them."""
    return {label for key in {*keys, *collect_ancestors(graph, keys)} for label in graph.nodes[key].branch_labels}


def _find_excused(graph: Graph, suggest: Suggest) -> set[str]:
    """Heads that are heads only because a reference to them is misspelt."""
    excused: set[str] = set()
    for key, references in graph.dangling.items():
        child = graph.nodes[key].name
        for reference in references:
            joined = split_joined(graph, reference.name, child=child)
            excused.update(joined or (name for name, _ in suggest(reference.name, child=child)[:1]))
    return excused


def _hides_parents(node: Node, app: str) -> bool:
    """Whether a revision has unreadable parents, so that one of the heads may not be a head."""
    return bool({"down_revision", "dependencies"} & set(node.unread)) and (not app or get_app(node.name) == app)


def _find_bases(graph: Graph, names: Names) -> Iterator[Finding]:
    for app, bases in _group(graph, graph.bases):
        if len(bases) < 2:
            continue
        node = graph.nodes[names[bases[-1]][0]]
        where = f" of the app {app}" if app else ""
        yield make_finding(
            "MG202",
            f"There are {len(bases)} first revisions{where}: {', '.join(bases)}.",
            "If they are not meant to be independent, one of them has lost its parent.",
            file=node.key,
            line=node.find_line(),
            revisions=tuple(bases),
        )


def _find_inversions(graph: Graph) -> Iterator[Finding]:
    for key, parents in graph.parents.items():
        node = graph.nodes[key]
        if node.create_date is None:
            continue
        for parent in parents:
            target = graph.nodes[parent]
            if is_newer(target, node):
                yield make_finding(
                    "MG203",
                    f"{target.name} ({target.create_date}) was made after its child {node.name} ({node.create_date}).",
                    "Usual after a rebase; otherwise look whether the reference was edited.",
                    file=key,
                    line=next((part.line for part in node.references if part.name == target.name), node.line),
                    revisions=(node.name, target.name),
                )


def _find_irreversible(graph: Graph) -> Iterator[Finding]:
    for key, node in graph.nodes.items():
        if node.is_reversible is False:
            if graph.kind is Kind.ALEMBIC:
                message = f"{node.name} has no downgrade that does anything."
                hint = "Write the downgrade, or accept that only a backup can undo this revision."
            else:
                message = f"{node.name} runs code or SQL that has no reverse."
                hint = "Give reverse_code or reverse_sql (`noop` if nothing is to be done)."
            yield make_finding("MG204", message, hint, file=key, line=node.line, revisions=(node.name,))
