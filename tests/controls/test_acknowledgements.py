"""The writer's wait: whatever is acknowledged, by any channel, is so when no old lease can still be held."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client

from golive.controls import transactions
from golive.controls.apply import apply_change
from golive.controls.reconcile import reconcile
from golive.database.deadline import database_deadline, remaining_seconds
from golive.domain.changes import LEASE, Channel
from golive.domain.errors import InvalidRequestError, NotAppliedError, PermissionRequiredError
from golive.domain.rows import GO_LIVE_STATE
from golive.models import Event
from golive.state import history, leases, snapshots
from tests.api.callers import ALERTMANAGER, bearer, make_token
from tests.support.accounts import make_user, sign_in
from tests.support.changes import FAULTS, NAMES, apply, apply_effectively, check_sound, go_live, newest, prepare
from tests.support.factories import make_actor
from tests.support.faults import failing_writes, run_sql

pytestmark = [pytest.mark.usefixtures("database"), pytest.mark.leased]

LEASE_MS = 120


def set_lease(lease_ms: int) -> None:
    apply_change(LEASE, actor=make_actor(), reason="", channel=Channel.CLI, fields={"lease_ms": lease_ms})


@dataclass
class Watch:
    """When transactions of changes were committed, by the clock of the leases."""

    commits: list[float] = field(default_factory=list)
    # The leases that were waited out, in ms: what the acknowledgement was held back for, however busy the machine.
    waited: list[int] = field(default_factory=list)
    in_transaction: list[bool] = field(default_factory=list)

    def seconds_since(self) -> float:
        """From the last commit until now, when it has been acknowledged."""
        return leases.boottime() - self.commits[-1]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """The lease is LEASE_MS and nobody remembers a longer one; the time is then taken at each commit."""
    made = Watch()
    run_sql("UPDATE go_live_state SET lease_ms = %s", [LEASE_MS])
    # As if what was set up had been long ago.
    monkeypatch.setattr(history, "CLOCK_SKEW", -timedelta(minutes=5))
    with monkeypatch.context() as patch:
        patch.setattr(leases, "wait_out", lambda lease_ms: None)
        reconcile(actor=make_actor(), reason="Set up.", channel=Channel.CLI)

    def commit(*arguments: Any) -> Any:
        outcome = real_commit(*arguments)
        made.commits.append(leases.boottime())
        return outcome

    def forget(*, using: str) -> None:
        made.in_transaction.append(connection.in_atomic_block)

    def wait_out(lease_ms: int) -> None:
        made.waited.append(lease_ms)
        real_wait_out(lease_ms)

    real_wait_out = leases.wait_out
    monkeypatch.setattr(leases, "wait_out", wait_out)
    real_commit = transactions._commit
    monkeypatch.setattr(transactions, "_commit", commit)
    monkeypatch.setattr(snapshots, "forget", forget)
    return made


def by_admin() -> None:
    client = sign_in(make_user("root", is_superuser=True))
    assert client.post("/admin/golive/golivestate/apply/engage/", {"reason": ""}).status_code == 302


def by_api() -> None:
    headers = bearer(make_token())
    path = "/api/governance/go-live/kill-switch/engage"
    assert Client().post(path, b"{}", content_type="application/json", headers=headers).status_code == 200


def by_hook() -> None:
    body = json.dumps({"version": "4", "status": "firing", "alerts": [{"status": "firing"}]})
    answer = Client().post(ALERTMANAGER, body, content_type="application/json", headers=bearer(make_token()))
    assert answer.json()["action"] == "engage"


def by_command() -> None:
    call_command("golive", "engage")


def by_reconcile() -> None:
    run_sql("UPDATE go_live_state SET reason = 'by SQL'")
    call_command("golive", "reconcile", "--reason", "Seen.")


CHANNELS: dict[str, Callable[[], None]] = {
    "admin": by_admin,
    "api": by_api,
    "hook": by_hook,
    "command": by_command,
    "reconcile": by_reconcile,
}


@pytest.mark.parametrize("is_no_change", [False, True])
@pytest.mark.parametrize("channel", CHANNELS)
def test_acknowledgement__by_each_channel__comes_when_the_lease_is_over(
    watch: Watch, channel: str, is_no_change: bool
) -> None:
    if not is_no_change:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(leases, "wait_out", lambda lease_ms: None)
            go_live()

    CHANNELS[channel]()

    assert watch.seconds_since() >= LEASE_MS / 1000 + 0.01
    # A stop has looked for permits meanwhile, which counts.
    assert 0 < watch.waited[-1] <= LEASE_MS
    # Nobody is held up meanwhile.
    assert not any(watch.in_transaction)


@pytest.mark.parametrize("name", NAMES)
def test_acknowledgement__of_each_change_and_of_its_repetition__comes_when_the_lease_is_over(
    watch: Watch, name: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leases, "wait_out", lambda lease_ms: None)
        prepare(name)

    for is_changed in (True, False):
        assert apply_effectively(name).changed == is_changed
        assert watch.seconds_since() >= LEASE_MS / 1000 + 0.01


def test_acknowledgement__after_a_lease_was_raised_by_sql__waits_that_one(watch: Watch) -> None:
    run_sql("UPDATE go_live_state SET lease_ms = %s", [3 * LEASE_MS])

    apply("engage")

    assert watch.seconds_since() >= 3 * LEASE_MS / 1000 + 0.01


def test_acknowledgement__of_a_drift_only__waits_too(watch: Watch) -> None:
    run_sql("UPDATE system_metadata SET notes = 'by SQL'")

    done = apply("reopen")

    assert not done.changed
    assert "drift" in Event.objects.values_list("action", flat=True)
    assert watch.seconds_since() >= LEASE_MS / 1000 + 0.01


def test_acknowledgement__with_no_lease__takes_no_time(watch: Watch) -> None:
    set_lease(0)

    apply("engage")

    assert watch.seconds_since() >= 0.01
    assert watch.waited[-1] == 0


@pytest.mark.parametrize(("first", "second"), [(LEASE_MS, 0), (0, LEASE_MS), (LEASE_MS, LEASE_MS)])
def test_acknowledgement__of_a_lease__waits_the_longer_one(watch: Watch, first: int, second: int) -> None:
    set_lease(first)

    set_lease(second)

    assert watch.seconds_since() >= LEASE_MS / 1000 + 0.01
    assert watch.waited[-1] == LEASE_MS


def test_acknowledgement__just_after_a_lease_was_lowered__waits_the_longer_one(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever lowered it is still waiting; somebody else's stop must not come before that."""
    with monkeypatch.context() as patch:
        patch.setattr(leases, "wait_out", lambda lease_ms: None)
        set_lease(0)
    monkeypatch.setattr(history, "CLOCK_SKEW", timedelta(minutes=5))

    apply("engage")

    assert watch.seconds_since() >= LEASE_MS / 1000 + 0.01


