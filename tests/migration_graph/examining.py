"""The whole audit of a folder, for tests that need no database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from golive.migration_graph.audit import AuditRequest, run_audit
from golive.migration_graph.model import Kind, Report


def examine(folder: Path, *, with_history: bool | None = False) -> Report:
    """The report; a lock file in the folder is evidence, as in the command."""
    return run_audit(str(folder), AuditRequest(with_history=with_history), _refuse).report


def _refuse(url: str, kind: Kind) -> Sequence[str]:
    raise AssertionError("no database was asked for")
