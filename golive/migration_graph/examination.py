"""The whole audit in one call: the files, and on request their history, what was released, and what a database has run."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from golive.migration_graph.audit import audit_layout
from golive.migration_graph.births import Births
from golive.migration_graph.codes import sort_findings
from golive.migration_graph.database import compare_applied
from golive.migration_graph.history import trace
from golive.migration_graph.layouts import find_layout
from golive.migration_graph.lock import Lock, check_lock
from golive.migration_graph.model import Kind, Report
from golive.migration_graph.ranking import rank_remedies


def examine(
    path: str | Path,
    *,
    with_history: bool = False,
    lock: Lock | None = None,
    read_applied: Callable[[Kind], Collection[str]] | None = None,
) -> Report:
    """Audit a folder with all evidence that there is.

    `lock`: from `golive.migration_graph.lock.read_lock`. `read_applied`: asks the database, once the kind of migrations
    is known; what it answers is described in `golive.migration_graph.database`. Raises UnusableInputError.
    """
    layout = find_layout(path)
    report = audit_layout(path, layout)
    births: Births = {}
    if with_history:
        report, births = trace(report, layout)
    report = rank_remedies(report, layout.project, births=births, lock=lock)
    if lock is not None:
        report = check_lock(report, lock)
    if read_applied is not None:
        report = compare_applied(report, read_applied(report.kind))
    return replace(report, findings=sort_findings(list(report.findings)))