def test_acknowledgement__after_a_lease_was_lowered_by_sql__waits_the_longer_one_twice(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first to come finds the drift, the next only the event of it."""
    run_sql("UPDATE go_live_state SET lease_ms = 0")
    monkeypatch.setattr(history, "CLOCK_SKEW", timedelta(minutes=5))

    for _ in range(2):
        apply("engage")
        assert watch.seconds_since() >= LEASE_MS / 1000 + 0.01


def test_refusal__waits_for_nothing(watch: Watch) -> None:
    with pytest.raises(PermissionRequiredError):
        apply("engage", actor=make_actor(without="golive.engage_kill_switch"))
    table, verb, when = FAULTS["event"]
    with failing_writes(table, verb, when=when), pytest.raises(NotAppliedError):
        apply("engage")

    assert watch.commits == []


def test_wait__that_returns_early__is_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: real(seconds / 2))
    began = leases.boottime()

    leases.wait_out(50)

    assert leases.boottime() - began >= 0.06


def test_wait__takes_nothing_from_the_time_for_the_database(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock of the leases on which only the wait takes time: an hour, and no other wait is given back."""
    hour, now = 3600.0, [leases.boottime()]
    monkeypatch.setattr(leases, "boottime", lambda: now[0])
    monkeypatch.setattr(leases, "wait_out", lambda lease_ms: now.append(now.pop() + hour))

    with database_deadline(60.0):
        apply("engage")
        left = remaining_seconds()

    assert left is not None
    assert hour < left <= hour + 60.0


def test_change__of_this_process__is_seen_by_it_at_once() -> None:
    go_live()
    assert snapshots.read_snapshot().decision.allowed
    seen: list[bool] = []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leases, "wait_out", lambda ms: seen.append(snapshots.read_snapshot().decision.allowed))
        apply("engage")

    assert seen == [False]


# -- the lease itself --------------------------------------------------------------------------------------------------


def test_lease__set__is_recorded_and_leaves_who_worked_the_switches() -> None:
    apply("engage", reason="Payments fail", actor=make_actor("ann"))
    set_lease(100)
    event = newest()
    set_lease(100)

    assert (event.action, event.subject, event.changed) == ("lease", GO_LIVE_STATE, True)
    assert (event.before["lease_ms"], event.after["lease_ms"]) == (250, 100)  # type: ignore[index]
    assert (newest().action, newest().changed, newest().sequence) == ("lease", False, event.sequence + 1)
    row = run_sql("SELECT lease_ms, revision, reason, changed_by FROM go_live_state")
    assert row == [(100, 3, "Payments fail", "ann")]
    check_sound()


@pytest.mark.parametrize("value", [-1, 5001, 0.5, "250", True, None])
def test_lease__that_is_none__is_refused_with_the_limits(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match="0 to 5000"):
        apply_change(LEASE, actor=make_actor(), reason="", channel=Channel.CLI, fields={"lease_ms": value})

    assert run_sql("SELECT lease_ms FROM go_live_state") == [(250,)]
