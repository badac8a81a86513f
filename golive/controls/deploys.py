"""Records what a deploy has applied and unapplied."""

from __future__ import annotations

from django.db import DEFAULT_DB_ALIAS

from golive.controls.event_writer import EventWriter
from golive.controls.transactions import commit
from golive.domain.changes import UNKNOWN_ORIGIN, Actor, Channel
from golive.domain.deploys import Difference
from golive.domain.requests import ChangeRequest
from golive.state import singletons


def record_deploy(difference: Difference, *, release: str | None, using: str = DEFAULT_DB_ALIAS) -> None:
    """Record what a deploy has applied and unapplied; writes nothing if nothing changed. Raises as `apply_change`."""
    if not difference:
        return
    after = {"applied": list(difference.applied), "unapplied": list(difference.unapplied), "release": release}
    actor, request = Actor(name="migrate", permissions=frozenset()), ChangeRequest(reason="")

    def write() -> tuple[None, int]:
        rows = singletons.lock_rows(with_system=True, using=using)
        writer = EventWriter(actor, Channel.MIGRATION, UNKNOWN_ORIGIN, request, rows=rows, using=using)
        writer.record_drift()
        writer.record_deploy(after)
        writer.close()
        return None, writer.find_longest_lease()

    commit(write, using)
