"""Read all files of a layout."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import replace
from typing import Final

from golive.migration_graph.discovery.sources import Layout, list_files, read_content, read_source
from golive.migration_graph.model import Finding, ParsedFile
from golive.migration_graph.readers.bodies import EMPTY, hash_body, is_unrepeatable
from golive.migration_graph.readers.fast_path import FastPath
from golive.migration_graph.readers.files import keep_unreadable, read_file
from golive.migration_graph.readers.syntax import report_unreadable

# Ten times as much as the largest trees hold. Python could need ten minutes for it.
MAX_TOTAL_BYTES: Final = 50_000_000

_CREATED_TABLE: Final = re.compile(rb"""\bop\.create_table\(\s*["']([^"'\\\n]+)["']""")


def read_layout(layout: Layout) -> tuple[list[ParsedFile], list[Finding]]:
    """Every file of a layout, and findings for folders that cannot be read."""
    files: list[ParsedFile] = []
    findings: list[Finding] = list(layout.notes)
    fast_path = FastPath()
    total = 0
    for location in layout.locations:
        listed, problems = list_files(layout.root, location)
        findings += problems
        for key, path in listed:
            content: bytes | Finding = read_content(key, path)
            total += len(content) if isinstance(content, bytes) else 0
            if total > MAX_TOTAL_BYTES:
                content = report_unreadable(key, OSError(0, f"all files may hold {MAX_TOTAL_BYTES:,} bytes together"))
            if isinstance(content, Finding):
                files.append(keep_unreadable(layout.kind, key, content, location.app))
                continue
            file = read_file(layout.kind, key, content, app=location.app, fast_path=fast_path)
            tables = _find_tables(content)
            files.append(replace(file, tables=tables) if tables else file)
    return files, findings


def _find_tables(content: bytes) -> tuple[str, ...]:
    """The tables that a file of Alembic seems to create; a look at its text, so that it costs next to nothing."""
    if b"create_table" not in content:
        return ()
    return tuple({name.decode("utf-8", "replace"): None for name in _CREATED_TABLE.findall(content)})


def read_key(layout: Layout, key: str) -> bytes | None:
    """The content of one file; None if it cannot be read."""
    location = layout.find_location(key)
    return read_source(layout.root, location.folder / key.removeprefix(location.prefix)) if location else None


def find_unrepeatable(layout: Layout) -> frozenset[str]:
    """The keys of the files that cannot run twice (see `readers.bodies`)."""
    listed = [key for location in layout.locations for key, _ in list_files(layout.root, location)[0]]
    return frozenset(key for key in listed if is_unrepeatable(read_key(layout, key) or b"", layout.kind))


def read_bodies(layout: Layout, keys: Container[str] | None = None) -> dict[str, str]:
    """The body of every file of a layout by key (see `readers.bodies`); `keys`: of these alone."""
    bodies = {}
    for location in layout.locations:
        for key, path in list_files(layout.root, location)[0]:
            if keys is None or key in keys:
                content = read_content(key, path)
                bodies[key] = EMPTY if isinstance(content, Finding) else hash_body(key, content, layout.kind)
    return bodies
