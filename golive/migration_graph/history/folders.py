"""Locate the audited folders in a repository, and where they were before they were moved."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from golive.migration_graph.discovery.sources import Layout, Location
from golive.migration_graph.history.git import Change, ChangedCommit, Repository

# How many moves of a folder are followed.
MAX_MOVES = 20


@dataclass(frozen=True)
class TrackedFolder:
    """A migrations folder in the repository. `prefix` is its path with a trailing slash; empty for the top level."""

    prefix: str
    location: Location

    @property
    def pathspec(self) -> str:
        return f":(top,literal){self.prefix}" if self.prefix else "."

    def find_key(self, path: str) -> str | None:
        """The audit's key of the file at a repository path; None: it is not a migration of this folder."""
        if not path.startswith(self.prefix):
            return None
        key = self.location.prefix + path[len(self.prefix) :]
        return key if self.location.owns(key) else None


def find_tracked(repository: Repository, layout: Layout) -> list[TrackedFolder]:
    """The folders of a layout that are in the repository."""
    top = os.path.realpath(repository.top)
    folders = []
    for location in layout.locations:
        path = os.path.relpath(os.path.realpath(location.folder), top).replace(os.sep, "/")
        if path != ".." and not path.startswith("../"):
            folders.append(TrackedFolder("" if path == "." else f"{path}/", location))
    return folders


def list_history(
    repository: Repository, head: str, folders: list[TrackedFolder], *, is_first_parent: bool = False
) -> list[ChangedCommit]:
    """All commits that touched the folders, oldest first. Appends the folders' former places to `folders`.

    `is_first_parent`: only those on the line of the branch itself.
    """
    moves = 0
    while True:
        pathspecs = [folder.pathspec for folder in folders]
        listed = repository.list_commits(head, pathspecs, is_first_parent=is_first_parent)
        commits = list(repository.read_changes(listed, pathspecs))
        former = [old for old in _find_former(repository, commits, folders) if moves < MAX_MOVES]
        if not former:
            return commits
        folders += former
        moves += 1


def _find_former(
    repository: Repository, commits: Sequence[ChangedCommit], folders: Sequence[TrackedFolder]
) -> Iterator[TrackedFolder]:
    """The folders whose files were removed in the commit that added the first files to one of these folders."""
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
    """The folder of a removed file whose content was added elsewhere. None: no such file."""
    if change.blob is not None or change.before is None or change.before not in added:
        return None
    folder = change.path.rpartition("/")[0]
    return f"{folder}/" if folder else ""


def _move(folder: TrackedFolder, prefix: str) -> Location:
    """The same location at another place; keys remain relative to the audited folder."""
    outer = os.path.relpath(prefix or ".", folder.prefix or ".").replace(os.sep, "/")
    key = os.path.normpath(f"{folder.location.prefix or '.'}/{outer}").replace(os.sep, "/")
    return replace(folder.location, prefix="" if key == "." else f"{key}/")
