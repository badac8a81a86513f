"""Audit a folder and return a report; optionally check the lock file, the git history and a database.

Optional features are imported lazily: a plain audit runs on every commit and must start fast.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from golive.migration_graph.catalogue import sort_findings
from golive.migration_graph.discovery.contents import read_key, read_layout
from golive.migration_graph.discovery.layouts import find_layout
from golive.migration_graph.discovery.not_read import find_stray_revisions, list_not_read, make_findings
from golive.migration_graph.discovery.sources import Layout
from golive.migration_graph.findings.defects import find_defects
from golive.migration_graph.findings.tables import find_tables_created_twice
from golive.migration_graph.graph.build import build_graph, count_branch_points, count_merges
from golive.migration_graph.model import AppliedRows, Finding, Graph, Kind, ParsedFile, Report, UnusableInputError

LOCK_FILE = "migrations.lock"

# (database URL, kind of migrations) -> what it has applied. Raises UnusableInputError.
ReadApplied = Callable[[str, Kind], AppliedRows]


@dataclass(frozen=True, slots=True)
class AuditRequest:
    """What to check. `lock_file` None: the one in the audited folder, if it exists. `databases`: URLs.

    `packages`: paths of other packages' migrations, which those of the audited folder may depend on.

    `section`: the one of `alembic.ini` that describes the environment, as for `alembic --name`.
    """

    with_history: bool = False
    databases: Sequence[str] = ()
    lock_file: Path | None = None
    writes_lock: bool = False
    section: str | None = None
    packages: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
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
    tables = find_tables_created_twice(graph, files, partial(read_key, layout))
    return Report(
        os.fspath(path),
        graph,
        sort_findings([*findings, *defects, *tables, *make_findings(not_read)]),
        count_merges(graph),
        count_branch_points(graph),
        not_read=tuple(not_read),
    )


def run_audit(path: str, request: AuditRequest, read_applied: ReadApplied) -> AuditResult:
    """Audit a folder with everything the request asks for. Raises UnusableInputError."""
    layout = find_layout(path, request.section)
    if request.packages:
        from golive.migration_graph.discovery.other_packages import add_packages

        layout = add_packages(layout, request.packages)
    files, notes = read_layout(layout)
    report = _audit_files(path, layout, files, notes)
    lock_file = request.lock_file or layout.root / LOCK_FILE
    lock, origins = None, None
    if lock_file.exists() or (request.lock_file is not None and not request.writes_lock):
        from golive.migration_graph.findings.lock_file import check_lock, read_lock

        lock = read_lock(lock_file)
        report = check_lock(report, lock)
    if request.with_history:
        from golive.migration_graph.history.trace import trace

        report, origins = trace(report, layout)
    if any(finding.cuts for finding in report.findings):
        from golive.migration_graph.remedies.ranking import rank_remedies

        report = rank_remedies(report, layout.project, origins=origins, lock=lock)
    if request.databases:
        report = _compare_databases(
            report, layout, files, [read_applied(url, report.kind) for url in request.databases]
        )
    report = replace(report, findings=sort_findings(list(report.findings)))
    return AuditResult(report, _write_lock(report, lock_file) if request.writes_lock else None)


def _compare_databases(
    report: Report, layout: Layout, files: list[ParsedFile], databases: Sequence[AppliedRows]
) -> Report:
    from golive.migration_graph.discovery.contents import read_bodies
    from golive.migration_graph.findings.applied import Knowledge, compare_applied
    from golive.migration_graph.history.deployments import make_explanation

    def rebuild(partly_applied: frozenset[str]) -> Graph:
        return build_graph(layout.kind, files, layout.project, partly_applied=partly_applied)

    knowledge = Knowledge(rebuild, read_bodies(layout), make_explanation(layout))
    for database in databases:
        report = compare_applied(report, database, knowledge, is_only=len(databases) == 1)
    return report


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
