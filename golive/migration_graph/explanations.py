"""What each code means and what to do about it, for people. docs/migration-audit.md has an example of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Explanation:
    meaning: str
    remedy: str


EXPLANATIONS: Final = {
    "MG101": Explanation(
        "Revisions come before each other in a circle, so that no order exists and nothing can be applied.",
        "Put back the value that stood before the edit which closed the circle; --history finds it.",
    ),
    "MG102": Explanation(
        "A file names a parent that no file defines.",
        "Correct the name, or bring the missing file back.",
    ),
    "MG103": Explanation(
        "Two files define the same revision; a tool that keeps one of them drops the other in silence.",
        "Give the one that is not applied anywhere an id of its own.",
    ),
    "MG104": Explanation(
        "A revision names itself as what comes before it.",
        "Put back the parent that it had.",
    ),
    "MG105": Explanation(
        "A file cannot be read as Python: wrong syntax, marks of a merge conflict, an encoding, missing rights.",
        "Repair the file. Until then nobody can say where its revision belongs.",
    ),
    "MG106": Explanation(
        "A value that places the revision in the graph is computed, and the audit runs nothing.",
        "Write the value out.",
    ),
    "MG107": Explanation(
        "A file depends on a revision or a label that no file defines.",
        "Correct the name, or bring the missing file back.",
    ),
    "MG201": Explanation(
        "The graph has several ends, and an upgrade to the head does not know which.",
        "Merge them, or put one on top of the other.",
    ),
    "MG202": Explanation(
        "The graph has several beginnings: often a parent that was lost.",
        "Give the younger one its parent, or leave it if it is meant.",
    ),
    "MG203": Explanation(
        "A revision says that it was made before its parent.",
        "Look whether its parent was edited. Dates alone prove nothing.",
    ),
    "MG204": Explanation(
        "A revision has no downgrade, or an empty one: it cannot be undone, or claims to be and is not.",
        "Write the downgrade, or let it raise an error that says why there is none.",
    ),
    "MG301": Explanation(
        "The database says that a revision is applied which no file defines.",
        "Bring the file back, or deploy the release that has it.",
    ),
    "MG302": Explanation(
        "Revisions are not applied yet.",
        "Run the upgrade; the report lists what it would run, in order.",
    ),
    "MG401": Explanation(
        "A released revision is not as the lock file has it.",
        "Put it back as it was released, and make the change in a new revision.",
    ),
    "MG402": Explanation(
        "A released revision is gone.",
        "Bring its file back.",
    ),
}
