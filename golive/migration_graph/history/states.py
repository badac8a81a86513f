"""Defects across commits, and the state of the tree of one commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from golive.migration_graph.history.versions import Shape, Version, get_scope
from golive.migration_graph.model import Edit, Finding, Kind


@dataclass(frozen=True)
class Defect:
    """The identity of a finding across commits. Two loops are the same if they have a revision in common."""

    code: str
    subject: frozenset[str]

    def is_same(self, other: Defect) -> bool:
        if self.code != other.code:
            return False
        return self.subject == other.subject or (self.code == "MG101" and not self.subject.isdisjoint(other.subject))


def name_defect(finding: Finding, kind: Kind) -> Defect:
    """The identity of a finding across commits: names, not files, lines or the particular heads."""
    if finding.code in ("MG201", "MG202"):
        return Defect(finding.code, frozenset(get_scope(name, kind) for name in finding.revisions))
    return Defect(finding.code, frozenset(finding.revisions) or frozenset({finding.file or ""}))


@dataclass(frozen=True)
class Fresh:
    """The new edges of one child when a loop began. For `blame` and `before` see `history.edge_origins`."""

    blame: int
    before: tuple[str, ...] | None
    parents: frozenset[str]


@dataclass
class Span:
    """The lifetime of a defect, as commit numbers.

    `edits`: name of the revision -> the edit of an existing file in the commit where the defect began. `fresh`, for a
    loop: name of the child -> its new edges. `heads`: those just before the defect began, for errors.
    """

    finding: Finding
    began: int
    edits: Mapping[str, Edit]
    fresh: Mapping[str, Fresh] = field(default_factory=dict)
    heads: frozenset[str] = frozenset()
    ended: int | None = None


@dataclass
class State:
    """The tree of one commit. `defects`: the span of each defect; shared between states, so never mutated."""

    shape: Shape
    versions: dict[str, Version] = field(default_factory=dict)
    defects: Mapping[Defect, Span] = field(default_factory=dict)
    # The codes of its errors.
    errors: frozenset[str] = frozenset()

    def copy(self) -> State:
        return State(self.shape.copy(), dict(self.versions), self.defects, self.errors)


@dataclass(frozen=True)
class Removal:
    """The commit, by number, that left a revision without a file; its last version, and what took its place, if any."""

    commit: int
    version: Version
    successor: Version | None
