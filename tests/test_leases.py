"""Every acknowledgement comes after the commit and the lease, whichever way the change was made; nothing else waits."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from django.db import connection

from golive import commits, controls, history, leases, snapshots, state
from golive.controls import Difference
from golive.deadline import database_deadline, remaining_seconds
from golive.domain.changes import LEASE, Channel
from golive.domain.errors import NotAppliedError, RefusedError
from golive.management.commands.golive import Command
from golive.models import Event
from tests.api.callers import ALERTMANAGER, bearer, call, make_client, make_token
from tests.controls_kit import NAMES, apply, apply_effectively, go_live, newest, prepare
from tests.factories import make_actor
from tests.faults import failing_writes, run_sql
from tests.http.rooms import ask
from tests.people import make_user, sign_in

pytestmark = [pytest.mark.usefixtures("database"), pytest.mark.leased]

LEASE_MS, LEASE_SECONDS = 250, 0.25
MARGIN_SECONDS = 0.01


@dataclass(frozen=True)
class Wait:
    """What stood when a writer began to wait, and how long it waited."""

    seconds: float
    events: int
    is_in_transaction: bool


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Wait]]:
    """Each wait of a writer, on a clock that only waiting moves, so that the test need not."""
    now, seen = [1000.0], list[Wait]()

    def sleep(seconds: float) -> None:
        seen.append(Wait(seconds, count_committed(), connection.in_atomic_block))
        now[0] += seconds

    with monkeypatch.context() as patch:
        patch.setattr(leases, "boottime", lambda: now[0])
        patch.setattr(leases, "time", type("FakeTime", (), {"sleep": staticmethod(sleep)}))
        yield seen


def count_committed() -> int:
    return int(run_sql("SELECT count(*) FROM golive_event")[0][0])


def assert_waited_once(waits: list[Wait], *, lease_ms: int = LEASE_MS) -> None:
    (wait,) = waits
    assert wait.seconds == pytest.approx(lease_ms / 1000 + MARGIN_SECONDS)
    assert not wait.is_in_transaction
    assert wait.events == Event.objects.count(), "the wait began before the commit"


# -- each way to make a change -----------------------------------------------------------------------------------------


def by_api() -> None:
    assert call(make_client(), "engage", token=make_token()).status_code == 200


def by_hook() -> None:
    message = json.dumps({"version": "4", "status": "firing", "alerts": [{"status": "firing", "labels": {}}]})
    response = make_client().post(
        ALERTMANAGER, data=message, content_type="application/json", headers=bearer(make_token())
    )
    assert response.status_code == 200


def by_admin() -> None:
    assert ask(sign_in(make_user(is_superuser=True)), "engage").status_code == 302


def by_command() -> None:
    run_command("engage")


def by_reconcile() -> None:
    controls.reconcile(actor=make_actor(), reason="why", channel=Channel.CLI)


def run_command(*arguments: str) -> int:
    try:
        Command().run_from_argv(["manage.py", "golive", *arguments])
    except SystemExit as error:
        return int(error.code or 0)
    return 0


CHANNELS: dict[str, Callable[[], None]] = {
    "api": by_api,
    "hook": by_hook,
    "admin": by_admin,
    "command": by_command,
}


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("is_effective", [True, False], ids=["change", "no-op"])
def test_stop__by_any_channel__is_acknowledged_after_commit_and_lease(
    waits: list[Wait], channel: str, is_effective: bool
) -> None:
    if is_effective:
        go_live()
    waits.clear()

    CHANNELS[channel]()

    assert (newest().action, newest().changed) == ("engage", is_effective)
    assert_waited_once(waits)


@pytest.mark.parametrize("name", NAMES)
def test_change__of_each_kind_and_again__is_acknowledged_after_the_lease(waits: list[Wait], name: str) -> None:
    prepare(name)
    for is_changed in (True, False):
        waits.clear()

        assert apply_effectively(name).changed == is_changed

        assert_waited_once(waits)


@pytest.mark.parametrize("is_altered", [True, False])
def test_reconcile__is_acknowledged_after_the_lease(waits: list[Wait], is_altered: bool) -> None:
    """Also when it finds that all agree: that is what it tells."""
    if is_altered:
        run_sql("UPDATE go_live_state SET go_live_enabled = true")

    by_reconcile()

    assert (newest().action == "reconcile") == is_altered
    assert_waited_once(waits)


def test_deploy__recorded__waits_like_the_rest(waits: list[Wait]) -> None:
    controls.record_deploy(Difference(("golive.0001",), ()), release=None)

    assert_waited_once(waits)


def test_refusal__waits_for_nothing(waits: list[Wait]) -> None:
    with pytest.raises(RefusedError):
        apply("release", reason="")

    assert waits == []


def test_change_that_is_not_applied__waits_for_nothing(waits: list[Wait]) -> None:
    with failing_writes("golive_event", "INSERT"), pytest.raises(NotAppliedError):
        apply("engage")

    assert waits == []


# -- which lease -------------------------------------------------------------------------------------------------------


def set_lease(lease_ms: int) -> controls.Acknowledgement:
    return controls.apply_change(
        LEASE, actor=make_actor(), reason="why", channel=Channel.CLI, fields={"lease_ms": lease_ms}
    )


@pytest.mark.parametrize(("lease_ms", "waited_ms"), [(0, LEASE_MS), (100, LEASE_MS), (250, 250), (5000, 5000)])
def test_lease__changed__waits_for_the_longer_one(waits: list[Wait], lease_ms: int, waited_ms: int) -> None:
    set_lease(lease_ms)

    assert_waited_once(waits, lease_ms=waited_ms)


def test_lease__lowered_by_somebody_who_still_waits__counts_for_the_next_change_too(waits: list[Wait]) -> None:
    """Two operators: the second one's stop may not be acknowledged on the short lease while readers hold the long."""
    set_lease(5000)
    set_lease(0)
    waits.clear()

    apply("engage")

    assert_waited_once(waits, lease_ms=5000)


