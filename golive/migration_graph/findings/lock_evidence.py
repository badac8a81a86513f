"""What ran in a database, as far as the lock file tells: what was released, below the rows that the database has."""

from __future__ import annotations

from golive.migration_graph.findings.lock_file import Lock, LockedRevision
from golive.migration_graph.graph.positions import Position, Possibility, Upgrades
from golive.migration_graph.model import Kind


def explain_by_lock(lock: Lock, rows: frozenset[str], current: Upgrades) -> tuple[str, list[Possibility]]:
    """A source for `findings.applied.Knowledge`: one possibility, or none if the lock file does not hold all that must
    have run, and what it did."""
    wanted = rows if current.kind is Kind.ALEMBIC else frozenset(name for name in rows if current.knows([name]))
    # A file of Django that is gone has a row still.
    released = wanted | (rows & lock.keys())
    ran: dict[str, str] = {}
    todo = sorted(released)
    while todo:
        name = todo.pop()
        if name in ran:
            continue
        locked = lock.get(name)
        if locked is None or locked.body is None or locked.placement is None or locked.is_opaque:
            return "lock file", []
        ran[name] = locked.body
        if current.kind is Kind.ALEMBIC:
            todo += _list_before(locked)
    position = Position(rows, frozenset(ran.items()))
    return "lock file", [Possibility(position, "the release in the lock file")] if ran else []


def _list_before(locked: LockedRevision) -> tuple[str, ...]:
    placement = locked.placement
    return () if placement is None else (*placement.parents, *placement.dependencies)
