"""The audit: from a folder, or from bytes of files, to a report."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from golive.migration_graph.alembic_reader import read_fully
from golive.migration_graph.codes import sort_findings
from golive.migration_graph.findings import find_defects
from golive.migration_graph.graph import build_graph, count_branch_points, count_merges
from golive.migration_graph.layouts import find_layout
from golive.migration_graph.model import Finding, Graph, Kind, ParsedFile, Report
from golive.migration_graph.shortcut import Shortcut
from golive.migration_graph.sources import Layout, list_files, read_content
from golive.migration_graph.syntax import report_unreadable

__all__ = [
    "audit",
    "audit_layout",
    "build_graph",
    "find_defects",
    "find_layout",
    "make_report",
    "read_file",
    "read_layout",
]


def audit(path: str | Path) -> Report:
    """Audit the migrations of a folder. Nothing is imported, run or written. Raises UnusableInputError."""
    return audit_layout(path, find_layout(path))


def audit_layout(path: str | Path, layout: Layout) -> Report:
    """Audit what a layout names; `path` as the caller gave it."""
    files, findings = read_layout(layout)
    graph = build_graph(layout.kind, files, layout.project)
    elsewhere = None
    if graph.dangling and layout.kind is Kind.ALEMBIC:
        from golive.migration_graph.elsewhere import find_elsewhere

        lost = [reference.name for references in graph.dangling.values() for reference in references]
        elsewhere = find_elsewhere(layout, lost)
    defects = find_defects(graph, files, elsewhere=elsewhere)
    return make_report(path, graph, [*findings, *defects])


def make_report(path: str | Path, graph: Graph, findings: Iterable[Finding]) -> Report:
    """A report of a graph and what was found in it."""
    return Report(
        os.fspath(path),
        graph,
        sort_findings(list(findings)),
        count_merges(graph),
        count_branch_points(graph),
    )


def read_layout(layout: Layout) -> tuple[list[ParsedFile], list[Finding]]:
    """Every file of a layout, and findings for what cannot be looked into."""
    files: list[ParsedFile] = []
    findings: list[Finding] = list(layout.notes)
    shortcut = Shortcut()
    for location in layout.locations:
        listed, problems = list_files(location)
        findings += problems
        for key, path in listed:
            content = read_content(key, path)
            if isinstance(content, Finding):
                files.append(keep_unreadable(layout.kind, key, content, location.app))
            else:
                files.append(read_file(layout.kind, key, content, app=location.app, shortcut=shortcut))
    return files, findings


def read_file(kind: Kind, key: str, content: bytes, *, app: str = "", shortcut: Shortcut | None = None) -> ParsedFile:
    """What one file says. `app`: for Django, the label of its app; "": the folder above `migrations`.

    `shortcut`: give the same one for many files, and what they have in common is parsed once; the answer is the same.

    Never raises for what a file holds: that it cannot be read is a finding in the answer.
    """
    try:
        if kind is Kind.ALEMBIC:
            return (shortcut.read(key, content) if shortcut else None) or read_fully(key, content)
        from golive.migration_graph.django_reader import read_migration

        return read_migration(key, content, app or _guess_app(key))
    except RecursionError:
        return keep_unreadable(kind, key, report_unreadable(key, OSError(0, "it is nested too deeply")), app)


def _guess_app(key: str) -> str:
    folders = key.split("/")[:-1]
    return folders[-2] if len(folders) > 1 else "app"


def keep_unreadable(kind: Kind, key: str, finding: Finding, app: str) -> ParsedFile:
    """What is known of a file that was not read: for Django its name, for Alembic names that it may hold."""
    if kind is Kind.ALEMBIC:
        from golive.migration_graph.alembic_reader import guess_names

        return ParsedFile(key, None, (finding,), guesses=guess_names(key))
    from golive.migration_graph.django_reader import name_migration
    from golive.migration_graph.model import Node

    name = name_migration(key, app or _guess_app(key))
    return ParsedFile(key, Node(key, name, 1, unread=("dependencies",)), (finding,))
