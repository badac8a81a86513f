"""A failover that loses an acknowledged stop: an asynchronous standby is promoted that had not received it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.consistency.standby import StandbyServer
from tests.support.faults import Proxy
from tests.support.patience import wait_until
from tests.support.postgres import PostgresServer
from tests.support.server import ROOT, clean_environment

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]

# Live, as after changes on this timeline: what else it takes to get there is not what this is about.
LIVE = "UPDATE go_live_state SET go_live_enabled = true, kill_switch_engaged = false"
PERMIT = """
import golive
try:
    with golive.execution_permit():
        print("permitted")
except golive.ExecutionDenied as denied:
    print(denied.decision.code)
"""


@dataclass
class Installation:
    """The project, whose database is behind a name that can be moved, and what is said to it."""

    environment: Mapping[str, str]

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=clean_environment({**self.environment, **variables}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def do(self, *arguments: str, **variables: str) -> str:
        done = self.run(*arguments, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def status(self, **variables: str) -> tuple[int, str]:
        done = self.run("golive", "status", **variables)
        return done.returncode, done.stdout + done.stderr


Query = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def promoted() -> Iterator[tuple[Installation, Query]]:
    """The installation after a failover, and SQL on its new primary, where an acknowledged stop is not known."""
    with PostgresServer() as primary:
        url = primary.create_database("valhalla")
        proxy = Proxy("127.0.0.1", primary.port)
        installation = Installation(
            {
                "DATABASE_URL": url.replace(f":{primary.port}/", f":{proxy.port}/"),
                "SECRET_KEY": "only-for-tests-" + "0" * 40,
                "APP_ENV": "development",
                "GOLIVE_CLOSE_ON_FAILOVER": "true",
            }
        )
        try:
            installation.do("migrate", "-v0")
            installation.do("golive", "engage", "--reason", "From now on the timeline is noted")
            assert primary.execute("SELECT timeline FROM go_live_state", "valhalla") == [(1,)]
            primary.execute(LIVE, "valhalla")
            with StandbyServer(password=primary.password, primary=primary) as standby:
                # It follows no more, so that it misses the stop.
                standby.execute("ALTER SYSTEM SET primary_conninfo = ''")
                standby.execute("SELECT pg_reload_conf()")
                wait_until(lambda: not standby.execute("SELECT FROM pg_stat_wal_receiver"), seconds=30)
                installation.do("golive", "engage", "--reason", "Stop")
                primary.kill()
                standby.execute("SELECT pg_promote()")
                proxy.lead_to("127.0.0.1", standby.port)
                yield installation, lambda statement: standby.execute(statement, "valhalla")
        finally:
            proxy.close()


@pytest.fixture
def failed_over(promoted: tuple[Installation, Query]) -> tuple[Installation, Query]:
    installation, query = promoted
    query(f"{LIVE}, timeline = 1")
    return installation, query


def test_failover__not_watched__undoes_a_stop_that_the_standby_had_not_received(
    failed_over: tuple[Installation, Query],
) -> None:
    """As docs/deploy/database.md says: it takes a synchronous standby, or the setting."""
    installation, _ = failed_over

    assert installation.status(GOLIVE_CLOSE_ON_FAILOVER="false")[0] == 0


def test_failover__watched__is_unknown_until_somebody_engages(failed_over: tuple[Installation, Query]) -> None:
    installation, query = failed_over

    code, said = installation.status()
    permit = installation.do("shell", "--no-imports", "-c", PERMIT)
    release = installation.run("golive", "release", "--override", "backend_complete", "--reason", "No")
    migrated = installation.run("migrate", "-v0")
    still, _ = installation.status()
    installation.do("golive", "engage", "--reason", "Failed over")

    assert (code, "timeline 1, now 2" in said, "Engage the kill switch" in said) == (2, True, True), said
    assert permit.strip() == "STATE_UNKNOWN"
    assert release.returncode == 2, release.stdout + release.stderr
    assert (migrated.returncode, still) == (0, 2), migrated.stderr
    assert installation.status()[0] == 1
    assert query("SELECT timeline, kill_switch_engaged FROM go_live_state") == [(2, True)]


def test_failover__watched__is_confirmed_by_reconcile_and_recorded(failed_over: tuple[Installation, Query]) -> None:
    installation, query = failed_over

    installation.do("golive", "reconcile", "--reason", "Looked: nothing was lost")

    assert installation.status()[0] == 0
    assert query("SELECT timeline FROM go_live_state") == [(2,)]
    noted = query("SELECT failed_checks FROM golive_event WHERE action = 'reconcile' ORDER BY sequence DESC")[0][0]
    assert "failover:go_live_state@1" in [problem["id"] for problem in noted]
    installation.do("golive", "history", "--verify")


def test_failover__timeline_was_never_noted__is_unknown(failed_over: tuple[Installation, Query]) -> None:
    installation, query = failed_over
    query("UPDATE go_live_state SET timeline = NULL")

    code, said = installation.status()

    assert (code, "No change has noted the timeline" in said) == (2, True), said
