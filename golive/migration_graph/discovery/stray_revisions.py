"""Look for revisions beside the folders that are configured: a missing parent often stands in one that is not."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from golive.migration_graph.discovery.sources import Layout, is_revision_file, make_prefix, read_content
from golive.migration_graph.model import Finding
from golive.migration_graph.readers.alembic import find_ids

# Only a hint comes of it, so it may not take long.
MAX_FILES = 2_000


def find_stray_revisions(layout: Layout, names: Iterable[str]) -> dict[str, str]:
    """Of these ids those that files out of the configured locations hold, with the file."""
    wanted = set(names)
    found: dict[str, str] = {}
    for path in islice(_walk_beside(layout), MAX_FILES):
        key = make_prefix(layout.root, path.parent) + path.name
        if layout.find_location(key) is not None:
            continue
        content = read_content(key, str(path))
        if not isinstance(content, Finding):
            for name in find_ids(content) & wanted:
                found.setdefault(name, key)
    return found


def _walk_beside(layout: Layout) -> Iterator[Path]:
    """The Python files below the configured folders, and below the folders around them."""
    for folder in sorted({location.folder.parent for location in layout.locations}):
        for path, folders, files in os.walk(folder):
            folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__pycache__")
            yield from (Path(path) / name for name in sorted(files) if is_revision_file(name))
