"""Audit a folder and return a report; optionally check the lock file, the git history and a database.

Optional features are imported lazily: a plain audit runs on every commit and must start fast.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from golive.migration_graph.catalogue import sort_findings
from golive.migration_graph.discovery.contents import read_layout
from golive.migration_graph.discovery.layouts import find_layout
from golive.migration_graph.discovery.not_read import find_stray_revisions, list_not_read, make_findings
from golive.migration_graph.discovery.sources import Layout
from golive.migration_graph.findings.defects import find_defects
from golive.migration_graph.graph.build import build_graph, count_branch_points, count_merges
from golive.migration_graph.model import Finding, Graph, Kind, ParsedFile, Report, UnusableInputError

LOCK_FILE = "migrations.lock"

# (database URL, kind of migrations) -> names of the applied migrations. Raises UnusableInputError.
ReadApplied = Callable[[str, Kind], Sequence[str]]


@dataclass(frozen=True)
class AuditRequest:
    """What to check. `lock_file` None: the one in the audited folder, if it exists. `database`: a URL.

    `section`: the one of `alembic.ini` that describes the environment, as for `alembic --name`.
    """

    with_history: bool = False
    database: str | None = None
    lock_file: Path | None = None
    writes_lock: bool = False
    section: str | None = None


@dataclass(frozen=True)
class AuditResult:
    """The report; `refusal` says why the lock file was not written although that was requested."""

    report: Report
    refusal: str | None = None


def audit(path: str | Path) -> Report:
    """Audit the migrations of a folder. Nothing is imported, run or written. Raises UnusableInputError."""
    return audit_layout(path, find_layout(path))


def audit_layout(path: str | Path, layout: Layout) -> Report:
    """Audit the files of a layout; `path` as the caller gave it."""
    return _audit_files(path, layout, *read_layout(layout))


def _audit_files(path: str | Path, layout: Layout, files: list[ParsedFile], findings: list[Finding]) -> Report:
    graph = build_graph(layout.kind, files, layout.project)
    stray = find_stray_revisions(layout, is_missing=bool(graph.dangling)) if layout.kind is Kind.ALEMBIC else []
    not_read = list_not_read(layout, files, stray)
    defects = find_defects(graph, files, stray={name: each.key for each in reversed(stray) for name in each.ids})
    return Report(
        os.fspath(path),
        graph,
        sort_findings([*findings, *defects, *make_findings(not_read)]),
        count_merges(graph),
        count_branch_points(graph),
        not_read=tuple(not_read),
    )


def run_audit(path: str, request: AuditRequest, read_applied: ReadApplied) -> AuditResult:
    """Audit a folder with everything the request asks for. Raises UnusableInputError."""
    layout = find_layout(path, request.section)
    files, notes = read_layout(layout)
    report = _audit_files(path, layout, files, notes)
    lock_file = request.lock_file or layout.root / LOCK_FILE
    lock, origins = None, None
    # A link that leads nowhere is no reason to go on without what was released.
    if os.path.lexists(lock_file) or (request.lock_file is not None and not request.writes_lock):
        from golive.migration_graph.findings.lock_file import check_lock, read_lock

        lock = read_lock(lock_file)
        report = check_lock(report, lock)
    if request.with_history:
        from golive.migration_graph.history.trace import trace

        report, origins = trace(report, layout)
    if any(finding.cuts for finding in report.findings):
        from golive.migration_graph.remedies.ranking import rank_remedies

        report = rank_remedies(report, layout.project, origins=origins, lock=lock)
    if request.database is not None:
        from golive.migration_graph.findings.applied import compare_applied

        def rebuild(partly_applied: frozenset[str]) -> Graph:
            return build_graph(layout.kind, files, layout.project, partly_applied=partly_applied)

        report = compare_applied(report, read_applied(request.database, report.kind), rebuild)
    report = replace(report, findings=sort_findings(list(report.findings)))
    return AuditResult(report, _write_lock(report, lock_file) if request.writes_lock else None)


def _write_lock(report: Report, path: Path) -> str | None:
    """Write the lock file. Returns why it was refused, or None. Raises UnusableInputError."""
    from golive.migration_graph.findings.lock_file import LockRefusedError, write_lock

    try:
        write_lock(report, path)
    except LockRefusedError as error:
        return str(error)
    except OSError as error:
        raise UnusableInputError(f"{path} cannot be written: {error.strerror or error}") from None
    return None
