"""Every write of the singletons: the row and its event in one transaction, acknowledged only after the commit."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, Error, transaction
from django.db.models.expressions import RawSQL

from golive import failover, history, readiness, state
from golive.commits import check_no_transaction, commit, commit_stop, rehearse
from golive.domain import chain
from golive.domain.changes import ENGAGE, Actor, Change, Channel, Direction, check_can_apply
from golive.domain.checklist import CheckResult
from golive.domain.effects import Step, check_revision, judge_backend, plan_steps, row_of
from golive.domain.errors import (
    ChecklistFailedError,
    FieldError,
    InvalidRequestError,
    NotAppliedError,
)
from golive.domain.reasons import REASON_LIMIT, find_fault
from golive.domain.requests import ChangeRequest, read_request
from golive.domain.rows import (
    API_TOKEN,
    DEPLOY,
    GO_LIVE_STATE,
    SYSTEM_METADATA,
    GoLiveRow,
    Rows,
    SystemRow,
    record_of,
)
from golive.models import SINGLETON_ID, Event, GoLiveState, SystemMetadata
from golive.text import make_visible

logger = logging.getLogger(__name__)

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Difference:
    """Migrations, as `app.name`, that were applied or unapplied since the newest deploy event."""

    applied: tuple[str, ...]
    unapplied: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.applied or self.unapplied)


@dataclass(frozen=True)
class Origin:
    """Where a request came from, as far as it is known."""

    request_id: str | None = None
    remote_addr: str | None = None


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
    origin: Origin = Origin(),
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
    request = read_request(change, {**(fields or {}), "reason": reason}, checks=readiness.checklist_ids())
    check_can_apply(change, actor.permissions, override=bool(request.override))
    failed = _check_checklist(request, using) if change.is_guarded else ()

    def write() -> tuple[Acknowledgement, int]:
        with_system = change.subject == SYSTEM_METADATA or change.is_guarded
        ledger = _Ledger(
            actor, channel, origin, request, rows=state.lock_rows(with_system=with_system, using=using), using=using
        )
        check_revision(change, ledger.rows, request, find_change=lambda row: history.find_change(row, using=using))
        still_failed = _check_backend_again(ledger.rows, request, failed) if change.is_guarded else failed
        steps = plan_steps(change, ledger.rows, request, actor=actor.name, now=ledger.now)
        ledger.record_drift()
        for step in steps:
            ledger.record(step, failed=still_failed, override=bool(still_failed))
        ledger.close()
        if change.direction is Direction.SAFE:
            _note_timeline(using)
        elif change.is_guarded:
            failover.check(using)
        done = Acknowledgement(
            change,
            any(step.changed for step in steps),
            ledger.rows.go_live,
            ledger.rows.system,
            ledger.sequence,
            request.notes_on_request,
        )
        return done, ledger.find_longest_lease()

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
    *, actor: Actor, reason: str, channel: Channel, origin: Origin = Origin(), using: str = DEFAULT_DB_ALIAS
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
        ledger = _Ledger(
            actor, channel, origin, request, rows=state.lock_rows(with_system=True, using=using), using=using
        )
        row_of(ledger.rows, SYSTEM_METADATA)  # missing, it cannot be recorded
        found = [*problems, *(p for p in history.verify(newest=1, using=using).problems if p.code in ("row", "head"))]
        failed_over = failover.find_problem(using)
        if failed_over is not None:
            found.append(failed_over)
        ledger.reconcile(found)
        _note_timeline(using)
        return tuple(problem.detail for problem in found), ledger.find_longest_lease()

    return commit(write, using)


def record_deploy(difference: Difference, *, release: str | None, using: str = DEFAULT_DB_ALIAS) -> None:
    """Record what a deploy has applied and unapplied; writes nothing if that is nothing. Raises as `apply_change`."""
    if not difference:
        return
    after = {"applied": list(difference.applied), "unapplied": list(difference.unapplied), "release": release}
    actor, request = Actor(name="migrate", permissions=frozenset()), ChangeRequest(reason="")

    def write() -> tuple[None, int]:
        rows = state.lock_rows(with_system=True, using=using)
        ledger = _Ledger(actor, Channel.MIGRATION, Origin(), request, rows=rows, using=using)
        ledger.record_drift()
        ledger.record_deploy(after)
        ledger.close()
        return None, ledger.find_longest_lease()

    commit(write, using)


def record_token(
    action: str,
    write: Callable[[], tuple[T, dict[str, Any] | None, dict[str, Any] | None]],
    *,
    actor: Actor,
    channel: Channel,
    origin: Origin = Origin(),
    using: str = DEFAULT_DB_ALIAS,
) -> T:
    """Run a write of a token's row and record it, in one transaction and in turn with all other changes.

    `write` returns its result and what the event says of the token before and after; both None: nothing was done, and
    nothing is recorded. Raises as `apply_change`, and what `write` raises.
    """

    def work() -> tuple[T, int]:
        rows = state.lock_rows(with_system=False, using=using)
        ledger = _Ledger(actor, channel, origin, ChangeRequest(reason=""), rows=rows, using=using)
        result, before, after = write()
        if before is not None or after is not None:
            ledger.record_drift()
            ledger.record_token(action, before=before, after=after)
            ledger.close()
        return result, ledger.find_longest_lease()

    return commit(work, using)


def _check_checklist(request: ChangeRequest, using: str) -> tuple[CheckResult, ...]:
    """Run the checklist, before any lock is taken. Returns what fails and is named in the override.

    A state that is not known is no rule that refuses: StateUnknownError comes first.
    """
    state.read_both(using=using)
    checklist = readiness.run_checklist()
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


class _Ledger:
    """Writes events and rows of one transaction; the rows are locked by the caller, which makes the chain one line."""

    def __init__(
        self, actor: Actor, channel: Channel, origin: Origin, request: ChangeRequest, *, rows: Rows, using: str
    ) -> None:
        go_live = row_of(rows, GO_LIVE_STATE)
        assert isinstance(go_live, GoLiveRow)  # noqa: S101 - for the type checker
        self.rows = rows
        self.now = datetime.now(UTC)
        self._locked = rows
        self._using = using
        newest = history.newest_event(using=using)
        self.sequence = newest.sequence if newest else 0
        self._head = newest.hash if newest else None
        self._found_head = go_live.event_head
        self._common = {
            "at": self.now,
            "actor": actor.name,
            "user_id": actor.user_id,
            "on_behalf_of": request.on_behalf_of,
            "channel": str(channel),
            "request_id": origin.request_id,
            "remote_addr": origin.remote_addr,
            "hash_version": chain.HASH_VERSION,
        }
        self._reason = request.reason

    def record(self, step: Step, *, failed: Sequence[CheckResult] = (), override: bool = False) -> None:
        """Append the event of a step and take its row as the current one."""
        self._append(
            step.subject,
            step.action,
            reason=step.reason,
            changed=step.changed,
            override=override,
            before=record_of(step.before),
            after=record_of(step.after),
            failed_checks=[{"id": result.id, "detail": result.detail} for result in failed] or None,
        )
        self._take(step.after)

    def record_drift(self) -> None:
        """Record a row that is not as the newest event left it, before anything builds on it.

        An `event_head` that is not the newest event's hash is such a row too: one of the two was altered.
        """
        is_head_wrong = self._found_head != self._head
        for subject, row, recorded in self._compare():
            is_wrong = recorded != record_of(row) or (subject == GO_LIVE_STATE and is_head_wrong)
            if is_wrong:
                self._append(
                    subject,
                    chain.DRIFT,
                    actor="unknown",
                    user_id=None,
                    on_behalf_of=None,
                    reason=f"Changed behind the controls; found by {self._common['actor']}.",
                    changed=recorded != record_of(row),
                    before=recorded,
                    after=record_of(row),
                )

    def record_deploy(self, after: dict[str, Any]) -> None:
        """Append the event of a deploy, which changes no row."""
        self._append(DEPLOY, "migrate", reason="", changed=True, before=None, after=after)

    def record_token(self, action: str, *, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        """Append the event of a token that was made or revoked."""
        self._append(API_TOKEN, action, reason="", changed=True, before=before, after=after)

    def reconcile(self, problems: Sequence[chain.Problem]) -> None:
        """Record the rows as they are and the problems as seen; the chain goes on from the newest event there is."""
        noted = [{"id": problem.key, "detail": problem.detail} for problem in problems] or None
        altered = {problem.place for problem in problems if problem.code == "row"}
        if problems and not altered:
            altered = {GO_LIVE_STATE}
        for subject, row, recorded in self._compare():
            if subject not in altered:
                continue
            after = row
            if recorded is not None and recorded != record_of(row):
                after = replace(row, revision=max(row.revision, recorded["revision"] + 1))
            self._append(
                subject,
                chain.RECONCILE,
                reason=self._reason,
                changed=recorded != record_of(after),
                before=recorded,
                after=record_of(after),
                failed_checks=noted,
            )
            self._take(after)
        if altered:
            self.close()

    def close(self) -> None:
        """Write the rows that differ from what was locked, and the new head."""
        go_live = self.rows.go_live
        assert go_live is not None  # noqa: S101 - for the type checker; the constructor has seen to it
        self._take(replace(go_live, event_head=self._head))
        for model, before, after in (
            (SystemMetadata, self._locked.system, self.rows.system),
            (GoLiveState, self._locked.go_live, self.rows.go_live),
        ):
            if before is None or after is None or before == after:
                continue
            # The revision again, for a database without row locks: it must be the row that was read.
            rows = model._default_manager.using(self._using).filter(pk=SINGLETON_ID, revision=before.revision)
            if rows.update(**asdict(after)) != 1:
                raise NotAppliedError("Another change came first; nothing was done. Try again.")
        self._check_written()

    def _check_written(self) -> None:
        """What was written must stand as it was written: a trigger or a rule may have altered or swallowed it."""
        written = state.read_again(with_system=self.rows.system is not None, using=self._using)
        newest = history.newest_event(using=self._using)
        altered = [
            name
            for name, is_right in (
                (SYSTEM_METADATA, written.system == self.rows.system),
                (GO_LIVE_STATE, written.go_live == self.rows.go_live),
                (Event._meta.db_table, newest is not None and newest.hash == self._head),
            )
            if not is_right
        ]
        if altered:
            raise NotAppliedError(
                f"The database altered what was written to {' and '.join(altered)}, so nothing was done. Look for a "
                "trigger or a rule there that is not of this project."
            )

    def find_longest_lease(self) -> int:
        """The longest lease, in ms, that a reader anywhere may still hold: of the row as it was, as it is now, as the
        record had it before somebody altered it, and as it was before it was lowered a moment ago."""
        rows = (self._locked.go_live, self.rows.go_live)
        recent = history.recent_leases(newest=self.sequence, now=self.now, using=self._using)
        return max(*(row.lease_ms for row in rows if row is not None), *recent)

    def _take(self, row: GoLiveRow | SystemRow) -> None:
        if isinstance(row, GoLiveRow):
            self.rows = replace(self.rows, go_live=row)
        else:
            self.rows = replace(self.rows, system=row)

    def _compare(self) -> list[tuple[str, Any, dict[str, Any] | None]]:
        found: list[tuple[str, Any, dict[str, Any] | None]] = []
        for subject, row in ((SYSTEM_METADATA, self._locked.system), (GO_LIVE_STATE, self._locked.go_live)):
            if row is not None:
                newest = history.newest_event(subject=subject, using=self._using)
                found.append((subject, row, newest.after if newest else None))
        return found

    def _append(self, subject: str, action: str, **columns: Any) -> None:
        self.sequence += 1
        event = Event(
            **{"override": False, "failed_checks": None, **self._common, **columns},
            sequence=self.sequence,
            subject=subject,
            action=action,
            salt=secrets.token_hex(chain.SALT_BYTES),
            previous_hash=self._head,
        )
        event.hash = self._head = chain.hash_event(history.event_values(event))
        event.save(using=self._using, force_insert=True)
        transaction.on_commit(partial(_log, event), using=self._using, robust=True)


def _log(event: Event) -> None:
    """One line for each event, with the head that it made: whoever keeps the log keeps the heads.

    Not on somebody's terminal, where the command says it.
    """
    logger.log(
        logging.DEBUG if event.channel == Channel.CLI else logging.INFO,
        "%s of %s by %s via %s: %s, event %d, event_head %s",
        event.action,
        event.subject,
        make_visible(event.actor),
        event.channel,
        "changed" if event.changed else "no change",
        event.sequence,
        event.hash,
    )
