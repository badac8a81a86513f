"""Leased reads: one snapshot of the rows for each process, that may answer for as long as its lease lasts."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import DEFAULT_DB_ALIAS

from golive import state
from golive.domain.decision import Decision, decide
from golive.domain.errors import StateUnknownError
from golive.domain.rows import GoLiveRow, SystemRow


@dataclass(frozen=True)
class Snapshot:
    """The rows as one SELECT saw them, or why they are not known.

    `expires_at` is in seconds of CLOCK_BOOTTIME; at that moment it may no longer answer. A row is None where it is
    missing or cannot be read; `problem` then says so.
    """

    go_live: GoLiveRow | None
    system: SystemRow | None
    expires_at: float
    problem: str | None = None

    @property
    def decision(self) -> Decision:
        return decide(self.go_live)


def read_snapshot(*, using: str = DEFAULT_DB_ALIAS) -> Snapshot:
    """What may be answered now. Never raises for the database: a state that is not known is a snapshot too."""
    # Not leased yet: lease 0.
    try:
        go_live, system = state.read_both(using=using)
    except StateUnknownError as error:
        return Snapshot(None, None, 0.0, error.detail)
    return Snapshot(go_live, system, 0.0)
