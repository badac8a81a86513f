"""Look for revisions near the configured folders: a missing parent is often in one that is not configured."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from golive.migration_graph.discovery.sources import Layout, is_revision_file, make_prefix, read_content
from golive.migration_graph.model import Finding
from golive.migration_graph.readers.alembic import find_ids

# The result is only a hint, so the search must be short.
MAX_FILES = 2_000


def find_stray_revisions(layout: Layout, names: Iterable[str]) -> dict[str, str]:
    """Which of these ids are defined by files outside the configured locations: id -> key of the file."""
    wanted = set(names)
    stray: dict[str, str] = {}
    for path in islice(_walk_beside(layout), MAX_FILES):
        key = make_prefix(layout.root, path.parent) + path.name
        if layout.find_location(key) is not None:
            continue
        content = read_content(key, str(path))
        if not isinstance(content, Finding):
            for name in find_ids(content) & wanted:
                stray.setdefault(name, key)
    return stray


def _walk_beside(layout: Layout) -> Iterator[Path]:
    """The Python files below the parents of the configured folders."""
    for folder in sorted({location.folder.parent for location in layout.locations}):
        for path, folders, files in os.walk(folder):
            folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__pycache__")
            yield from (Path(path) / name for name in sorted(files) if is_revision_file(name))
