"""Stops that come in by the API: one that may change something is made at once, repetitions are gathered.

A credential that floods the service with stops must neither fill the record nor the threads. A repetition waits for at
most GATHER_SECONDS, and is acknowledged by an event that was written after it came.
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

# How often whoever waits for company looks whether the stop is still in effect.
LOOK_SECONDS = 0.1
# Longer than the one that writes can take.
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
    """As `apply.apply_change` for a change toward safe by the API, gathered with others of the same credential.

    Only what certainly changes nothing is gathered. The event has the origin of the first of them.
    """
    check_can_apply(change, actor.permissions)
    request = read_request(change, {**fields, "reason": reason})

    def write(said: Repetition) -> Acknowledgement:
        return apply_change(
            change,
            actor=actor,
            reason=said.reason,
            channel=Channel.API,
            fields={"changed_by": said.on_behalf_of},
            origin=origin,
            using=using,
        )

    def is_settled() -> bool:
        return _is_certainly_in_effect(change, using)

    said = Repetition(request.reason, request.on_behalf_of)
    if is_settled():
        gatherer = _gatherers.get(using) or _gatherers.setdefault(using, Gatherer())
        done = gatherer.apply((change.name, actor.name, actor.user_id), said, write=write, is_settled=is_settled)
    else:
        done = write(said)
    return replace(done, notes_on_request=request.notes_on_request)


def forget() -> None:
    """Start anew: nobody has stopped anything lately, as in a process that was just forked."""
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


class _Written:
    """What came of a batch, for those who wait for it."""

    def __init__(self) -> None:
        self._is_over = threading.Event()
        self._done: Acknowledgement | None = None
        self._error: BaseException | None = None

    def end(self, done: Acknowledgement | None, error: BaseException | None) -> None:
        self._done, self._error = done, error
        self._is_over.set()

    def wait(self) -> Acknowledgement:
        self._is_over.wait(_JOIN_SECONDS)
        if self._done is not None:
            return self._done
        if isinstance(self._error, UnavailableError):
            # One of one's own: an exception that several threads raise mixes up their tracebacks.
            raise copy.copy(self._error) from self._error
        raise OutcomeUnknownError(_LOST) from self._error


class Gatherer:
    """The queues of this process. The first request of a batch writes it, in its own thread; the others wait for it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._queues: defaultdict[Hashable, Queue] = defaultdict(Queue)
        self._written: dict[Batch, _Written] = {}

    def apply(
        self,
        key: Hashable,
        said: Repetition,
        *,
        write: Callable[[Repetition], Acknowledgement],
        is_settled: Callable[[], bool],
    ) -> Acknowledgement:
        """`write` what this request and others of the same `key` say, or wait for whoever does.

        Raises what `write` raises. Waits for no company any more when `is_settled` says that the stop may be undone.
        """
        with self._changed:
            queue = self._queues[key]
            batch, is_first = queue.join(said)
            written = self._written.setdefault(batch, _Written())
            self._changed.notify_all()
        if not is_first:
            return written.wait()
        done: Acknowledgement | None = None
        error: BaseException | None = OutcomeUnknownError(_LOST)
        try:
            # The request's deadline goes on meanwhile: the answer comes in time.
            self._await_turn(queue, batch, is_settled)
            done = write(self._begin(queue, batch))
            return done
        except BaseException as caught:
            error = caught
            raise
        finally:
            self._end(queue, batch, written)
            written.end(done, error)

    def _await_turn(self, queue: Queue, batch: Batch, is_settled: Callable[[], bool]) -> None:
        while True:
            with self._changed:
                left = queue.due_at(batch) - self._clock()
                if left <= 0:
                    return
                self._changed.wait(min(left, LOOK_SECONDS))
            if not is_settled():
                return

    def _begin(self, queue: Queue, batch: Batch) -> Repetition:
        with self._changed:
            queue.begin(self._clock())
            return merge(batch.members)

    def _end(self, queue: Queue, batch: Batch, written: _Written) -> None:
        with self._changed:
            queue.abandon(batch)
            self._written.pop(batch, None)


# By database.
_gatherers: dict[str, Gatherer] = {}
os.register_at_fork(after_in_child=forget)
