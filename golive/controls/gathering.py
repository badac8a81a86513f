"""Stops through the API: one that may change something is made at once, repetitions are batched.

A credential that floods the service with stops must fill neither the event log nor the threads. A repetition waits at
most GATHER_SECONDS, and is acknowledged by an event that was written after the request arrived.
"""

from __future__ import annotations

import copy
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace

from django.db import DEFAULT_DB_ALIAS

from golive.controls.apply import apply_change
from golive.database.deadline import WRITE_SECONDS
from golive.domain.changes import REOPEN, Acknowledgement, Actor, Change, Channel, Origin, check_can_apply
from golive.domain.effects import is_in_effect
from golive.domain.errors import OutcomeUnknownError, UnavailableError
from golive.domain.gathering import GATHER_SECONDS, Batch, Queue, Repetition, merge
from golive.domain.requests import read_request
from golive.domain.rows import GO_LIVE_STATE, MAX_LEASE_MS
from golive.state import snapshots

# How often a request waiting to be batched checks that the stop is still in effect.
LOOK_SECONDS = 0.1
# Longer than the writing request can take.
_JOIN_SECONDS = GATHER_SECONDS + WRITE_SECONDS + MAX_LEASE_MS / 1000 + 1.0
_LOST = "The request that this one was gathered with did not end. Look at the state, or repeat the request."


def apply_stop(
    change: Change,
    *,
    actor: Actor,
    reason: object,
    fields: Mapping[str, object],
    origin: Origin,
    using: str = DEFAULT_DB_ALIAS,
) -> Acknowledgement:
    """As `apply.apply_change`, for a change toward safe through the API, batched with others of the same credential.

    Only a stop that certainly changes nothing is batched. The event has the origin of the batch's first request.
    """
    check_can_apply(change, actor.permissions)
    request = read_request(change, {**fields, "reason": reason})

    def write(merged: Repetition) -> Acknowledgement:
        return apply_change(
            change,
            actor=actor,
            reason=merged.reason,
            channel=Channel.API,
            fields={"changed_by": merged.on_behalf_of},
            origin=origin,
            using=using,
        )

    def is_settled() -> bool:
        return _is_certainly_in_effect(change, using)

    repetition = Repetition(request.reason, request.on_behalf_of)
    if is_settled():
        gatherer = _gatherers.get(using) or _gatherers.setdefault(using, Gatherer())
        key = (change.name, actor.name, actor.user_id)
        acknowledgement = gatherer.apply(key, repetition, write=write, is_settled=is_settled)
    else:
        acknowledgement = write(repetition)
    return replace(acknowledgement, notes_on_request=request.notes_on_request)


def forget() -> None:
    """Reset to a state without recent stops, as in a process that was just forked."""
    _gatherers.clear()


def _is_certainly_in_effect(change: Change, using: str) -> bool:
    snapshot = snapshots.read_snapshot(using=using)
    if snapshot.go_live is None:
        return False
    if change.subject == GO_LIVE_STATE:
        return is_in_effect(change, snapshot.go_live)
    # Reopening engages the kill switch too.
    is_stopped = change is not REOPEN or snapshot.go_live.kill_switch_engaged
    return snapshot.system is not None and is_in_effect(change, snapshot.system) and is_stopped


class _Outcome:
    """The outcome of a batch, for the requests that wait for it."""

    def __init__(self) -> None:
        self._is_known = threading.Event()
        self._acknowledgement: Acknowledgement | None = None
        self._error: BaseException | None = None

    def set(self, acknowledgement: Acknowledgement | None, error: BaseException | None) -> None:
        self._acknowledgement, self._error = acknowledgement, error
        self._is_known.set()

    def wait(self) -> Acknowledgement:
        self._is_known.wait(_JOIN_SECONDS)
        if self._acknowledgement is not None:
            return self._acknowledgement
        if isinstance(self._error, UnavailableError):
            # A copy: one exception raised by several threads mixes up their tracebacks.
            raise copy.copy(self._error) from self._error
        raise OutcomeUnknownError(_LOST) from self._error


class Gatherer:
    """The queues of this process. The first request of a batch writes it, on its own thread; the others wait for it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._queues: defaultdict[Hashable, Queue] = defaultdict(Queue)
        self._outcomes: dict[Batch, _Outcome] = {}

    def apply(
        self,
        key: Hashable,
        repetition: Repetition,
        *,
        write: Callable[[Repetition], Acknowledgement],
        is_settled: Callable[[], bool],
    ) -> Acknowledgement:
        """Join the batch of `key`, then `write` it if this is its first request, or wait until it is written.

        Raises what `write` raises. Stops waiting to be batched once `is_settled` says that the stop may be undone.
        """
        with self._changed:
            queue = self._queues[key]
            batch, is_first = queue.join(repetition)
            outcome = self._outcomes.setdefault(batch, _Outcome())
            self._changed.notify_all()
        if not is_first:
            return outcome.wait()
        acknowledgement: Acknowledgement | None = None
        error: BaseException | None = OutcomeUnknownError(_LOST)
        try:
            # The request's deadline keeps running during the wait, so the response comes in time.
            self._await_turn(queue, batch, is_settled)
            acknowledgement = write(self._begin(queue, batch))
            return acknowledgement
        except BaseException as caught:
            error = caught
            raise
        finally:
            self._end(queue, batch)
            outcome.set(acknowledgement, error)

    def _await_turn(self, queue: Queue, batch: Batch, is_settled: Callable[[], bool]) -> None:
        while True:
            with self._changed:
                remaining = queue.due_at(batch) - self._clock()
                if remaining <= 0:
                    return
                self._changed.wait(min(remaining, LOOK_SECONDS))
            if not is_settled():
                return

    def _begin(self, queue: Queue, batch: Batch) -> Repetition:
        with self._changed:
            queue.begin(self._clock())
            return merge(batch.members)

    def _end(self, queue: Queue, batch: Batch) -> None:
        with self._changed:
            queue.abandon(batch)
            self._outcomes.pop(batch, None)


# One per database.
_gatherers: dict[str, Gatherer] = {}
os.register_at_fork(after_in_child=forget)
