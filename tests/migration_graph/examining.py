"""The whole audit of a folder, for tests that need no database."""

from __future__ import annotations

from pathlib import Path

from golive.migration_graph.audit import AuditRequest, AuditResult, run_audit
from golive.migration_graph.model import AppliedRows, Kind, Report


def examine(folder: Path, *, with_history: bool | None = False) -> Report:
    """The report; a lock file in the folder is evidence, as in the command."""
    return run_audit(str(folder), AuditRequest(with_history=with_history), _refuse).report


def lock(folder: Path, *, keeps_known: bool = False) -> AuditResult:
    """Write the lock file of the folder."""
    return run_audit(str(folder), AuditRequest(writes_lock=True, keeps_known=keeps_known), _refuse)


def _refuse(url: str, kind: Kind) -> AppliedRows:
    raise AssertionError("no database was asked for")
