"""The catalogue of findings: code, name, severity, meaning and remedy of each.

docs/migrations/findings.md has an example of each; a test checks that page against this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from golive.migration_graph.model import Finding, Severity


@dataclass(frozen=True)
class FindingType:
    """One entry of the catalogue. `severity` is the default; `meaning` and `remedy` are shown to users."""

    code: str
    name: str
    severity: Severity
    meaning: str
    remedy: str


CATALOGUE: Final = {
    each.code: each
    for each in (
        FindingType(
            "MG101",
            "cycle",
            Severity.ERROR,
            "Revisions come before each other in a circle, so that no order exists and nothing can be applied.",
            "Put back the value that stood before the edit which closed the circle; the history finds it.",
        ),
        FindingType(
            "MG102",
            "dangling-parent",
            Severity.ERROR,
            "A file names a parent that no file defines.",
            "Correct the name, or bring the missing file back.",
        ),
        FindingType(
            "MG103",
            "duplicate-id",
            Severity.ERROR,
            "Two files define the same revision; the tool runs the one that it reads last, and never the other.",
            "Give the newer one an id of its own, unless a database has run it.",
        ),
        FindingType(
            "MG104",
            "self-reference",
            Severity.ERROR,
            "A revision names itself as what comes before it.",
            "Put back the parent that it had.",
        ),
        FindingType(
            "MG105",
            "unreadable-file",
            Severity.ERROR,
            "A file cannot be read as Python: wrong syntax, marks of a merge conflict, an encoding, missing rights.",
            "Repair the file. Until then nobody can say where its revision belongs.",
        ),
        FindingType(
            "MG106",
            "value-not-literal",
            Severity.WARNING,
            "A value that places the revision in the graph is computed, and the audit runs nothing.",
            "Write the value out.",
        ),
        FindingType(
            "MG107",
            "dangling-dependency",
            Severity.ERROR,
            "A file depends on a revision or a label that no file defines.",
            "Correct the name, or bring the missing file back.",
        ),
        FindingType(
            "MG108",
            "not-read",
            Severity.WARNING,
            "Files were passed over that the tool loads, or that seem to belong to the graph.",
            "Let the configuration name them, or audit them on their own.",
        ),
        FindingType(
            "MG109",
            "id-too-long",
            Severity.WARNING,
            "An id has more than the 32 characters that Alembic's version table holds: PostgreSQL refuses it.",
            "Give the revision a shorter id before anything has run it.",
        ),
        FindingType(
            "MG110",
            "name-clash",
            Severity.ERROR,
            "Two things bear one name that has to be unique: two branch labels, an id and a word of the tool's own, or "
            "a file and a migration that a squashed one replaces.",
            "Rename the newer one.",
        ),
        FindingType(
            "MG201",
            "multiple-heads",
            Severity.ERROR,
            "The graph has several ends, and an upgrade to the head does not know which.",
            "Merge them with a revision that does nothing else, once nothing else is wrong.",
        ),
        FindingType(
            "MG202",
            "multiple-bases",
            Severity.WARNING,
            "The graph has several beginnings: often a parent that was lost.",
            "Give the younger one its parent, or leave it if it is meant.",
        ),
        FindingType(
            "MG203",
            "create-date-inversion",
            Severity.INFO,
            "A revision says that it was made before its parent.",
            "Look whether its parent was edited. Dates alone prove nothing.",
        ),
        FindingType(
            "MG204",
            "irreversible",
            Severity.WARNING,
            "A revision has no downgrade, or an empty one: it cannot be undone, or only appears to be.",
            "Write the downgrade, or let it raise an error that says why there is none.",
        ),
        FindingType(
            "MG205",
            "table-created-twice",
            Severity.WARNING,
            "One upgrade creates a table of the same name twice, and drops it nowhere between: the second time fails.",
            "Take one of them out, or drop the table before it is made again.",
        ),
        FindingType(
            "MG301",
            "database-revision-unknown",
            Severity.ERROR,
            "The database says that a revision is applied which no file defines.",
            "Bring the file back, or deploy the release that has it.",
        ),
        FindingType(
            "MG302",
            "database-behind",
            Severity.INFO,
            "Revisions are not applied yet.",
            "Run the upgrade; the report lists what it would run, in order.",
        ),
        FindingType(
            "MG303",
            "would-skip",
            Severity.ERROR,
            "The tool takes a revision for applied that never ran in this database: it was put below what had run.",
            "Put it on top of what has run, or make the table of the tool say what ran.",
        ),
        FindingType(
            "MG304",
            "would-run-twice",
            Severity.ERROR,
            "An upgrade would run again what this database has run: under a new name, or as what was cut off.",
            "Put the parent or the name back, or make the table of the tool say what ran.",
        ),
        FindingType(
            "MG305",
            "tool-refuses",
            Severity.ERROR,
            "The tool refuses this database: its rows contradict the order of the files.",
            "Make the rows agree with the files again; the message names both.",
        ),
        FindingType(
            "MG306",
            "changed-after-deploy",
            Severity.ERROR,
            "What a revision does was edited after this database had run it, and it will not run there again.",
            "Put the file back as it ran, and make the change in a new revision.",
        ),
        FindingType(
            "MG401",
            "changed-after-lock",
            Severity.ERROR,
            "A released revision does or follows something else than the lock file has; a note if only comments, "
            "formatting or docstrings differ.",
            "Put it back as it was released, and make the change in a new revision.",
        ),
        FindingType(
            "MG402",
            "removed-after-lock",
            Severity.ERROR,
            "A released revision is gone.",
            "Bring its file back.",
        ),
    )
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
    """Make a finding with the name and severity of its code. Pass `severity` only to lower it, for a reason."""
    kind = CATALOGUE[code]
    return Finding(code, kind.name, severity or kind.severity, message, hint, file, line, revisions)


def sort_findings(findings: list[Finding]) -> tuple[Finding, ...]:
    """Sort by severity (worst first), new before known, code, file and line, so that the order is deterministic."""

    def get_sort_key(finding: Finding) -> tuple[object, ...]:
        place = (finding.file or "", finding.line or 0)
        return (_ORDER[finding.severity], finding.is_known, finding.code, *place, finding.revisions)

    return tuple(sorted(findings, key=get_sort_key))
