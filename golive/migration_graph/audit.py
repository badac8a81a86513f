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
from golive.migration_graph.discovery.contents import read_layout
from golive.migration_graph.discovery.layouts import find_layout
from golive.migration_graph.discovery.not_read import find_stray_revisions, list_not_read, make_findings
from golive.migration_graph.discovery.sources import Layout, read_content
from golive.migration_graph.findings.defects import find_defects
from golive.migration_graph.graph.build import build_graph, count_branch_points, count_merges
from golive.migration_graph.model import Finding, Graph, Kind, ParsedFile, Report, UnusableInputError

LOCK_FILE = "migrations.lock"

# (database URL, kind of migrations) -> names of the applied migrations. Raises UnusableInputError.
ReadApplied = Callable[[str, Kind], Sequence[str]]


@dataclass(frozen=True, slots=True)
class AuditRequest:
    """What to check. `lock_file` None: the one in the audited folder, if it exists. `database`: a URL.

    `with_history` None: if the folder is in a git repository. `section`: the one of `alembic.ini` that describes the
    environment, as for `alembic --name`.
    """

    with_history: bool | None = False
    database: str | None = None
    lock_file: Path | None = None
    writes_lock: bool = False
    section: str | None = None


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
    lock, past = None, None
    if lock_file.exists() or (request.lock_file is not None and not request.writes_lock):
        from golive.migration_graph.findings.lock_file import check_lock, read_lock

        lock = read_lock(lock_file)
        report = check_lock(report, lock)
    if request.with_history or (request.with_history is None and _is_in_repository(layout.root)):
        from golive.migration_graph.history.trace import trace

        report, past = trace(report, layout, is_asked_for=bool(request.with_history))
    if request.database is not None:
        from golive.migration_graph.findings.applied import compare_applied

        def rebuild(partly_applied: frozenset[str]) -> Graph:
            return build_graph(layout.kind, files, layout.project, partly_applied=partly_applied)

        report = compare_applied(report, read_applied(request.database, report.kind), rebuild)
    if not report.sound:
        from golive.migration_graph.remedies.advice import advise

        read = partial(_read_again, layout)
        report = advise(report, files, layout.project, past=past, lock=lock, folder=str(layout.root), read=read)
    report = replace(report, findings=sort_findings(list(report.findings)))
    return AuditResult(report, _write_lock(report, lock_file) if request.writes_lock else None)


def _read_again(layout: Layout, key: str) -> bytes | None:
    """The content of a file of the layout; None: it cannot be read."""
    location = layout.find_location(key)
    content = read_content(key, str(location.folder / key.removeprefix(location.prefix))) if location else None
    return content if isinstance(content, bytes) else None


def _is_in_repository(folder: Path) -> bool:
    """Whether the folder looks to be in a working tree of git; git itself is not asked."""
    path = Path(os.path.realpath(folder))
    return any(os.path.lexists(above / ".git") for above in (path, *path.parents))


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
