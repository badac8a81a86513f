"""Every write of the singletons: the row and its event in one transaction, acknowledged only after the commit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, Error, transaction
from django.db.models.expressions import RawSQL

from golive.commits import check_no_transaction, commit, commit_stop, rehearse
from golive.domain import chain
from golive.domain.changes import ENGAGE, UNKNOWN_ORIGIN, Actor, Change, Channel, Direction, Origin, check_can_apply
from golive.domain.checklist import CheckResult
from golive.domain.effects import check_revision, judge_backend, plan_steps, row_of
from golive.domain.errors import (
    ChecklistFailedError,
    FieldError,
    InvalidRequestError,
    NotAppliedError,
)
from golive.domain.reasons import REASON_LIMIT, find_fault
from golive.domain.requests import ChangeRequest, read_request
from golive.domain.rows import (
    SYSTEM_METADATA,
    GoLiveRow,
    Rows,
    SystemRow,
)
from golive.event_writer import EventWriter
from golive.models import SINGLETON_ID, GoLiveState
from golive.readiness import registry, runner
from golive.state import failover, history, singletons

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Difference:
    """Migrations, as `app.name`, that were applied or unapplied since the newest deploy event."""

    applied: tuple[str, ...]
    unapplied: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.applied or self.unapplied)


@dataclass(frozen=True)
class Acknowledgement:
    """A change that is committed. `changed` False: it was so already, and the request is recorded all the same.

    The rows are as the change left them; `system` is None where the change does not concern it. `permits_outstanding`,
    of a change toward safe: how many permits are still held that were given before it; None if that is not known.
    """

    change: Change
    changed: bool
    go_live: GoLiveRow | None
    system: SystemRow | None
    sequence: int
    notes_on_request: tuple[str, ...] = ()
    permits_outstanding: int | None = None


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
    """Make one change of the table in `golive.domain.changes`; `fields` are the request's other fields, as they came.

    With `is_rehearsal` all of it is done and rolled back, and nobody has to wait for it.
    Raises a RefusedError if a rule says no (permission, content, checklist, revision); StateUnknownError if the row is
    missing; NotAppliedError if it was certainly not made; OutcomeUnknownError if the connection was lost at COMMIT.
    Must not be called inside a transaction: an acknowledgement before the commit would be a lie (RuntimeError).
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
            _note_timeline(using)
        elif change.is_guarded:
            failover.check(using)
        done = Acknowledgement(
            change,
            any(step.changed for step in steps),
            writer.rows.go_live,
            writer.rows.system,
            writer.sequence,
            request.notes_on_request,
        )
        return done, writer.find_longest_lease()

    if is_rehearsal:
        return rehearse(write, using)
    if change.direction is not Direction.SAFE:
        return commit(write, using)
    done, outstanding = commit_stop(write, using)
    return replace(done, permits_outstanding=outstanding)


def rehearse_stop(*, using: str = DEFAULT_DB_ALIAS) -> None:
    """Do all that a stop does in the database, and roll it back. Raises as `apply_change` if it could not be made."""
    actor = Actor(name="rehearsal", permissions=frozenset({ENGAGE.permission}))
    reason = "A rehearsal, which is rolled back."
    apply_change(ENGAGE, actor=actor, reason=reason, channel=Channel.CLI, using=using, is_rehearsal=True)


def reconcile(
    *, actor: Actor, reason: str, channel: Channel, origin: Origin = UNKNOWN_ORIGIN, using: str = DEFAULT_DB_ALIAS
) -> tuple[str, ...]:
    """Record what was changed behind the controls, so that chain, `event_head` and rows agree again.

    Returns what was recorded, in words; nothing is written where all agree. A row that was altered gets a new revision,
    for those who hold the old one. A break in the chain stays visible; the event names it as seen. Raises as
    `apply_change`, InvalidRequestError for a bad reason.
    """
    fault = find_fault(reason, limit=REASON_LIMIT, required=True)
    if fault:
        raise InvalidRequestError([FieldError("reason", fault)])
    request = ChangeRequest(reason=reason.strip())
    try:
        # The chain before the locks, since it may be long; the rows and the head again under them.
        problems = [problem for problem in history.verify(using=using).problems if problem.code in chain.CHAIN_PROBLEMS]
    except Error as error:
        raise NotAppliedError("The record cannot be read, so nothing was reconciled.") from error

    def write() -> tuple[tuple[str, ...], int]:
        writer = EventWriter(
            actor, channel, origin, request, rows=singletons.lock_rows(with_system=True, using=using), using=using
        )
        row_of(writer.rows, SYSTEM_METADATA)  # missing, it cannot be recorded
        found = [*problems, *(p for p in history.verify(newest=1, using=using).problems if p.code in ("row", "head"))]
        failed_over = failover.find_problem(using)
        if failed_over is not None:
            found.append(failed_over)
        writer.reconcile(found)
        _note_timeline(using)
        return tuple(problem.detail for problem in found), writer.find_longest_lease()

    return commit(write, using)


def record_deploy(difference: Difference, *, release: str | None, using: str = DEFAULT_DB_ALIAS) -> None:
    """Record what a deploy has applied and unapplied; writes nothing if that is nothing. Raises as `apply_change`."""
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


def record_token(
    action: str,
    write: Callable[[], tuple[T, dict[str, Any] | None, dict[str, Any] | None]],
    *,
    actor: Actor,
    channel: Channel,
    origin: Origin = UNKNOWN_ORIGIN,
    using: str = DEFAULT_DB_ALIAS,
) -> T:
    """Run a write of a token's row and record it, in one transaction and in turn with all other changes.

    `write` returns its result and what the event says of the token before and after; both None: nothing was done, and
    nothing is recorded. Raises as `apply_change`, and what `write` raises.
    """

    def work() -> tuple[T, int]:
        rows = singletons.lock_rows(with_system=False, using=using)
        writer = EventWriter(actor, channel, origin, ChangeRequest(reason=""), rows=rows, using=using)
        result, before, after = write()
        if before is not None or after is not None:
            writer.record_drift()
            writer.record_token(action, before=before, after=after)
            writer.close()
        return result, writer.find_longest_lease()

    return commit(work, using)


def _check_checklist(request: ChangeRequest, using: str) -> tuple[CheckResult, ...]:
    """Run the checklist, before any lock is taken. Returns what fails and is named in the override.

    A state that is not known is no rule that refuses: StateUnknownError comes first.
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
    """Under the locks, ask what the rows alone can tell: the backend may have been reopened since the checklist ran."""
    now = judge_backend(rows.system)
    others = tuple(result for result in failed if result.id != now.id)
    if now.ok:
        return others
    if now.id not in request.override:
        raise ChecklistFailedError([now])
    return (now, *others)


def _note_timeline(using: str) -> None:
    """Where the setting asks for it, note the database's timeline of now: somebody answers for the state on it."""
    if not failover.is_watched(using):
        return
    rows = GoLiveState._default_manager.using(using).filter(pk=SINGLETON_ID)
    try:
        with transaction.atomic(using=using):
            rows.update(timeline=RawSQL(failover.TIMELINE, []))  # noqa: S611 - a constant
    except Error:
        # A change toward safe is made all the same; the state stays unknown.
        logger.exception("the timeline of the database could not be noted")
