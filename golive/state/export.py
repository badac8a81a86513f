"""`manage.py golive history --export`: the whole record as JSON lines, for whoever verifies it far from here."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from golive.state import history


def write_events(write: Callable[[str], object]) -> tuple[int, str | None]:
    """Write every event, oldest first, as one moment showed them; how many, and the hash of the newest."""
    count, head = 0, None
    with closing(history.read_all()) as events:
        for event in events:
            # In ASCII: the same on every machine, and nothing in it turns text round on a screen.
            write(json.dumps(event, separators=(",", ":")) + "\n")
            count, head = count + 1, event["hash"]
    return count, head


def export_events(path: Path) -> tuple[int, str | None]:
    """As `write_events`, into a file that is there whole or not at all; only its owner may read the names and reasons.

    A file of that name is replaced. Raises OSError, and database errors as they are.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            found = write_events(file.write)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    return found
