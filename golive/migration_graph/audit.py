"""Audit a folder and return a report; optionally check the lock file, the git history and a database.

Optional features are imported lazily: a plain audit runs on every commit and must start fast.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from golive.migration_graph.catalogue import sort_findings
from golive.migration_graph.discovery.contents import find_unrepeatable, read_bodies, read_key, read_layout
from golive.migration_graph.discovery.layouts import find_layout
from golive.migration_graph.discovery.not_read import find_stray_revisions, list_not_read, make_findings
from golive.migration_graph.discovery.sources import Layout
from golive.migration_graph.findings.defects import find_defects
from golive.migration_graph.findings.tables import find_tables_created_twice
from golive.migration_graph.graph.build import build_graph, count_branch_points, count_merges
from golive.migration_graph.model import AppliedRows, Finding, Graph, Kind, ParsedFile, Report, UnusableInputError

if TYPE_CHECKING:
    from golive.migration_graph.findings.applied import Knowledge, Source
    from golive.migration_graph.findings.lock_file import LockFile

LOCK_FILE = "migrations.lock"
# How far above a versions folder its configuration is looked for.
_MAX_ABOVE = 3

# (database URL, kind of migrations) -> what it has applied. Raises UnusableInputError.
ReadApplied = Callable[[str, Kind], AppliedRows]


@dataclass(frozen=True)
class AuditRequest:
    """What to check. `lock_file` None: the one in the audited folder, if it exists. `databases`: URLs.

    `packages`: paths of other packages' migrations, which those of the audited folder may depend on.

    `with_history` None: if the folder is in a git repository. `keeps_known`: the lock file is written in spite of
    errors, and keeps them as known. `section`: the one of `alembic.ini` that describes the environment, as for
    `alembic --name`.
    """

    with_history: bool | None = False
    databases: Sequence[str] = ()
    lock_file: Path | None = None
    writes_lock: bool = False
    keeps_known: bool = False
    section: str | None = None
    packages: Sequence[str] = ()


@dataclass(frozen=True)
class AuditResult:
    """The report; `refusal` says why the lock file was not written although that was requested."""

    report: Report
    refusal: str | None = None


def audit(path: str | Path) -> Report:
    """Audit the migrations of a folder, with the lock file in it. Nothing is imported, run or written.

    Raises UnusableInputError.
    """
    return run_audit(os.fspath(path), AuditRequest(), _read_no_database).report


def _read_no_database(url: str, kind: Kind) -> NoReturn:
    raise UnusableInputError("no database was asked for")


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
        _name_root(os.fspath(path), layout),
        graph,
        sort_findings([*findings, *defects, *tables, *make_findings(not_read)]),
        count_merges(graph),
        count_branch_points(graph),
        not_read=tuple(not_read),
        repository_path=_find_repository_path(layout.root),
        configuration=layout.configuration,
    )


def run_audit(path: str, request: AuditRequest, read_applied: ReadApplied) -> AuditResult:
    """Audit a folder with everything the request asks for. Raises UnusableInputError."""
    layout = find_layout(path, request.section)
    if request.packages:
        from golive.migration_graph.discovery.other_packages import add_packages

        layout = add_packages(layout, request.packages)
    files, notes = read_layout(layout)
    report = _audit_files(path, layout, files, notes)
    lock_file = request.lock_file or _find_lock(Path(path), layout)
    lock = _read_lock(lock_file) if _has_lock(request, lock_file) else None

    def read_wanted(keys: Container[str]) -> Mapping[str, str]:
        return read_bodies(layout, keys)

    if lock is not None:
        from golive.migration_graph.findings.released import check_released

        report = check_released(report, files, lock, read_wanted, lock_key=_find_key(layout.root, lock_file))
    past = None
    if request.with_history or (request.with_history is None and report.repository_path is not None):
        from golive.migration_graph.history.trace import trace

        report, past = trace(report, layout, is_asked_for=bool(request.with_history))
    refuse = None
    if request.databases:
        from golive.migration_graph.findings.applied import compare_applied, find_harm

        databases = [read_applied(url, report.kind) for url in request.databases]
        knowledge = _gather_knowledge(layout, files, lock, with_history=past is not None)
        for database in databases:
            report = compare_applied(report, database, knowledge, is_only=len(databases) == 1)
        refuse = partial(find_harm, databases, knowledge)
    if lock is not None:
        from golive.migration_graph.findings.known import mark_known

        report = mark_known(report, lock.known)
    if not report.sound:
        from golive.migration_graph.remedies.advice import advise

        report = advise(
            _sort(report),
            files,
            layout.project,
            past=past,
            lock=lock.revisions if lock else None,
            folder=str(layout.root),
            read=partial(read_key, layout),
            refuse=refuse,
        )
    refusal = None
    if request.writes_lock:
        report, refusal = _write_lock(report, files, lock, lock_file, read_wanted, keeps_known=request.keeps_known)
    return AuditResult(_sort(_date(report)), refusal)


def _gather_knowledge(
    layout: Layout, files: list[ParsedFile], lock: LockFile | None, *, with_history: bool
) -> Knowledge:
    """What tells which migrations a database has run."""
    from golive.migration_graph.findings.applied import Knowledge
    from golive.migration_graph.findings.lock_evidence import explain_by_lock
    from golive.migration_graph.history.deployments import read_releases

    # The lock file may have been written after a database had run something else; the history knows that.
    sources: list[Source] = []
    releases = read_releases(layout) if with_history else None
    if releases is not None:
        sources.append(releases.explain)
    if lock is not None:
        sources.append(partial(explain_by_lock, lock.revisions))

    def rebuild(partly_applied: frozenset[str]) -> Graph:
        return build_graph(layout.kind, files, layout.project, partly_applied=partly_applied)

    return Knowledge(rebuild, read_bodies(layout), sources, find_unrepeatable(layout))


def _date(report: Report) -> Report:
    """The report without a last sound commit if only databases and the lock file object: no commit dates that."""
    errors = [finding.code for finding in report.findings if finding.is_new_error]
    is_undated = bool(errors) and all(code.startswith(("MG3", "MG4")) for code in errors)
    return replace(report, last_sound=None) if is_undated else report


def _sort(report: Report) -> Report:
    return replace(report, findings=sort_findings(list(report.findings)))


def _name_root(path: str, layout: Layout) -> str:
    """The root of the tree, below the path as the caller gave it: files are named relative to it."""
    inner = os.path.relpath(layout.root, path)
    is_below = inner != os.curdir and not inner.startswith(os.pardir) and Path(path).is_dir()
    return os.path.join(path, inner) if is_below else path  # noqa: PTH118 - as it was written


def _find_repository_path(folder: Path) -> str | None:
    """Where a folder is in the working tree of git that it looks to be in; git itself is not asked."""
    path = Path(os.path.realpath(folder))
    top = next((above for above in (path, *path.parents) if os.path.lexists(above / ".git")), None)
    return None if top is None else path.relative_to(top).as_posix()


def _find_key(root: Path, path: Path) -> str | None:
    """The path of a file below the audited folder; None: it is elsewhere."""
    relative = os.path.relpath(path, root).replace(os.sep, "/")
    return None if relative == ".." or relative.startswith("../") else relative


def _find_lock(given: Path, layout: Layout) -> Path:
    """The lock file in the given folder, in the root of the tree, or in the folder above it with its configuration."""
    above = [folder for folder in list(layout.root.parents)[:_MAX_ABOVE] if (folder / "alembic.ini").exists()]
    candidates = [folder / LOCK_FILE for folder in (given, layout.root, *above)]
    return next((each for each in candidates if os.path.lexists(each)), layout.root / LOCK_FILE)


def _has_lock(request: AuditRequest, path: Path) -> bool:
    # A link that leads nowhere is there: it must not pass for "no lock file".
    return os.path.lexists(path) or (request.lock_file is not None and not request.writes_lock)


def _read_lock(path: Path) -> LockFile:
    from golive.migration_graph.findings.lock_file import read_lock

    return read_lock(path)


def _write_lock(
    report: Report,
    files: list[ParsedFile],
    lock: LockFile | None,
    path: Path,
    read_wanted: Callable[[Container[str]], Mapping[str, str]],
    *,
    keeps_known: bool,
) -> tuple[Report, str | None]:
    """Write the lock file. The report with what is known now, and why it was refused. Raises UnusableInputError."""
    from golive.migration_graph.findings.known import mark_known
    from golive.migration_graph.findings.released import LockRefusedError, write_lock

    try:
        new = write_lock(report, files, lock, path, read_wanted, keeps_known=keeps_known)
    except LockRefusedError as error:
        return report, str(error)
    except OSError as error:
        raise UnusableInputError(f"{path} cannot be written: {error.strerror or error}") from None
    return mark_known(report, new.known), None
