"""Every read of the event log: pages for people and programs, and verification of the chain against the rows."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import DEFAULT_DB_ALIAS, Error
from django.db.models import BooleanField
from django.db.models.expressions import RawSQL

from golive.database import schema
from golive.database.deadline import database_deadline
from golive.domain.chain import COLUMNS, DRIFT, RECONCILE, ChainVerifier, Problem
from golive.domain.changes import LEASE, Change
from golive.domain.errors import RecordedChange, StateUnknownError
from golive.domain.rows import (
    API_TOKEN,
    GO_LIVE_STATE,
    MAX_LEASE_MS,
    ROW_SUBJECTS,
    SYSTEM_METADATA,
    GoLiveRow,
    SystemRow,
    format_time,
    record_of,
)
from golive.models import ApiToken, Event
from golive.state import failover, singletons

_BATCH = 500
BATCH_SECONDS = 4.0
# The check `clocks_agree` warns long before two hosts differ this much.
CLOCK_SKEW = timedelta(seconds=5)
# How many of the newest events a search for a change covers: the event log may hold millions.
_CHANGES_SEARCHED = 200
_STOPS_SEARCHED = 2_000
# As literal SQL, so that the partial index golive_event_marks is used: with parameters it may not be.
_IS_MARK = RawSQL(f"action IN ('{DRIFT}', '{RECONCILE}')", (), output_field=BooleanField())  # noqa: S611 - constants
# More than can be written in the time span of `recent_leases`, since each write holds the row's lock.
_RECENT_EVENTS = 2_000


@dataclass(frozen=True)
class Verification:
    """The result of checking `checked` events, from `first` (1: the whole chain) to the newest."""

    checked: int
    first: int
    problems: tuple[Problem, ...]

    @property
    def is_sound(self) -> bool:
        return not self.problems


def event_values(event: Event) -> dict[str, Any]:
    """The columns of an event as JSON values, `hash` last: what the history serves and the hash is computed from.

    `salt` is omitted if there is none, so that in every version the hash is that of the JSON without `hash`.
    """
    values = {name: getattr(event, name) for name in COLUMNS if name != "salt" or event.salt is not None}
    return {**values, "at": format_time(event.at), "hash": event.hash}


def token_values(token: ApiToken) -> dict[str, Any]:
    """What an event records about a token; never its secret or the secret's hash."""
    return {
        "name": token.name,
        "prefix": token.prefix,
        "scopes": token.scopes,
        "expires_at": format_time(token.expires_at),
    }


def read_page(
    *, limit: int, before: int | None, using: str = DEFAULT_DB_ALIAS
) -> tuple[list[dict[str, Any]], int | None]:
    """The newest `limit` events before sequence `before`, newest first, and the `before` of the next page."""
    events = Event.objects.using(using).order_by("-sequence")
    if before is not None:
        events = events.filter(sequence__lt=before)
    with database_deadline(BATCH_SECONDS):
        page = list(events[: limit + 1])
    has_more, page = len(page) > limit, page[:limit]
    return [event_values(event) for event in page], page[-1].sequence if has_more else None


def newest_event(*, subject: str | None = None, using: str = DEFAULT_DB_ALIAS) -> Event | None:
    """The newest event of one subject, or of all."""
    events = Event.objects.using(using).order_by("-sequence")
    return (events.filter(subject=subject) if subject else events).first()


def find_change(row: GoLiveRow | SystemRow, *, using: str = DEFAULT_DB_ALIAS) -> RecordedChange | None:
    """The change that gave a row its revision; None if it is not among the newest events."""
    subject = GO_LIVE_STATE if isinstance(row, GoLiveRow) else SYSTEM_METADATA
    newest = newest_event(using=using)
    if newest is None:
        return None
    # By sequence, which is indexed: no request may scan millions of events.
    events = Event.objects.using(using).filter(sequence__gt=newest.sequence - _CHANGES_SEARCHED, subject=subject)
    for event in events.order_by("-sequence"):
        before, after = event.before or {}, event.after or {}
        if after.get("revision") == row.revision and before.get("revision") != row.revision:
            return RecordedChange(event.actor, event.at, event.action, event.reason)
    return None


def find_newest(change: Change, *, before: int | None = None, using: str = DEFAULT_DB_ALIAS) -> RecordedChange | None:
    """The last change of this kind before the event `before`; None if it is not among the newest events."""
    newest = newest_event(using=using)
    if newest is None:
        return None
    top = newest.sequence + 1 if before is None else before
    events = Event.objects.using(using).filter(
        sequence__lt=top, sequence__gte=top - _STOPS_SEARCHED, subject=change.subject, action=change.name
    )
    event = events.order_by("-sequence").first()
    return RecordedChange(event.actor, event.at, event.action, event.reason) if event else None


