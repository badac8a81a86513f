"""The promise broken on purpose: each breach is found by the checker, by name, and the same without it is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest

from tests.consistency.duels import Duel, Fight, start_service
from tests.consistency.record import Outcome
from tests.consistency.sabotage import SABOTAGES, SLOW
from tests.consistency.standby import StandbyServer
from tests.consistency.testbed import make_environment, prepare_database
from tests.support.postgres import PostgresServer
from tests.support.server import GunicornServer

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]

# A refresh takes longer than the lease and its margin, and two of them less than a request has patience for.
SLOW_MS, SHORT_LEASE_MS = 300, 50
LEASE_MS = 250
DATABASE = "valhalla"
# Most breaches show at the first stop; one that never shows in so many is not found.
ROUNDS, SOUND_ROUNDS = 12, 2


@dataclass(frozen=True)
class Bench:
    """A server with a migrated database, and a sound service on it that makes the changes."""

    server: PostgresServer
    token: str
    sound: GunicornServer
    stack: ExitStack

    @property
    def url(self) -> str:
        return self.server.url(DATABASE)

    def duel(self, *, writer: str = "", reader: str = "", read_url: str = "", slow_ms: int = 0) -> Duel:
        """With these sabotages; `read_url` is the database of the service that is read, if not the one written."""
        writing = start_service(self.stack, self.url, writer) if writer else self.sound
        reading = start_service(self.stack, read_url or self.url, reader, **{SLOW: str(slow_ms)})
        return Duel(writing, reading, self.url, self.token)

    def set_lease(self, duel: Duel, lease_ms: int) -> None:
        if self.server.execute("SELECT lease_ms FROM go_live_state", DATABASE) != [(lease_ms,)]:
            assert duel.operators.set_lease(lease_ms).outcome is Outcome.ACKNOWLEDGED


@pytest.fixture(scope="module")
def shared() -> Iterator[Bench]:
    with ExitStack() as stack:
        server = stack.enter_context(PostgresServer())
        url = server.create_database(DATABASE)
        token = prepare_database(make_environment(url))
        yield Bench(server, token, start_service(stack, url), stack)


@pytest.fixture
def bench(shared: Bench) -> Iterator[Bench]:
    """What a test starts is stopped after it."""
    with ExitStack() as stack:
        yield replace(shared, stack=stack)


def assert_caught(fight: Fight) -> None:
    """An allowing answer to a request that was sent after a stop was acknowledged; both are named."""
    assert fight.wrong_allowed, f"not caught in {len(fight.reads)} answers, {fight.allowed} of them allowing"
    assert any(
        "answered ALLOWED: sent" in each and "after the acknowledgement of engage by api" in each
        for each in fight.violations
    )


def assert_sound(fight: Fight) -> None:
    assert fight.violations == []
    assert fight.problems == []
    assert fight.allowed > 10
    assert fight.sharp > 10


@pytest.mark.parametrize(
    ("writer", "times"), [("", 2), ("wait-removed", 1), ("no-op-does-not-wait", 2)], ids=lambda value: value or "sound"
)
def test_writer__that_does_not_wait__is_caught(bench: Bench, writer: str, times: int) -> None:
    duel = bench.duel(writer=writer)
    bench.set_lease(duel, LEASE_MS)

    fight = duel.fight(rounds=ROUNDS if writer else SOUND_ROUNDS, stop=lambda: duel.stop(times=times))

    if writer:
        assert_caught(fight)
    else:
        assert_sound(fight)


@pytest.mark.parametrize(
    "reader", ["", "stale-refresh-joined", "lease-from-after-select"], ids=lambda value: value or "sound"
)
def test_reader__that_uses_a_read_for_too_long__is_caught(bench: Bench, reader: str) -> None:
    duel = bench.duel(reader=reader, slow_ms=SLOW_MS)
    bench.set_lease(duel, SHORT_LEASE_MS)

    fight = duel.fight(rounds=ROUNDS if reader else SOUND_ROUNDS, stop=duel.stop)

    if reader:
        assert_caught(fight)
    else:
        assert_sound(fight)


# -- a standby ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def standby(shared: Bench) -> Iterator[StandbyServer]:
    with StandbyServer(password=shared.server.password, primary=shared.server) as server:
        yield server


@pytest.mark.parametrize("reader", ["", "standby-read"], ids=lambda value: value or "sound")
def test_reader__that_trusts_a_standby__is_caught(bench: Bench, standby: StandbyServer, reader: str) -> None:
    duel = bench.duel(reader=reader, read_url=standby.url(DATABASE))
    bench.stack.callback(standby.resume_replay)

    fight = duel.fight(rounds=1, before_stop=standby.hold_replay, stop=duel.stop)

    if reader:
        assert_caught(fight)
    else:
        assert fight.violations == []
        # Whoever is sent to a standby is told that nothing is known.
        assert {read.code for read in fight.reads} == {None}
        assert fight.sharp > 10


def test_mutations__of_the_design__are_all_here() -> None:
    tested = {"wait-removed", "no-op-does-not-wait", "stale-refresh-joined", "lease-from-after-select", "standby-read"}

    assert set(SABOTAGES) == tested
