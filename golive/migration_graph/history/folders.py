"""Where in a repository the audited folders are, and where they were before they were moved."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from golive.migration_graph.discovery.sources import Layout, Location
from golive.migration_graph.history.git import Change, ChangedCommit, Repository

# So many times a folder may have been moved.
MAX_MOVES = 20


@dataclass(frozen=True, slots=True)
class TrackedFolder:
    """A folder of migrations by its path in the repository: `prefix` ends in a slash, and is empty for the top."""

    prefix: str
    location: Location

    @property
    def pathspec(self) -> str:
        return f":(top,literal){self.prefix}" if self.prefix else "."

    def find_key(self, path: str) -> str | None:
        """What the audit calls the file at a path of the repository; None: it is no migration of this folder."""
        if not path.startswith(self.prefix):
            return None
        key = self.location.prefix + path[len(self.prefix) :]
        return key if self.location.owns(key) else None


def find_tracked(repository: Repository, layout: Layout) -> list[TrackedFolder]:
    """The folders of a layout that lie in the repository."""
    top = os.path.realpath(repository.top)
    found = []
    for location in layout.locations:
        path = os.path.relpath(os.path.realpath(location.folder), top).replace(os.sep, "/")
        if path != ".." and not path.startswith("../"):
            found.append(TrackedFolder("" if path == "." else f"{path}/", location))
    return found


def list_history(repository: Repository, head: str, folders: list[TrackedFolder]) -> list[ChangedCommit]:
    """All commits that touched the folders, oldest first. Folders that these were moved from are added to `folders`."""
    moves = 0
    while True:
        pathspecs = [folder.pathspec for folder in folders]
        commits = list(repository.read_changes(repository.list_commits(head, pathspecs), pathspecs))
        former = [old for old in _find_former(repository, commits, folders) if moves < MAX_MOVES]
        if not former:
            return commits
        folders += former
        moves += 1


def _find_former(
    repository: Repository, commits: Sequence[ChangedCommit], folders: Sequence[TrackedFolder]
) -> Iterator[TrackedFolder]:
    """Folders that lost their files in the same commit in which one of these got its first ones."""
    known = {folder.prefix for folder in folders}
    for folder in folders:
        first = next((one for one in commits if any(folder.find_key(change.path) for change in one.changes)), None)
        if first is None:
            continue
        whole = next(iter(repository.read_changes([(first.commit, ())], [])))
        added = {change.blob for change in first.changes if folder.find_key(change.path)}
        for change in whole.changes:
            prefix = _find_prefix(change, added)
            if prefix is not None and prefix not in known:
                known.add(prefix)
                yield TrackedFolder(prefix, _move(folder, prefix))


def _find_prefix(change: Change, added: set[str | None]) -> str | None:
    """The folder of a file that went away while one of the same content came."""
    if change.blob is not None or change.before is None or change.before not in added:
        return None
    folder = change.path.rpartition("/")[0]
    return f"{folder}/" if folder else ""


def _move(folder: TrackedFolder, prefix: str) -> Location:
    """The same location elsewhere. Its files are named as seen from the folder that is audited."""
    outer = os.path.relpath(prefix or ".", folder.prefix or ".").replace(os.sep, "/")
    key = os.path.normpath(f"{folder.location.prefix or '.'}/{outer}").replace(os.sep, "/")
    return replace(folder.location, prefix="" if key == "." else f"{key}/")
