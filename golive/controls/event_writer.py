"""The only writer of events and rows outside the migrations: those of one transaction, chained by hash."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.db import Error, transaction
from django.db.models.expressions import RawSQL

from golive.domain import chain
from golive.domain.changes import Actor, Channel, Origin
from golive.domain.checklist import CheckResult
from golive.domain.effects import Step, row_of
from golive.domain.errors import NotAppliedError
from golive.domain.requests import ChangeRequest
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
from golive.state import failover, history, singletons
from golive.text import make_visible

logger = logging.getLogger(__name__)


class EventWriter:
    """Writes the events and rows of one transaction. The caller has locked the rows, so the chain cannot fork."""

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
        self._stored_head = go_live.event_head
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
        """Append the event of a step and make its row the current one."""
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
        self._set_row(step.after)

    def record_drift(self) -> None:
        """Record a row that is not as the newest event left it, before a change builds on it.

        An `event_head` that is not the newest event's hash counts as drift too: one of the two was altered.
        """
        is_head_wrong = self._stored_head != self._head
        for subject, row, recorded in self._compare():
            has_drifted = recorded != record_of(row) or (subject == GO_LIVE_STATE and is_head_wrong)
            if has_drifted:
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
        """Append the event of a token that was created or revoked."""
        self._append(API_TOKEN, action, reason="", changed=True, before=before, after=after)

    def reconcile(self, problems: Sequence[chain.Problem]) -> None:
        """Record the rows as they are and acknowledge the problems; the chain continues from the newest event."""
        acknowledged = [{"id": problem.key, "detail": problem.detail} for problem in problems] or None
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
                failed_checks=acknowledged,
            )
            self._set_row(after)
        if altered:
            self.close()

    def close(self) -> None:
        """Write the rows that differ from those locked, and the new head."""
        go_live = self.rows.go_live
        assert go_live is not None  # noqa: S101 - for the type checker; the constructor has checked it
        self._set_row(replace(go_live, event_head=self._head))
        for model, before, after in (
            (SystemMetadata, self._locked.system, self.rows.system),
            (GoLiveState, self._locked.go_live, self.rows.go_live),
        ):
            if before is None or after is None or before == after:
                continue
            # Matches the revision too, for a database without row locks: it must still be the row that was read.
            rows = model._default_manager.using(self._using).filter(pk=SINGLETON_ID, revision=before.revision)
            if rows.update(**asdict(after)) != 1:
                raise NotAppliedError("Another change came first; nothing was done. Try again.")
        self._check_written()

    def _check_written(self) -> None:
        """Read back what was written and compare: a trigger or a rule may have altered or discarded it."""
        written = singletons.read_again(with_system=self.rows.system is not None, using=self._using)
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
        """The longest lease, in ms, that any reader may still hold: of the row before and after this change, as it was
        recorded before it was altered by SQL, and before it was lowered a moment ago."""
        rows = (self._locked.go_live, self.rows.go_live)
        recent = history.recent_leases(newest=self.sequence, now=self.now, using=self._using)
        return max(*(row.lease_ms for row in rows if row is not None), *recent)

    def note_timeline(self) -> None:
        """If the setting is on, note the database's current timeline: an operator vouches for the state on it."""
        if not failover.is_watched(self._using):
            return
        rows = GoLiveState._default_manager.using(self._using).filter(pk=SINGLETON_ID)
        try:
            with transaction.atomic(using=self._using):
                rows.update(timeline=RawSQL(failover.TIMELINE, []))  # noqa: S611 - a constant
        except Error:
            # A change toward safe is made regardless; the state stays unknown.
            logger.exception("the timeline of the database could not be noted")

    def _set_row(self, row: GoLiveRow | SystemRow) -> None:
        if isinstance(row, GoLiveRow):
            self.rows = replace(self.rows, go_live=row)
        else:
            self.rows = replace(self.rows, system=row)

    def _compare(self) -> list[tuple[str, Any, dict[str, Any] | None]]:
        """For each locked row: its table, the row, and what the newest event recorded of it."""
        rows: list[tuple[str, Any, dict[str, Any] | None]] = []
        for subject, row in ((SYSTEM_METADATA, self._locked.system), (GO_LIVE_STATE, self._locked.go_live)):
            if row is not None:
                newest = history.newest_event(subject=subject, using=self._using)
                rows.append((subject, row, newest.after if newest else None))
        return rows

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
    """Log one line per event with the new head, so that the log preserves the heads.

    At DEBUG for the command line, which reports the change itself.
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
