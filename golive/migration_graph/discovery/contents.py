"""Read all files of a layout."""

from __future__ import annotations

from typing import Final

from golive.migration_graph.discovery.sources import Layout, list_files, read_content
from golive.migration_graph.model import Finding, ParsedFile
from golive.migration_graph.readers.fast_path import FastPath
from golive.migration_graph.readers.files import keep_unreadable, read_file
from golive.migration_graph.readers.syntax import report_unreadable

# Ten times as much as the largest trees hold. Python could need ten minutes for it.
MAX_TOTAL_BYTES: Final = 50_000_000


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
            else:
                files.append(read_file(layout.kind, key, content, app=location.app, fast_path=fast_path))
    return files, findings
