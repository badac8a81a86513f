"""Where a database may stand, as far as the history tells: what ran there before its table came to say what it says.

Git does not record deploys. A database may have been made from any commit of the branch's own line, and upgraded at any
of the later ones, or at none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from golive.migration_graph.discovery.sources import Layout
from golive.migration_graph.graph.build import build_graph
from golive.migration_graph.graph.positions import Position, Possibility, Run, Upgrades
from golive.migration_graph.graph.upgrades import is_loadable
from golive.migration_graph.history.folders import find_tracked, list_history
from golive.migration_graph.history.git import HistoryUnavailableError, Repository
from golive.migration_graph.history.timeline import CommitReader
from golive.migration_graph.model import Kind, ParsedFile

MAX_SECONDS = 60.0
# How many commits and how many positions of databases are followed, the newest first.
MAX_RELEASES = 120
MAX_POSITIONS = 150
# key -> (blob, parsed content)
_Files = dict[str, tuple[str, ParsedFile]]


@dataclass(frozen=True)
class Release:
    """A commit of the branch from which a database can have been upgraded."""

    commit: str
    upgrades: Upgrades

    @property
    def name(self) -> str:
        return f"commit {self.commit[:12]}"


@dataclass(frozen=True)
class Releases:
    """Those that are followed, oldest first."""

    releases: Sequence[Release]

    def explain(self, rows: frozenset[str], current: Upgrades) -> tuple[str, list[Possibility]]:
        """A source for `findings.applied.Knowledge`: what may have run in a database with these rows.

        The most direct explanation comes first. `current`: the upgrades of the audited files.
        """
        return "history", self._find(rows, current)

    def _find(self, rows: frozenset[str], current: Upgrades) -> list[Possibility]:
        if current.kind is Kind.ALEMBIC:
            return self._explain(rows)
        # Django's table also has the rows of other apps, and of files that are long gone.
        audited = frozenset(name for name in rows if current.knows([name]))
        gone = {name for name in rows for release in self.releases if release.upgrades.knows([name])}
        return self._explain(audited | gone) or self._explain(audited)

    def _explain(self, rows: frozenset[str]) -> list[Possibility]:
        found: dict[frozenset[Run], Possibility] = {}
        reached: dict[Position, None] = {}
        usual = Position(frozenset(), frozenset())
        usual_runs: list[frozenset[Run]] = []
        for release in self.releases:
            upgrades = release.upgrades
            if rows and upgrades.knows(rows) and upgrades.accepts(rows):
                for position in reached:
                    # A database of which this one may be a later state.
                    if (ran := upgrades.reach(position, rows)) is not None:
                        found.setdefault(ran, Possibility(Position(rows, ran), release.name, is_direct=False))
                applied = upgrades.list_applied(rows)
                found[applied] = Possibility(Position(rows, applied), release.name)
                if not usual_runs and (ran := upgrades.reach(usual, rows)) is not None:
                    usual_runs.append(ran)
            usual = upgrades.upgrade(usual)
            fresh = Position(frozenset(), frozenset())
            upgraded = dict.fromkeys(upgrades.upgrade(position) for position in (*reached, fresh))
            # Not every release was deployed everywhere.
            both = [*(position for position in reached if position not in upgraded), *upgraded]
            reached = dict.fromkeys(both[-MAX_POSITIONS:])
        found |= {ran: replace(found[ran], is_usual=True) for ran in usual_runs if ran in found}
        return sorted(found.values(), key=lambda each: not each.is_direct)


def read_releases(layout: Layout, *, seconds: float = MAX_SECONDS) -> Releases | None:
    """Read the line of the checked-out branch; None if the history cannot be read."""
    try:
        return _read_releases(layout, Repository(layout.root, seconds=seconds))
    except HistoryUnavailableError:
        return None


def _read_releases(layout: Layout, repository: Repository) -> Releases | None:
    head = repository.find_head()
    folders = find_tracked(repository, layout)
    # What a shallow clone begins with is not what databases began with.
    if head is None or not folders or repository.is_shallow:
        return None
    commits = list_history(repository, head, folders, is_first_parent=True)
    reader = CommitReader(repository, layout, folders, commits, with_bodies=True)
    states: list[tuple[str, _Files]] = []
    files: _Files = {}
    for commit in commits:
        changed = reader.read(commit)
        before = dict(files)
        for key, change in changed.items():
            if change is None:
                files.pop(key, None)
            else:
                files[key] = change
        # A commit that changes nothing of what is done or followed is no release of its own.
        if any(_describe(key, before, reader) != _describe(key, files, reader) for key in changed):
            states.append((commit.commit, dict(files)))
    return Releases(list(_make_releases(layout, states[-MAX_RELEASES:], reader)))


def _describe(key: str, files: _Files, reader: CommitReader) -> object:
    """What a file does and follows; None: it is not there."""
    if key not in files:
        return None
    blob, file = files[key]
    node = file.node
    places = node and (node.name, node.parents, node.dependencies, node.branch_labels)
    return places, file.run_before, file.replaces, reader.bodies.get((key, blob))


def _make_releases(layout: Layout, states: Iterable[tuple[str, _Files]], reader: CommitReader) -> Iterator[Release]:
    """The states that the tool can load."""
    for commit, files in states:
        parsed = [file for _, file in files.values()]
        bodies = {key: reader.bodies.get((key, blob), blob) for key, (blob, _) in files.items()}
        graph = build_graph(layout.kind, parsed, layout.project)
        if all(file.node for file in parsed) and is_loadable(graph):
            yield Release(commit, Upgrades(graph, bodies))
