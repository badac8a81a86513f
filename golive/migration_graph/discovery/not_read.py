"""What the audit passed over although it belongs to the graph, or may: "Sound" has to mean that nothing was."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from golive.migration_graph.catalogue import make_finding
from golive.migration_graph.discovery.sources import (
    Layout,
    Location,
    is_revision_file,
    list_names,
    make_prefix,
    name_folder,
    read_content,
    read_source,
    walk_folders,
)
from golive.migration_graph.model import Finding, Kind, NotRead, ParsedFile, Severity
from golive.migration_graph.readers.alembic import find_ids
from golive.migration_graph.readers.files import read_file

_LOOKS_LIKE = {
    Kind.ALEMBIC: re.compile(rb"^down_revision\b", re.MULTILINE),
    Kind.DJANGO: re.compile(rb"^class Migration\b", re.MULTILINE),
}
# The search beside the graph must be short: it is done with every audit.
MAX_FILES = 2_000
MAX_STRAY_BYTES = 100_000


@dataclass(frozen=True)
class StrayRevision:
    """A revision file in no location of the layout; `names` are those that it defines and refers to."""

    key: str
    ids: frozenset[str]
    names: frozenset[str]

    @property
    def folder(self) -> str:
        return self.key.rpartition("/")[0] or "."


def find_stray_revisions(layout: Layout, *, is_missing: bool) -> list[StrayRevision]:
    """The revision files of Alembic in the script folders, and in folders called `versions` below the root.

    `is_missing`: a parent is missing, so that everything beside the locations is worth a look.
    """
    stray: list[StrayRevision] = []
    for path in islice(_walk_candidates(layout, is_missing=is_missing), MAX_FILES):
        key = make_prefix(layout.root, path.parent) + path.name
        content = (read_source(layout.root, path) or b"") if layout.find_location(key) is None else b""
        if b"down_revision" in content and (ids := find_ids(content)):
            # These are for hints: no large one is worth the time.
            node = read_file(Kind.ALEMBIC, key, content).node if len(content) <= MAX_STRAY_BYTES else None
            names = {reference.name for reference in node.references} if node else set()
            stray.append(StrayRevision(key, frozenset(ids), frozenset(ids | names)))
    return stray


def _walk_candidates(layout: Layout, *, is_missing: bool) -> Iterator[Path]:
    beside = sorted({location.folder.parent for location in layout.locations})
    # Otherwise it may be the root of a large application, of which every file would be read.
    near = [folder for folder in beside if is_missing or (folder / "env.py").is_file()]
    # Read already, and perhaps very many.
    seen = {location.folder for location in layout.locations if not location.is_recursive}
    for start in [*near, layout.root]:
        for folder, _, files in walk_folders(start):
            if folder not in seen and (start in near or "versions" in folder.relative_to(start).parts):
                seen.add(folder)
                yield from (folder / name for name in files if is_revision_file(name))


def list_not_read(layout: Layout, files: Collection[ParsedFile], stray: Collection[StrayRevision]) -> list[NotRead]:
    """All that was passed over, with what the discovery has noted; sorted by path."""
    # What lies beside the audited folder serves as a hint only: nobody has asked for it.
    inside = [each for each in stray if not each.key.startswith("../")]
    found = [*layout.not_read, *_group(layout, files, inside), *_list_passed_over(layout)]
    if layout.is_sourceless:
        found += filter(None, map(_count_compiled, layout.locations))
    if not files:
        found += [
            NotRead(
                location.name,
                0,
                "it holds no migration",
                "Pass the folder whose migrations are meant.",
            )
            for location in layout.locations
        ]
        # Nothing read is never sound.
        found = [replace(each, severity=Severity.ERROR) for each in found]
    return sorted(found, key=lambda each: (each.path, each.why))


def _group(layout: Layout, files: Collection[ParsedFile], stray: Collection[StrayRevision]) -> Iterator[NotRead]:
    """One entry for each folder: an error if a file in it is connected with the graph."""
    known = {name for file in files if file.node for name in (file.node.name, *file.node.parents)}
    by_folder: dict[str, list[StrayRevision]] = defaultdict(list)
    for each in stray:
        by_folder[each.folder].append(each)
    connected = _find_connected(by_folder, known)
    for folder, inside in by_folder.items():
        is_below = any((folder + "/").startswith(location.prefix) for location in layout.locations)
        yield NotRead(
            folder,
            len(inside),
            "Alembic reads subfolders only with recursive_version_locations"
            if is_below
            else "no version location of the configuration names it",
            "Set recursive_version_locations = true, or name the folder in version_locations, if these belong to it."
            if is_below
            else "Name the folder in version_locations, or move the files, if these belong to it.",
            Severity.ERROR if folder in connected else Severity.WARNING,
        )


def _list_passed_over(layout: Layout) -> Iterator[NotRead]:
    """Files beside those that are read which look like migrations, but have names that the tool does not load."""
    tool = "Alembic" if layout.kind is Kind.ALEMBIC else "Django"
    for location in layout.locations:
        for name in list_names(location.folder):
            key = f"{location.prefix}{name}"
            path = location.folder / name
            if not name.endswith(".py") or name == "__init__.py" or location.owns(key) or path.is_symlink():
                continue
            content = read_content(key, str(path))
            if isinstance(content, bytes) and _LOOKS_LIKE[layout.kind].search(content):
                yield NotRead(key, 1, f"{tool} loads no file of this name", "Rename it, if it is meant to be loaded.")


def _find_connected(by_folder: dict[str, list[StrayRevision]], known: set[str]) -> set[str]:
    """The folders whose revisions lead, over others of them or directly, to known names."""
    known, connected = set(known), set()
    is_growing = True
    while is_growing:
        is_growing = False
        for folder, inside in by_folder.items():
            if folder not in connected and any(each.names & known for each in inside):
                connected.add(folder)
                known.update(*(each.names for each in inside))
                is_growing = True
    return connected


def _count_compiled(location: Location) -> NotRead | None:
    folders = [location.folder, location.folder / "__pycache__"]
    names = [name for folder in folders for name in list_names(folder)]
    sources = {name.partition(".")[0] for name in names if name.endswith(".py")}
    compiled = [name for name in names if name.endswith((".pyc", ".pyo")) and name.partition(".")[0] not in sources]
    if not compiled:
        return None
    return NotRead(
        location.name,
        len(compiled),
        "Alembic loads compiled files (sourceless = true), and only source can be audited",
        "Audit the source that they were compiled from.",
        Severity.ERROR,
    )


def count_revisions(folder: Path, *, is_recursive: bool = False) -> int:
    """How many files of a folder Alembic would load."""
    walk = os.walk(folder) if is_recursive else islice(os.walk(folder), 1)
    return sum(is_revision_file(name) for _, _, files in walk for name in files)


def report_absent(root: Path, folder: Path) -> NotRead:
    """A location that the configuration names and that is not there."""
    return NotRead(
        name_folder(root, folder),
        0,
        "the configuration of Alembic names it, and there is no such folder",
        "Correct the path, or take it out of version_locations.",
        Severity.ERROR,
    )


def make_findings(not_read: Collection[NotRead]) -> list[Finding]:
    """MG108 for each entry."""
    return [
        make_finding(
            "MG108",
            f"{each.path} was not read ({_count(each.files)}): {each.why}.",
            each.hint,
            file=each.path,
            severity=each.severity,
        )
        for each in not_read
    ]


def _count(files: int) -> str:
    return "1 file" if files == 1 else f"{files} files"
