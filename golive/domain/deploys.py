"""What a deploy did to the database, as recorded in its event."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """Migrations, as `app.name`, that were applied or unapplied since the newest deploy event."""

    applied: tuple[str, ...]
    unapplied: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.applied or self.unapplied)
