"""Read all files of a layout."""

from __future__ import annotations

from golive.migration_graph.discovery.sources import Layout, list_files, read_content
from golive.migration_graph.model import Finding, ParsedFile
from golive.migration_graph.readers.fast_path import FastPath
from golive.migration_graph.readers.files import keep_unreadable, read_file


def read_layout(layout: Layout) -> tuple[list[ParsedFile], list[Finding]]:
    """Every file of a layout, and findings for folders that cannot be read."""
    files: list[ParsedFile] = []
    findings: list[Finding] = list(layout.notes)
    fast_path = FastPath()
    for location in layout.locations:
        listed, problems = list_files(layout.root, location)
        findings += problems
        for key, path in listed:
            content = read_content(key, path)
            if isinstance(content, Finding):
                files.append(keep_unreadable(layout.kind, key, content, location.app))
            else:
                files.append(read_file(layout.kind, key, content, app=location.app, fast_path=fast_path))
    return files, findings
