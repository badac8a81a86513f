"""Folders of migrations made for tests."""

from __future__ import annotations

from pathlib import Path

from golive.migration_graph.audit import audit
from golive.migration_graph.model import Finding, Report

HEADER = '"""{message}\n\nRevision ID: {name}\nRevises: {revises}\nCreate Date: {date}\n\n"""\n'
BODY = "\n\ndef upgrade():\n    op.execute('SELECT 1')\n\n\ndef downgrade():\n    op.execute('SELECT 2')\n"


def render(name: str, parents: str = "None", more: str = "", *, revises: str = "", date: str = "2025-01-01") -> str:
    """A revision file; `parents` is Python source."""
    header = HEADER.format(message=f"add {name}", name=name, revises=revises, date=date)
    return f"{header}from alembic import op\n\nrevision = {name!r}\ndown_revision = {parents}\n{more}{BODY}"


def make_alembic(root: Path, files: dict[str, str | bytes], *, options: str = "") -> Path:
    """A project of Alembic with these files (path below `alembic/versions` -> content)."""
    versions = root / "alembic" / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    (root / "alembic.ini").write_text(f"[alembic]\nscript_location = %(here)s/alembic\n{options}")
    write(versions, files)
    return root


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def chain(**parents: str | None) -> dict[str, str | bytes]:
    """Files by id and the source of their parents: `chain(a=None, b="'a'")`."""
    return {f"{name}.py": render(name, str(value)) for name, value in parents.items()}


def find(report: Report, code: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.code == code]


def get_codes(root: Path) -> list[str]:
    return [finding.code for finding in audit(root).findings]
