"""Read one migration file, by the reader for its tool."""

from __future__ import annotations

from golive.migration_graph.model import Finding, Kind, ParsedFile
from golive.migration_graph.readers.alembic import read_fully
from golive.migration_graph.readers.fast_path import FastPath
from golive.migration_graph.readers.syntax import report_unreadable


def read_file(kind: Kind, key: str, content: bytes, *, app: str = "", fast_path: FastPath | None = None) -> ParsedFile:
    """What one file says. `app`: for Django, the label of its app; "": the folder above `migrations`.

    `fast_path`: give the same one for many files, and what they have in common is parsed once; the answer is the same.

    Never raises for what a file holds: that it cannot be read is a finding in the answer.
    """
    try:
        if kind is Kind.ALEMBIC:
            return (fast_path.read(key, content) if fast_path else None) or read_fully(key, content)
        from golive.migration_graph.readers.django import read_migration

        return read_migration(key, content, app or _guess_app(key))
    except RecursionError:
        return keep_unreadable(kind, key, report_unreadable(key, OSError(0, "it is nested too deeply")), app)


def _guess_app(key: str) -> str:
    folders = key.split("/")[:-1]
    return folders[-2] if len(folders) > 1 else "app"


def keep_unreadable(kind: Kind, key: str, finding: Finding, app: str) -> ParsedFile:
    """What is known of a file that was not read: for Django its name, for Alembic names that it may hold."""
    if kind is Kind.ALEMBIC:
        from golive.migration_graph.readers.alembic import guess_names

        return ParsedFile(key, None, (finding,), guesses=guess_names(key))
    from golive.migration_graph.model import Node
    from golive.migration_graph.readers.django import name_migration

    name = name_migration(key, app or _guess_app(key))
    return ParsedFile(key, Node(key, name, 1, unread=("dependencies",)), (finding,))
