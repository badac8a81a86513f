"""`manage.py golive history --export`: the whole event log as JSON lines, for verification on another machine."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from golive.state import history


def write_events(write: Callable[[str], object]) -> tuple[int, str | None]:
    """Write every event, oldest first, from one consistent read; returns their number and the newest event's hash."""
    count, head = 0, None
    with closing(history.read_all()) as events:
        for event in events:
            # ASCII only: identical on every machine, and without bidirectional controls.
            write(json.dumps(event, separators=(",", ":")) + "\n")
            count, head = count + 1, event["hash"]
    return count, head


def export_events(path: Path) -> tuple[int, str | None]:
    """As `write_events`, into a file that is replaced atomically; only its owner may read it (names and reasons).

    Raises OSError, and database errors unchanged.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            count_and_head = write_events(file.write)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    return count_and_head
