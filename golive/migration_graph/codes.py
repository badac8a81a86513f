"""The findings that there are: code, name and severity (DESIGN, section 6), and how one is made."""

from __future__ import annotations

from typing import Final

from golive.migration_graph.model import Finding, Severity

CODES: Final[dict[str, tuple[str, Severity]]] = {
    "MG101": ("cycle", Severity.ERROR),
    "MG102": ("dangling-parent", Severity.ERROR),
    "MG103": ("duplicate-id", Severity.ERROR),
    "MG104": ("self-reference", Severity.ERROR),
    "MG105": ("unreadable-file", Severity.ERROR),
    "MG106": ("value-not-literal", Severity.WARNING),
    "MG107": ("dangling-dependency", Severity.ERROR),
    "MG201": ("multiple-heads", Severity.ERROR),
    "MG202": ("multiple-bases", Severity.WARNING),
    "MG203": ("create-date-inversion", Severity.INFO),
    "MG204": ("irreversible", Severity.WARNING),
    "MG301": ("database-revision-unknown", Severity.ERROR),
    "MG302": ("database-behind", Severity.INFO),
    "MG401": ("changed-after-lock", Severity.ERROR),
    "MG402": ("removed-after-lock", Severity.ERROR),
}
_ORDER: Final = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}


def make_finding(
    code: str,
    message: str,
    hint: str,
    *,
    file: str | None = None,
    line: int | None = None,
    revisions: tuple[str, ...] = (),
    severity: Severity | None = None,
) -> Finding:
    """A finding with the name and the severity that belong to its code. `severity` only to lower it, with a reason."""
    name, usual = CODES[code]
    return Finding(code, name, severity or usual, message, hint, file, line, revisions)


def sort_findings(findings: list[Finding]) -> tuple[Finding, ...]:
    """The worst first, then by code, file and line: the same folder gives the same list."""

    def place(finding: Finding) -> tuple[object, ...]:
        return (_ORDER[finding.severity], finding.code, finding.file or "", finding.line or 0, finding.revisions)

    return tuple(sorted(findings, key=place))
