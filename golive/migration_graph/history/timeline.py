"""Replay the history of the audited folders, including the working tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from golive.migration_graph.discovery.sources import Layout
from golive.migration_graph.findings.defects import PREVENTS_LOADING, find_defects
from golive.migration_graph.graph.build import build_graph
from golive.migration_graph.history.folders import TrackedFolder, find_tracked, list_history
from golive.migration_graph.history.git import ChangedCommit, NoHistoryError, Repository
from golive.migration_graph.history.replay import Replay
from golive.migration_graph.history.states import Removal, Span, State
from golive.migration_graph.history.step import Changed, describe_meaning
from golive.migration_graph.history.versions import Key, Version
from golive.migration_graph.model import Finding, ParsedFile, Report
from golive.migration_graph.readers.bodies import hash_body
from golive.migration_graph.readers.files import keep_unreadable, read_file
from golive.migration_graph.readers.syntax import report_too_large

# How many commits of the first-parent line are looked at for the last sound one.
MAX_LOOKED_BACK = 1_000


@dataclass(frozen=True)
class Timeline:
    """A replayed history. Commits are numbered by their index in `commits`; the next number is the working tree.

    `state` is that of the working tree, `spans` are the defects that ever existed, with the commits that began and
    ended them. `uncommitted`: keys of the files that differ from the last commit. `edge`: numbers of the commits whose
    ancestors are unknown (the boundary of a shallow clone); empty for a full clone. `last_sound`: the newest commit of
    the first-parent line whose files had no error. `removals` and `values`: see `Replay`.
    """

    commits: Sequence[str]
    state: State
    spans: Sequence[Span]
    uncommitted: tuple[str, ...]
    edge: frozenset[int]
    last_sound: str | None = None
    removals: Mapping[str, Removal] = field(default_factory=dict)
    values: Mapping[Key, Sequence[tuple[int, tuple[str, ...]]]] = field(default_factory=dict)
    # The number of the newest commit of the first-parent line that the tool could load; -1: there is none.
    last_loadable: int = -1


def read_timeline(report: Report, layout: Layout, repository: Repository) -> Timeline:
    """Replay all commits that touched the audited files. Raises HistoryUnavailableError."""
    head = repository.find_head()
    if head is None:
        raise NoHistoryError("the repository has no commits yet")
    folders = find_tracked(repository, layout)
    commits = list_history(repository, head, folders) if folders else []
    if not any(folder.find_key(change.path) for one in commits for change in one.changes for folder in folders):
        raise NoHistoryError("no commit holds these files")

    def audit(files: Iterable[ParsedFile]) -> Sequence[Finding]:
        listed = list(files)
        return find_defects(build_graph(layout.kind, listed, layout.project), listed)

    reader = CommitReader(repository, layout, folders, commits)
    replay = Replay(layout.kind, audit)
    state, errors = _replay_commits(replay, repository, commits, reader)
    pathspecs = [folder.pathspec for folder in folders]
    line = repository.list_first_parents(head, pathspecs)
    sound = _find_newest(repository, line, {one: not found for one, found in errors.items()}, pathspecs)
    loads = {one: PREVENTS_LOADING.isdisjoint(found) for one, found in errors.items()}
    loadable = _find_newest(repository, line, loads, pathspecs)
    changed = _compare(state, report)
    # Even if nothing changed: the current findings are those of the audit itself.
    state = replay.step(len(commits), [state], changed, report.findings)
    edge = frozenset(number for number, one in enumerate(commits) if not one.parents) if repository.is_shallow else ()
    names = tuple(sorted(change[1].key if change else key for key, change in changed.items()))
    hashes = [one.commit for one in commits]
    return Timeline(
        hashes,
        state,
        replay.spans,
        names,
        frozenset(edge),
        None if sound is None else repository.find_first_parent(sound[1]) if sound[1] else head,
        replay.removals,
        replay.values,
        -1 if loadable is None else hashes.index(loadable[0]),
    )


def _find_newest(
    repository: Repository, line: Sequence[str], is_good: Mapping[str, bool], pathspecs: Sequence[str]
) -> tuple[str, str | None] | None:
    """The newest good commit of the first-parent line, and the next one on the line (None: it is the newest there).

    `line`: the commits on it that changed the files, newest first. `is_good`: of each commit that was replayed; the
    good one is named as there.
    """
    newer = None
    for commit in line[:MAX_LOOKED_BACK]:
        # A merge that only takes one side over as it is was not replayed.
        replayed = commit if commit in is_good else repository.find_last_change(commit, pathspecs)
        if is_good.get(replayed):
            return replayed, newer
        newer = commit
    return None


class CommitReader:
    """Parses the files of all commits, each version of a file once. `bodies`: (key, blob) -> body, if asked for."""

    def __init__(
        self,
        repository: Repository,
        layout: Layout,
        folders: Sequence[TrackedFolder],
        commits: Iterable[ChangedCommit],
        *,
        with_bodies: bool = False,
    ) -> None:
        self._folders = folders
        self._keys: dict[str, tuple[str, str] | None] = {}
        wanted: dict[str, dict[str, str]] = {}
        for change in (change for one in commits for change in one.changes):
            if change.blob is not None and (found := self.find_key(change.path)):
                wanted.setdefault(change.blob, {})[found[0]] = found[1]
        self._files: dict[tuple[str, str], ParsedFile] = {}
        self.bodies: dict[tuple[str, str], str] = {}
        for blob, content in repository.read_blobs(wanted):
            repository.check_time()
            for key, app in wanted[blob].items():
                if isinstance(content, int):
                    file = keep_unreadable(layout.kind, key, report_too_large(key, content), app)
                else:
                    file = read_file(layout.kind, key, content, app=app)
                self._files[key, blob] = file
                if with_bodies and not isinstance(content, int):
                    self.bodies[key, blob] = hash_body(key, content, layout.kind)

    def find_key(self, path: str) -> tuple[str, str] | None:
        """The key of a file, and for Django its app label. None: it is not a migration."""
        if path not in self._keys:
            matches = ((key, one.location.app) for one in self._folders if (key := one.find_key(path)) is not None)
            self._keys[path] = next(matches, None)
        return self._keys[path]

    def read(self, commit: ChangedCommit) -> Changed:
        changed: dict[str, tuple[str, ParsedFile] | None] = {}
        for change in commit.changes:
            if found := self.find_key(change.path):
                key, _ = found
                changed[key] = (change.blob, self._files[key, change.blob]) if change.blob else None
        return changed


def _replay_commits(
    replay: Replay, repository: Repository, commits: Sequence[ChangedCommit], reader: CommitReader
) -> tuple[State, Mapping[str, frozenset[str]]]:
    """Replay the commits and return the state of the newest one, and the codes of the errors of each that has files."""
    errors: dict[str, frozenset[str]] = {}
    uses_left = Counter(parent for one in commits for parent in one.parents)
    states: dict[str, State] = {}
    for number, one in enumerate(commits):
        repository.check_time()
        parents = [states[parent] for parent in one.parents]
        for index, parent in enumerate(one.parents):
            uses_left[parent] -= 1
            if not uses_left[parent]:
                del states[parent]
            elif index == 0:
                parents[0] = parents[0].copy()
        state = states[one.commit] = replay.step(number, parents, reader.read(one))
        if state.versions:
            errors[one.commit] = state.errors
    return states[commits[-1].commit], errors


def _compare(state: State, report: Report) -> Changed:
    """The differences between the working tree and the last commit, as far as they matter to the graph."""
    nodes = report.graph.nodes
    known: dict[str, Version] = state.versions
    changed: dict[str, tuple[str, ParsedFile] | None] = {
        key: None for key, version in known.items() if key not in nodes and version.file.node is not None
    }
    for key, node in nodes.items():
        before = known[key].file.node if key in known else None
        if describe_meaning(node) != describe_meaning(before):
            changed[key] = ("", ParsedFile(key, node))
    return changed
