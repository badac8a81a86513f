"""Audits this project's migrations, with its lock file, for `migrate` and the checklist; cached until a file changes.

Third-party apps outside of `BASE_DIR` are not audited; Django reports it if their migrations do not load.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

from django.apps import apps
from django.conf import settings

from golive.migration_graph.audit import LOCK_FILE, audit
from golive.migration_graph.model import Finding, Report, UnusableInputError

# For each file: path, modification time in nanoseconds, size in bytes.
_State = tuple[tuple[str, int, int], ...]

_lock = threading.Lock()
_cached: tuple[_State, Report] | None = None


def audit_project() -> Report:
    """The report on the project in `BASE_DIR`. Raises UnusableInputError if there is nothing to audit."""
    global _cached  # noqa: PLW0603 - one report per process
    root = getattr(settings, "BASE_DIR", None)
    if root is None:
        raise UnusableInputError("the setting BASE_DIR is missing, which says where the project is")
    state = tuple(_read_state(Path(root)))
    with _lock:
        if _cached is not None and _cached[0] == state:
            return _cached[1]
    report = audit(root)
    with _lock:
        _cached = (state, report)
    return report


def list_errors(report: Report) -> list[str]:
    """One line for each error that is not known already: location, finding, hint."""
    return [_describe(finding) for finding in report.findings if finding.is_new_error]


def list_known_errors(report: Report) -> list[str]:
    """One line for each error that the lock file keeps as known."""
    return [_describe(finding) for finding in report.findings if finding.is_known]


def _describe(finding: Finding) -> str:
    place = "" if finding.file is None else f"{finding.file}:{finding.line or 1}: "
    return f"{place}{finding.code} {finding.name}: {finding.message} {finding.hint}".rstrip()


def _read_state(root: Path) -> Iterator[tuple[str, int, int]]:
    yield (str(root), 0, 0)
    yield _read_lock_state(root / LOCK_FILE)
    for app in apps.get_app_configs():
        folder = Path(app.path) / "migrations"
        if folder.is_relative_to(root) and folder.is_dir():
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if entry.name.endswith(".py"):
                        status = entry.stat()
                        yield (entry.path, status.st_mtime_ns, status.st_size)


def _read_lock_state(path: Path) -> tuple[str, int, int]:
    try:
        status = path.stat()
    except OSError:
        # None, or a link that leads nowhere.
        return (str(path), 0, int(os.path.lexists(path)))
    return (str(path), status.st_mtime_ns, status.st_size)
