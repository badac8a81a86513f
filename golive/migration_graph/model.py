"""Data types shared by readers, graph, findings, history and reports.

Edges point from child to parent: a revision names its predecessors. Paths are relative to the audited folder, with
forward slashes; line numbers start at 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from golive.migration_graph.compat import StrEnum


class Kind(StrEnum):
    ALEMBIC = "alembic"
    DJANGO = "django"


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Role(StrEnum):
    """PARENT: Alembic's `down_revision` and Django's `dependencies`, which define lineage. DEPENDENCY: Alembic's
    `depends_on` (and Django's `run_before`, reversed), which only constrains the order."""

    PARENT = "parent"
    DEPENDENCY = "dependency"


@dataclass(frozen=True)
class Reference:
    """One reference from a file to a predecessor: `name` as written, `line` where it is written."""

    name: str
    line: int
    role: Role = Role.PARENT


@dataclass(frozen=True)
class Node:
    """One migration file. `key` is its path, so that two files with the same name remain two nodes.

    `name` is Alembic's revision id or Django's `app.name`. `create_date` and `revises` come verbatim from the docstring
    of an Alembic file. `is_reversible` None: unknown. `content_hash` is the SHA-256 of the bytes with line endings
    normalized to LF. A Django name may end in `__first__` or `__latest__`; `settings.X` is a swappable model's app.
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
    # Attributes that only running the file would reveal ("down_revision"): no finding may rely on their absence.
    unread: tuple[str, ...] = ()
    # The lines of the assignments that hold the references, which may be empty; 0: there is none.
    parents_line: int = 0
    dependencies_line: int = 0

    def find_line(self, role: Role = Role.PARENT) -> int:
        """The line of a reference list: of its first name, else of its assignment, else of the revision."""
        first = min((reference.line for reference in self.references if reference.role is role), default=0)
        return first or (self.parents_line if role is Role.PARENT else self.dependencies_line) or self.line

    @property
    def parents(self) -> tuple[str, ...]:
        return tuple(reference.name for reference in self.references if reference.role is Role.PARENT)

    @property
    def dependencies(self) -> tuple[str, ...]:
        return tuple(reference.name for reference in self.references if reference.role is Role.DEPENDENCY)


@dataclass(frozen=True)
class Edge:
    """`child -> parent` by name, and the line that defines it."""

    child: str
    parent: str
    file: str
    line: int


@dataclass(frozen=True)
class Edit:
    """A change to one reference list of one file: the values before and after, as Python source.

    What the history tells is an edit that was made, and undoing it puts `before` back. In a headline it is the edit to
    make: `before` stands in the file now, and `after` is to be written.
    """

    file: str
    line: int
    before: str | None
    after: str | None
    role: Role = Role.PARENT


@dataclass(frozen=True)
class Cut:
    """One remedy for a cycle: remove these edges. The cuts of a finding are listed best first.

    `restore` is the value before the edit that created the edge (as Python source; the value None is "None"). It is
    None if unknown, or if several values must be restored. `because` is the evidence, in sentences. `rank` starts at 1;
    tied cuts share it.
    """

    edges: tuple[Edge, ...]
    restore: str | None = None
    because: tuple[str, ...] = ()
    rank: int = 1
    # The edits to undo, one per list, each with its previous value. Empty if any previous value is unknown.
    edits: tuple[Edit, ...] = ()
    # The graph after the cut; None: not computed.
    heads: tuple[str, ...] | None = None
    bases: tuple[str, ...] | None = None
    is_sound: bool | None = None


@dataclass(frozen=True)
class Commit:
    """A commit of the repository that contains the files; `date` is RFC 3339."""

    commit: str
    subject: str
    date: str
    author: str = ""


@dataclass(frozen=True)
class Finding:
    """One problem, or something worth a look. `code` and `name` are those of `golive.migration_graph.catalogue`.

    `revisions` are the names involved. `cycle`, `cuts` and `affected` are set for MG101: a shortest cycle in the order
    child, parent, grandparent ...; the remedies; how many revisions cannot be ordered. `introduced_by` and `edit` are
    set only when the audit reads the history. `is_known`: the lock file keeps this error as known, so that it fails no
    audit.
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
    is_known: bool = False

    @property
    def is_new_error(self) -> bool:
        return self.severity is Severity.ERROR and not self.is_known


class Action(StrEnum):
    """What a headline asks for.

    RESTORE: put the values back that stood before an edit. BRING_BACK: bring a deleted file back. REID: give a file an
    id of its own. MERGE: join heads with a new revision.
    """

    RESTORE = "restore"
    BRING_BACK = "bring-back"
    REID = "reid"
    MERGE = "merge"


@dataclass(frozen=True)
class Headline:
    """The one remedy that the audit stands for: the graph that it leads to was built and audited.

    `code` and `revisions` are those of the finding that it mends. `command` does what no edit of a line can. `heads`,
    `bases` and `is_sound` tell the resulting graph, in which `(merge)` is the revision that the command makes.
    """

    action: Action
    code: str
    revisions: tuple[str, ...]
    edits: tuple[Edit, ...]
    command: str | None
    because: tuple[str, ...]
    heads: tuple[str, ...]
    bases: tuple[str, ...]
    is_sound: bool


@dataclass(frozen=True)
class NotRead:
    """Files that the audit passed over: the folder or file, relative to the audited folder, how many files, and why.

    An error if they belong to the graph or if nothing was read at all, otherwise a warning.
    """

    path: str
    files: int
    why: str
    hint: str
    severity: Severity = Severity.WARNING


@dataclass(frozen=True)
class Episode:
    """The lifetime of a defect: from the commit that introduced it to the one that fixed it (None: not fixed)."""

    code: str
    summary: str
    began: Commit
    ended: Commit | None
    edits: tuple[Edit, ...] = ()


@dataclass(frozen=True)
class ParsedFile:
    """What one file declares, independent of all others.

    `node` None: the file could not be read, and a finding says why; `guesses` are then the names it may define, so that
    files that refer to them are not reported. `run_before` and `replaces` are Django's, as `app.name`. `tables`: those
    that it seems to create.
    """

    key: str
    node: Node | None
    findings: tuple[Finding, ...] = ()
    run_before: tuple[Reference, ...] = ()
    replaces: tuple[str, ...] = ()
    guesses: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()


@dataclass(frozen=True)
class Project:
    """What is known of a project beyond its migrations.

    For Alembic only `elsewhere`: ids and branch labels in packages that are read for their names alone. For Django:
    `apps`: labels of the project's own apps; None: the apps that have migrations. `settings`: name of a setting -> the
    swappable model it names ("AUTH_USER_MODEL" -> "accounts.User"). `foreign`: label of an installed app outside the
    project -> the names of its migrations, None if they were not looked at. `is_closed`: no other app is installed.
    """

    apps: frozenset[str] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    foreign: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    is_closed: bool = False
    elsewhere: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Graph:
    """The graph of all audited files. `nodes` is keyed and sorted by `Node.key`."""

    kind: Kind
    nodes: Mapping[str, Node]
    # Resolved edges: child key -> keys of its parents (or dependencies). Dangling references are left out.
    parents: Mapping[str, tuple[str, ...]]
    dependencies: Mapping[str, tuple[str, ...]]
    heads: tuple[str, ...]
    bases: tuple[str, ...]
    # Child key -> its references that resolve to no file.
    dangling: Mapping[str, tuple[Reference, ...]] = field(default_factory=dict)
    # (child key, parent key) -> file and line that define the edge, if that is not the child's own reference.
    origins: Mapping[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    # Key of a replaced migration -> key of the squashed migration that replaces it.
    replaced: Mapping[str, str] = field(default_factory=dict)
    # Names that unreadable files may define.
    guesses: frozenset[str] = frozenset()
    # Key of a squashed migration -> the names it replaces, including those whose file is gone.
    replaces: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # How many references lead into packages that were not looked at.
    unchecked: int = 0


def index_by_name(nodes: Mapping[str, Node]) -> dict[str, list[str]]:
    """Name -> keys of the files that define it."""
    keys: dict[str, list[str]] = {}
    for key, node in nodes.items():
        keys.setdefault(node.name, []).append(key)
    return keys


def split_name(name: str) -> tuple[str, str]:
    """Split a Django node's `app.name` into app label and migration name; labels contain no dots."""
    app, _, migration = name.partition(".")
    return app, migration


def get_app(name: str) -> str:
    """The app label of a Django name."""
    return split_name(name)[0]


@dataclass(frozen=True)
class AppliedRows:
    """What a database has recorded. `rows`: Alembic's current revisions, or `app.name` of all that Django has applied.

    `name`: the database without its password. `id_length`: how many characters its column of ids holds; None: any.
    `has_table` False: the tool's table, by its usual name, is not there.
    """

    name: str
    rows: tuple[str, ...]
    id_length: int | None = None
    has_table: bool = True


@dataclass(frozen=True)
class ComparedDatabase:
    """A database against the files. `pending`: what an upgrade would run, in order; None: the tool would refuse.

    `ran_from`: what tells which migrations really ran ("lock file", "history", "assumed"); None: nothing was checked.
    """

    name: str
    rows: tuple[str, ...]
    pending: tuple[str, ...] | None
    ran_from: str | None = None


@dataclass(frozen=True)
class Report:
    """The result of an audit. `path` as the caller gave it. `sound`: there is no finding of severity error."""

    path: str
    graph: Graph
    findings: tuple[Finding, ...]
    merges: int
    branch_points: int
    # Only with the history: all episodes, newest first, and why the history could not be read (in full).
    episodes: tuple[Episode, ...] | None = None
    history_note: str | None = None
    databases: tuple[ComparedDatabase, ...] = ()
    not_read: tuple[NotRead, ...] = ()
    # Only with the history: the newest commit of the first-parent line whose files had no error.
    last_sound: Commit | None = None
    headline: Headline | None = None
    # Where the folder that files are relative to is in its repository ("." is the top); None: it is in none.
    repository_path: str | None = None
    # The file that configures the tool, if there is one: findings without a file are about it.
    configuration: str | None = None

    @property
    def kind(self) -> Kind:
        return self.graph.kind

    @property
    def revisions(self) -> int:
        return len(self.graph.nodes)

    @property
    def pending(self) -> tuple[str, ...] | None:
        """What upgrades of the databases would run, in order; None without a database, or if the tool refuses one."""
        plans = [database.pending for database in self.databases]
        if not plans or None in plans:
            return None
        return tuple(dict.fromkeys(name for plan in plans for name in plan or ()))

    @property
    def sound(self) -> bool:
        return not any(finding.severity is Severity.ERROR for finding in self.findings)

    @property
    def has_new_errors(self) -> bool:
        """Whether there are errors that the lock file does not keep as known."""
        return any(finding.is_new_error for finding in self.findings)


class UnusableInputError(Exception):
    """The input cannot be audited: no such folder, no configuration, no version folder. The message is one line."""
