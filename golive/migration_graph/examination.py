"""An audit with all that can be asked for on top of it: the lock file, the history, the database.

What only some audits need is imported where it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from golive.migration_graph.audit import audit_layout, find_layout
from golive.migration_graph.codes import sort_findings
from golive.migration_graph.model import Kind, Report, UnusableInputError

LOCK_FILE = "migrations.lock"

# The URL of a database and whose table to read -> the names that are applied. Raises UnusableInputError.
ReadApplied = Callable[[str, Kind], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Wishes:
    """`lock_file` None: the one in the audited folder, if it is there. `database` is a URL."""

    with_history: bool = False
    database: str | None = None
    lock_file: Path | None = None
    writes_lock: bool = False


@dataclass(frozen=True, slots=True)
class Examination:
    """The report; and, where the lock file was to be written but was not, the reason."""

    report: Report
    refusal: str | None = None


def examine(path: str, wishes: Wishes, read_applied: ReadApplied) -> Examination:
    """Audit a folder. Raises UnusableInputError."""
    layout = find_layout(path)
    report = audit_layout(path, layout)
    lock_file = wishes.lock_file or layout.root / LOCK_FILE
    lock, births = None, None
    if lock_file.exists() or (wishes.lock_file is not None and not wishes.writes_lock):
        from golive.migration_graph.lock import check_lock, read_lock

        lock = read_lock(lock_file)
        report = check_lock(report, lock)
    if wishes.with_history:
        from golive.migration_graph.history import trace

        report, births = trace(report, layout)
    if any(finding.cuts for finding in report.findings):
        from golive.migration_graph.ranking import rank_remedies

        report = rank_remedies(report, layout.project, births=births, lock=lock)
    if wishes.database is not None:
        from golive.migration_graph.database import compare_applied

        report = compare_applied(report, read_applied(wishes.database, report.kind))
    report = replace(report, findings=sort_findings(list(report.findings)))
    return Examination(report, _write_lock(report, lock_file) if wishes.writes_lock else None)


def _write_lock(report: Report, path: Path) -> str | None:
    """None when it is written, else why not. Raises UnusableInputError."""
    from golive.migration_graph.lock import LockRefusedError, write_lock

    try:
        write_lock(report, path)
    except LockRefusedError as error:
        return str(error)
    except OSError as error:
        raise UnusableInputError(f"{path} cannot be written: {error.strerror or error}") from None
    return None