def recent_leases(*, newest: int, now: datetime, using: str = DEFAULT_DB_ALIAS) -> list[int]:
    """The leases, in ms, that were in effect recently enough for a reader to hold one still.

    Lowering a lease is acknowledged once the longer one has expired, but other changes may be made before that.
    `newest` is the sequence of the newest event; `now` and the events' times come from the clocks of several hosts,
    which may differ by CLOCK_SKEW.
    """
    events = Event.objects.using(using).filter(
        sequence__gt=newest - _RECENT_EVENTS,
        subject=GO_LIVE_STATE,
        action__in=(LEASE.name, DRIFT, RECONCILE),
        at__gt=now - CLOCK_SKEW - timedelta(milliseconds=MAX_LEASE_MS),
    )
    earlier = [(at, (before or {}).get("lease_ms")) for at, before in events.values_list("at", "before")]
    return [ms for at, ms in earlier if isinstance(ms, int) and at + timedelta(milliseconds=ms) > now - CLOCK_SKEW]


def read_recent(subject: str, *, limit: int, using: str = DEFAULT_DB_ALIAS) -> list[Event]:
    """The newest events of one subject, newest first; empty if they cannot be read."""
    try:
        return list(Event.objects.using(using).filter(subject=subject).order_by("-sequence")[:limit])
    except Error:
        return []


def verify(*, newest: int | None = None, using: str = DEFAULT_DB_ALIAS) -> Verification:
    """Recompute the chain (or its `newest` events) and compare it with `event_head` and the rows, in one snapshot.

    A check of the whole chain includes the tokens. The time depends on the number of events checked, not on the length
    of the event log. Raises database errors unchanged, and StateUnknownError if the rows cannot be read at all.
    """
    with singletons.consistent_read(using=using):
        with database_deadline(BATCH_SECONDS):
            top = newest_event(using=using)
        first = max(1, top.sequence - newest + 1) if newest and top else 1
        verifier = ChainVerifier()
        if first > 1:
            verifier.assume(_known_before(first, using))
        for batch in _batches(first, using):
            verifier.feed(batch)
        head, records = _read_records(using)
        # Only in a full check: token names are for the command line only, and a part of the chain lacks their events.
        tokens = [] if newest is not None else _read_tokens(using)
        problems = [*verifier.finish(head=head, records=records, tokens=tokens), *_check_triggers(using)]
    return Verification(verifier.count, first, tuple(problems))


def _read_tokens(using: str) -> list[dict[str, Any]]:
    with database_deadline(BATCH_SECONDS):
        return [token_values(token) for token in ApiToken.objects.using(using).filter(revoked_at=None)]


def _check_triggers(using: str) -> list[Problem]:
    with database_deadline(BATCH_SECONDS):
        missing = schema.find_missing_triggers(using=using)
    detail = "The trigger {} of golive_event is missing or disabled: events can be altered. Make it again or enable it."
    return [Problem("trigger", name, detail.format(name)) for name in missing]


def read_all(*, using: str = DEFAULT_DB_ALIAS) -> Generator[dict[str, Any]]:
    """Every event as JSON values, oldest first, from one consistent read; holds a few hundred in memory.

    Raises database errors unchanged. Close or exhaust the generator: it holds a read transaction.
    """
    with singletons.consistent_read(using=using):
        for batch in _batches(1, using):
            yield from batch


def read_token_events(*, using: str = DEFAULT_DB_ALIAS) -> dict[str, Event]:
    """The newest event of each token that has one, by the token's prefix."""
    events: dict[str, Event] = {}
    for event in Event.objects.using(using).filter(subject=API_TOKEN).order_by("sequence"):
        values = event.before if event.after is None else event.after
        if isinstance(values, dict) and isinstance(values.get("prefix"), str):
            events[values["prefix"]] = event
    return events


def _known_before(first: int, using: str) -> list[dict[str, Any]]:
    """For each table, the newest event before `first`, and the newest drift or reconcile; in ascending order."""
    by_sequence: dict[int, Event] = {}
    for subject in ROW_SUBJECTS:
        older = Event.objects.using(using).filter(subject=subject, sequence__lt=first).order_by("-sequence")
        marks = older.filter(_IS_MARK).first()
        for event in (marks if marks and marks.action == DRIFT else None, older.first()):
            if event is not None:
                by_sequence[event.sequence] = event
    return [event_values(by_sequence[sequence]) for sequence in sorted(by_sequence)]


def _batches(first: int, using: str) -> Iterator[list[dict[str, Any]]]:
    while True:
        # A deadline per batch, not for the whole: a long event log takes its time, but nothing may hang.
        with database_deadline(BATCH_SECONDS):
            events = list(Event.objects.using(using).filter(sequence__gte=first).order_by("sequence")[:_BATCH])
        if not events:
            return
        yield [event_values(event) for event in events]
        first = events[-1].sequence + 1


def _read_records(using: str) -> tuple[str | None, dict[str, dict[str, Any] | None]]:
    records: dict[str, dict[str, Any] | None] = {GO_LIVE_STATE: None, SYSTEM_METADATA: None}
    head = None
    with suppress(StateUnknownError), failover.disregarded():
        go_live = singletons.read_go_live(using=using)
        head, records[GO_LIVE_STATE] = go_live.event_head, record_of(go_live)
    with suppress(StateUnknownError):
        records[SYSTEM_METADATA] = record_of(singletons.read_system(using=using))
    return head, records
