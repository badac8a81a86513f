"""Records what was changed behind the controls."""

from __future__ import annotations

from django.db import DEFAULT_DB_ALIAS, Error

from golive.controls.event_writer import EventWriter
from golive.controls.transactions import commit
from golive.domain import chain
from golive.domain.changes import UNKNOWN_ORIGIN, Actor, Channel, Origin
from golive.domain.effects import row_of
from golive.domain.errors import (
    FieldError,
    InvalidRequestError,
    NotAppliedError,
)
from golive.domain.reasons import MAX_REASON_LENGTH, find_fault
from golive.domain.requests import ChangeRequest
from golive.domain.rows import (
    SYSTEM_METADATA,
)
from golive.state import failover, history, singletons


def reconcile(
    *, actor: Actor, reason: str, channel: Channel, origin: Origin = UNKNOWN_ORIGIN, using: str = DEFAULT_DB_ALIAS
) -> tuple[str, ...]:
    """Record what was changed behind the controls, so that chain, `event_head` and rows agree again.

    Returns the recorded problems as sentences; writes nothing if there are none. An altered row gets a new revision, so
    that the old one is no longer valid. A break in the chain stays visible; the event acknowledges it. Raises as
    `apply_change`, and InvalidRequestError for a bad reason.
    """
    fault = find_fault(reason, limit=MAX_REASON_LENGTH, required=True)
    if fault:
        raise InvalidRequestError([FieldError("reason", fault)])
    request = ChangeRequest(reason=reason.strip())
    try:
        # The chain is verified before locking, since it may be long; rows and head are compared again under the locks.
        problems = [problem for problem in history.verify(using=using).problems if problem.code in chain.CHAIN_PROBLEMS]
    except Error as error:
        raise NotAppliedError("The event log cannot be read, so nothing was reconciled.") from error

    def write() -> tuple[tuple[str, ...], int]:
        writer = EventWriter(
            actor, channel, origin, request, rows=singletons.lock_rows(with_system=True, using=using), using=using
        )
        row_of(writer.rows, SYSTEM_METADATA)  # raises if it is missing: then it cannot be recorded
        current = (p for p in history.verify(newest=1, using=using).problems if p.code in ("row", "head"))
        to_record = [*problems, *current]
        failed_over = failover.find_problem(using)
        if failed_over is not None:
            to_record.append(failed_over)
        writer.reconcile(to_record)
        writer.note_timeline()
        return tuple(problem.detail for problem in to_record), writer.find_longest_lease()

    return commit(write, using)
