"""The shapes that readers, graph, findings, history and reports share.

Arrows point from child to parent: a revision names what comes before it. Files are relative to the audited folder, with
forward slashes; lines count from 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    ALEMBIC = "alembic"
    DJANGO = "django"


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Role(StrEnum):
    """What a reference means: Alembic's `down_revision` and Django's `dependencies` order revisions of one line of
    descent; Alembic's `depends_on` (and Django's `run_before`, turned round) only orders."""

    PARENT = "parent"
    DEPENDENCY = "dependency"


@dataclass(frozen=True, slots=True)
class Reference:
    """One name by which a file points at what comes before it; `name` as written, `line` where it stands."""

    name: str
    line: int
    role: Role = Role.PARENT


@dataclass(frozen=True, slots=True)
class Node:
    """One migration file. `key` is its path, so that two files with one name stay two nodes.

    `name` is Alembic's revision id or Django's `app.name`. `create_date` and `revises` are what the docstring of an
    Alembic file says, as written. `is_reversible` None: it was not looked at. `content_hash` is the SHA-256 of the
    bytes with line ends as LF. A Django name may end in `__first__` or `__latest__`; `settings.X` stands for the app of
    a swappable model.
    """

    key: str
    name: str
    line: int
    references: tuple[Reference, ...] = ()
    branch_labels: tuple[str, ...] = ()
    message: str = ""
    create_date: str | None = None
    revises: str | None = None
    is_reversible: bool | None = None
    content_hash: str = ""
    # What could not be read without running the file ("down_revision"), so that nothing is built on its absence.
    unread: tuple[str, ...] = ()

    @property
    def parents(self) -> tuple[str, ...]:
        return tuple(reference.name for reference in self.references if reference.role is Role.PARENT)

    @property
    def dependencies(self) -> tuple[str, ...]:
        return tuple(reference.name for reference in self.references if reference.role is Role.DEPENDENCY)


@dataclass(frozen=True, slots=True)
class Edge:
    """`child -> parent` by their names, and the line that makes it."""

    child: str
    parent: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Edit:
    """What a commit did to one reference list of one file: the values before and after, as Python source."""

    file: str
    line: int
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Cut:
    """One remedy of a cycle: take these edges out. Cuts of one finding are listed best first.

    `restore` is the value that stood before the edit that made the edge (as Python source, `None` included as "None"),
    or None where that is not known, or where several values are to be put back. `because` is the evidence in words.
    `rank` is shared by cuts that tie, from 1.
    """

    edges: tuple[Edge, ...]
    restore: str | None = None
    because: tuple[str, ...] = ()
    rank: int = 1
    # The edits to undo, one for each list: each has its value before. Empty where a value is not known.
    edits: tuple[Edit, ...] = ()
    # What the graph would be afterwards; None: not worked out.
    heads: tuple[str, ...] | None = None
    bases: tuple[str, ...] | None = None
    is_sound: bool | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit of the repository that holds the files; `date` is RFC 3339."""

    commit: str
    subject: str
    date: str
    author: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong or deserves a look. `code` and `name` are those of `golive.migration_graph.catalogue`.

    `revisions` are the names concerned. `cycle`, `cuts` and `affected` belong to MG101: one shortest cycle in the order
    child, parent, parent's parent ...; the remedies; how many revisions cannot be ordered. `introduced_by` and `edit`
    are filled from the history where that was asked for.
    """

    code: str
    name: str
    severity: Severity
    message: str
    hint: str
    file: str | None = None
    line: int | None = None
    revisions: tuple[str, ...] = ()
    cycle: tuple[str, ...] | None = None
    cuts: tuple[Cut, ...] = ()
    affected: int | None = None
    is_minimal: bool | None = None
    introduced_by: Commit | None = None
    edit: Edit | None = None


@dataclass(frozen=True, slots=True)
class Episode:
    """A time in which a defect stood: from the commit that made it to the one that ended it (None: it stands)."""

    code: str
    summary: str
    began: Commit
    ended: Commit | None
    edits: tuple[Edit, ...] = ()


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """What one file says, before anything is known of the others.

    `node` None: it could not be read at all, and a finding says why; `guesses` are the names that it may have held, so
    that who refers to them is not blamed. `run_before` and `replaces` are Django's, as `app.name`.
    """

    key: str
    node: Node | None
    findings: tuple[Finding, ...] = ()
    run_before: tuple[Reference, ...] = ()
    replaces: tuple[str, ...] = ()
    guesses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Project:
    """What a Django project knows beyond its migrations; for Alembic it stays empty.

    `apps`: labels of the apps whose folders are in the project; None: those of the migrations. `settings`: names of
    settings to swappable models ("AUTH_USER_MODEL" -> "accounts.User").
    """

    apps: frozenset[str] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Graph:
    """All files of one folder. `nodes` by key, in the order of their keys."""

    kind: Kind
    nodes: Mapping[str, Node]
    # Resolved: key of the child -> keys of its parents, and of its dependencies. Dangling references are left out.
    parents: Mapping[str, tuple[str, ...]]
    dependencies: Mapping[str, tuple[str, ...]]
    heads: tuple[str, ...]
    bases: tuple[str, ...]
    # Key of the child and the references of it that lead to no file.
    dangling: Mapping[str, tuple[Reference, ...]] = field(default_factory=dict)
    # (child, parent) by their keys -> file and line that make the edge, where that is not the child's own reference.
    origins: Mapping[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    # Old migrations that a squashed one stands for: key of the old one -> key of the new one.
    replaced: Mapping[str, str] = field(default_factory=dict)
    # Names that unreadable files may hold.
    guesses: frozenset[str] = frozenset()
    # Key of a squashed migration -> the names it stands for, those without a file included.
    replaces: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def index_by_name(nodes: Mapping[str, Node]) -> dict[str, list[str]]:
    """Name -> keys of the files that bear it."""
    keys: dict[str, list[str]] = {}
    for key, node in nodes.items():
        keys.setdefault(node.name, []).append(key)
    return keys


def split_name(name: str) -> tuple[str, str]:
    """The app's label and the migration's name of a Django node `app.name`; labels have no dots."""
    app, _, migration = name.partition(".")
    return app, migration


def get_app(name: str) -> str:
    """The label of the app in a Django name."""
    return split_name(name)[0]


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found. `path` as the caller gave it. `sound`: no finding of severity error."""

    path: str
    graph: Graph
    findings: tuple[Finding, ...]
    merges: int
    branch_points: int
    # Only with the history: the past episodes, newest first, and why the history could not be (wholly) read.
    episodes: tuple[Episode, ...] | None = None
    history_note: str | None = None
    # Only with a database: what an upgrade would run, in order.
    pending: tuple[str, ...] | None = None

    @property
    def kind(self) -> Kind:
        return self.graph.kind

    @property
    def revisions(self) -> int:
        return len(self.graph.nodes)

    @property
    def sound(self) -> bool:
        return not any(finding.severity is Severity.ERROR for finding in self.findings)


class UnusableInputError(Exception):
    """There is nothing to audit: no such folder, no configuration, no version folder. The message is one line."""
