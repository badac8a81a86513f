"""Makes changes: the row and its event in one transaction, acknowledged only after the commit."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from django.db import DEFAULT_DB_ALIAS

from golive.controls.event_writer import EventWriter
from golive.controls.transactions import check_no_transaction, commit, commit_stop, rehearse
from golive.domain.changes import (
    ENGAGE,
    UNKNOWN_ORIGIN,
    Acknowledgement,
    Actor,
    Change,
    Channel,
    Direction,
    Origin,
    check_can_apply,
)
from golive.domain.checklist import CheckResult
from golive.domain.effects import check_revision, judge_backend, plan_steps
from golive.domain.errors import (
    ChecklistFailedError,
)
from golive.domain.requests import ChangeRequest, read_request
from golive.domain.rows import (
    SYSTEM_METADATA,
    Rows,
)
from golive.readiness import registry, runner
from golive.state import failover, history, singletons

logger = logging.getLogger(__name__)

T = TypeVar("T")


def apply_change(
    change: Change,
    *,
    actor: Actor,
    reason: object,
    channel: Channel,
    fields: Mapping[str, object] | None = None,
    origin: Origin = UNKNOWN_ORIGIN,
    using: str = DEFAULT_DB_ALIAS,
    is_rehearsal: bool = False,
) -> Acknowledgement:
    """Make one change of the table in `golive.domain.changes`; `fields` are the request's other fields, unparsed.

    With `is_rehearsal` everything is done and rolled back, with short timeouts.
    Raises a RefusedError if a rule refuses it (permission, content, checklist, revision); StateUnknownError if the row
    is missing; NotAppliedError if it was certainly not made; OutcomeUnknownError if the connection was lost at COMMIT.
    Must not be called inside a transaction, where it could not be acknowledged after the commit (RuntimeError).
    """
    check_no_transaction(using)
    check_can_apply(change, actor.permissions)
    request = read_request(change, {**(fields or {}), "reason": reason}, checks=registry.checklist_ids())
    check_can_apply(change, actor.permissions, override=bool(request.override))
    failed = _check_checklist(request, using) if change.is_guarded else ()

    def write() -> tuple[Acknowledgement, int]:
        with_system = change.subject == SYSTEM_METADATA or change.is_guarded
        writer = EventWriter(
            actor,
            channel,
            origin,
            request,
            rows=singletons.lock_rows(with_system=with_system, using=using),
            using=using,
        )
        check_revision(change, writer.rows, request, find_change=lambda row: history.find_change(row, using=using))
        still_failed = _check_backend_again(writer.rows, request, failed) if change.is_guarded else failed
        steps = plan_steps(change, writer.rows, request, actor=actor.name, now=writer.now)
        writer.record_drift()
        for step in steps:
            writer.record(step, failed=still_failed, override=bool(still_failed))
        writer.close()
        if change.direction is Direction.SAFE:
            writer.note_timeline()
        elif change.is_guarded:
            failover.check(using)
        acknowledgement = Acknowledgement(
            change,
            any(step.changed for step in steps),
            writer.rows.go_live,
            writer.rows.system,
            writer.sequence,
            request.notes_on_request,
        )
        return acknowledgement, writer.find_longest_lease()

    if is_rehearsal:
        return rehearse(write, using)
    if change.direction is not Direction.SAFE:
        return commit(write, using)
    acknowledgement, outstanding = commit_stop(write, using)
    return replace(acknowledgement, permits_outstanding=outstanding)


def rehearse_stop(*, using: str = DEFAULT_DB_ALIAS) -> None:
    """Do everything that a stop does in the database, and roll it back. Raises as `apply_change` if that fails."""
    actor = Actor(name="rehearsal", permissions=frozenset({ENGAGE.permission}))
    reason = "A rehearsal, which is rolled back."
    apply_change(ENGAGE, actor=actor, reason=reason, channel=Channel.CLI, using=using, is_rehearsal=True)


def _check_checklist(request: ChangeRequest, using: str) -> tuple[CheckResult, ...]:
    """Run the checklist, before any lock is taken. Returns the failing checks that are overridden.

    Reads the rows first: an unknown state raises StateUnknownError, not a refusal by the checklist.
    """
    singletons.read_both(using=using)
    checklist = runner.run_checklist()
    blocking = checklist.find_blocking(request.override)
    if blocking or not checklist.required:
        raise ChecklistFailedError(blocking)
    return checklist.failed


def _check_backend_again(
    rows: Rows, request: ChangeRequest, failed: tuple[CheckResult, ...]
) -> tuple[CheckResult, ...]:
    """Recheck the backend under the locks: it may have been reopened since the checklist ran."""
    backend = judge_backend(rows.system)
    others = tuple(result for result in failed if result.id != backend.id)
    if backend.ok:
        return others
    if backend.id not in request.override:
        raise ChecklistFailedError([backend])
    return (backend, *others)
