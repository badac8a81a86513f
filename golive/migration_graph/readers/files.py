"""Read one migration file with the reader for its kind."""

from __future__ import annotations

from golive.migration_graph.model import Finding, Kind, ParsedFile
from golive.migration_graph.readers.alembic import read_fully
from golive.migration_graph.readers.fast_path import FastPath
from golive.migration_graph.readers.syntax import report_unreadable


def read_file(kind: Kind, key: str, content: bytes, *, app: str = "", fast_path: FastPath | None = None) -> ParsedFile:
    """Parse one file. `app`: for Django, the app label; "" means the name of the folder above `migrations`.

    `fast_path`: share one instance between files so that common code is parsed only once; it never changes the result.

    Never raises because of a file's content: an unreadable file yields a finding.
    """
    try:
        if kind is Kind.ALEMBIC:
            return (fast_path.read(key, content) if fast_path else None) or read_fully(key, content)
        from golive.migration_graph.readers.django import read_migration

        return read_migration(key, content, app or _guess_app(key))
    except (RecursionError, MemoryError):
        return keep_unreadable(
            kind, key, report_unreadable(key, OSError(0, "it is nested too deeply, or too large")), app
        )


def _guess_app(key: str) -> str:
    folders = key.split("/")[:-1]
    return folders[-2] if len(folders) > 1 else "app"


def keep_unreadable(kind: Kind, key: str, finding: Finding, app: str) -> ParsedFile:
    """What is known of an unreadable file: its name for Django, the ids it may define for Alembic."""
    if kind is Kind.ALEMBIC:
        from golive.migration_graph.readers.alembic import guess_names

        return ParsedFile(key, None, (finding,), guesses=guess_names(key))
    from golive.migration_graph.model import Node
    from golive.migration_graph.readers.django import name_migration

    name = name_migration(key, app or _guess_app(key))
    return ParsedFile(key, Node(key, name, 1, unread=("dependencies",)), (finding,))