def test_lease__lowered_long_ago__does_not_count(waits: list[Wait], monkeypatch: pytest.MonkeyPatch) -> None:
    set_lease(0)
    waits.clear()
    monkeypatch.setattr(history, "CLOCK_SKEW", history.CLOCK_SKEW * 0)
    time.sleep(LEASE_SECONDS + 0.05)

    apply("engage")

    assert_waited_once(waits, lease_ms=0)


def test_lease__lowered_by_sql__the_recorded_one_counts(waits: list[Wait]) -> None:
    run_sql("UPDATE go_live_state SET lease_ms = 0")

    apply("engage")

    assert_waited_once(waits)


def test_lease__raised_by_sql__counts(waits: list[Wait]) -> None:
    run_sql("UPDATE go_live_state SET lease_ms = 4000")

    apply("engage")

    assert_waited_once(waits, lease_ms=4000)


# -- on the real clock -------------------------------------------------------------------------------------------------


def test_wait__woken_early__goes_on_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: kept(seconds / 3))
    began = leases.boottime()

    leases.wait_out(100)

    assert leases.boottime() - began >= 0.1 + MARGIN_SECONDS


def test_stop__seen_by_a_reader_of_the_process__before_it_is_acknowledged() -> None:
    """No sleep is faked: when the change is acknowledged, a snapshot from before it is over."""
    go_live()
    assert snapshots.read_snapshot().decision.allowed
    other = snapshots.Store(state.read_rows)
    try:
        held = other.read()
        assert held.decision.allowed

        apply("engage")

        assert leases.boottime() > held.expires_at
        assert not other.read().decision.allowed
        assert not snapshots.read_snapshot().decision.allowed
    finally:
        other.stop()


def test_acknowledge__inside_a_deadline__gives_the_time_back() -> None:
    """The session is written after a long wait, and must still have its time."""
    with database_deadline(1.0):
        commits.acknowledge(300, "default")
        left = remaining_seconds()

    assert left is not None
    assert 0.9 < left <= 1.0


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["0", "40", "5000"])
def test_command__within_the_limits__sets_and_records_it(waits: list[Wait], text: str) -> None:
    assert run_command("lease", text, "--reason", "Less load.", "--actor", "ann") == 0

    event = newest()
    assert run_sql("SELECT lease_ms, revision FROM go_live_state") == [(int(text), 2)]
    assert (event.action, event.actor, event.reason, event.changed) == ("lease", "ann", "Less load.", True)
    assert (event.before or {})["lease_ms"] == LEASE_MS
    assert (event.after or {})["lease_ms"] == int(text)


def test_command__as_it_is__is_recorded_as_unchanged(waits: list[Wait], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("lease", str(LEASE_MS)) == 0

    assert (newest().action, newest().changed) == ("lease", False)
    assert run_sql("SELECT revision FROM go_live_state") == [(1,)]
    assert_waited_once(waits)


@pytest.mark.parametrize("text", ["5001", "-1", "1.5", "", "abc", "99999", "٣", "1e2", "+5"])
def test_command__any_other_value__exits_2_and_names_the_limits(
    waits: list[Wait], capsys: pytest.CaptureFixture[str], text: str
) -> None:
    before = count_committed()

    assert run_command("lease", text) == 2

    assert "from 0 to 5000" in capsys.readouterr().err
    assert count_committed() == before


def test_command__keeps_who_worked_the_switches(waits: list[Wait]) -> None:
    go_live()

    run_command("lease", "100", "--actor", "zoe")

    assert run_sql("SELECT changed_by FROM go_live_state") == [("ann",)]
