"""`manage.py migrate` when something is in the way of its statements, while the service goes on serving."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command

from tests.deploys.conftest import SEED_EVENTS
from tests.deploys.project import Project, add_app
from tests.support.patience import SLACK, wait_until
from tests.support.server import GunicornServer, request

pytestmark = pytest.mark.postgresql

STATE = "/api/governance/go-live/state"
ALTER = {"0001_alter": 'migrations.RunSQL("ALTER TABLE go_live_state ADD COLUMN extra_note text"),'}
THING = 'migrations.CreateModel("Thing", [("id", models.AutoField(primary_key=True)), ("name", models.TextField())]),'
CLIENTS = 4
INDEX = """\
atomic = False
AddIndexConcurrently("thing", models.Index(fields=["name"], name="extra_thing_name")),
"""


class Clients:
    """Readers that ask for the state without a pause, each on a thread, as long as the block lasts."""

    def __init__(self, server: GunicornServer, number: int) -> None:
        self.statuses: list[int] = []
        self.seconds: list[float] = []
        self._url = server.url(STATE)
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(number)]

    def _ask(self) -> None:
        while not self._done.wait(0.02):
            began = time.monotonic()
            try:
                self.statuses.append(request("GET", self._url).status)
            except OSError:
                self.statuses.append(0)
            self.seconds.append(time.monotonic() - began)

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()
        print(f"{len(self.statuses)} requests, worst latency {max(self.seconds):.3f} s, {set(self.statuses)}")


@contextmanager
def transaction(project: Project, statement: str) -> Iterator[psycopg.Connection[Any]]:
    """A transaction that has run the statement and does not end."""
    with psycopg.connect(project.url, application_name="a long report") as connection:
        connection.execute(statement.encode())
        yield connection
        connection.rollback()


@pytest.fixture
def clients(project: Project) -> Iterator[Clients]:
    with GunicornServer(project.settings, workers=2) as server:
        yield Clients(server, CLIENTS)


def test_migrate__long_transaction_in_the_way__fails_in_time_naming_it_while_the_service_answers(
    project: Project, clients: Clients, tmp_path: Path
) -> None:
    altering = add_app(project, tmp_path, ALTER)
    statement = "SELECT  *\n FROM go_live_state"
    with transaction(project, statement) as blocker, clients:
        began = time.monotonic()
        done = altering.run("migrate", "--ddl-tries", "3")
        seconds = time.monotonic() - began
        pid = blocker.info.backend_pid

    assert done.returncode == 1
    assert seconds >= 3 * 0.5 + 2 * 2
    assert "Traceback" not in done.stderr
    assert (
        "extra.0001_alter: A lock was not acquired in 3 tries (--ddl-tries) of 500 ms (--ddl-lock-timeout)"
        in done.stderr
    )
    assert f"pid {pid} (a long report, user valhalla, idle in transaction, in a transaction since " in done.stderr
    assert "): SELECT * FROM go_live_state\n" in done.stderr
    assert "pg_terminate_backend" in done.stderr
    assert (set(clients.statuses), max(clients.seconds) < SLACK * 3) == ({200}, True)
    assert len(clients.statuses) >= CLIENTS
    assert "extra.0001_alter" not in project.applied()
    altering.migrate()


def test_migrate__long_transaction_ends_meanwhile__a_later_try_succeeds_while_the_service_answers(
    project: Project, clients: Clients, tmp_path: Path
) -> None:
    altering = add_app(project, tmp_path, ALTER)
    with transaction(project, "LOCK TABLE go_live_state IN ROW SHARE MODE") as blocker, clients:
        process = altering.start("migrate")
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        told = next(line for line in lines if "Trying again (1 of 10). Blocked by:" in line)
        assert f"pid {blocker.info.backend_pid} (a long report" in next(lines)
        blocker.rollback()
        output, errors = process.communicate(timeout=60)

    assert process.returncode == 0, output + errors
    assert "canceling statement due to lock timeout" in told
    assert (set(clients.statuses), max(clients.seconds) < SLACK * 3) == ({200}, True)
    assert project.events() == [*SEED_EVENTS, ("deploy", "migrate")]


def test_migrate__statement_too_long__is_rolled_back_and_told(project: Project, tmp_path: Path) -> None:
    slow = add_app(project, tmp_path, {"0001_slow": 'migrations.RunSQL("SELECT pg_sleep(60)"),'})

    done = slow.run("migrate", "--ddl-statement-timeout", "3000")

    assert done.returncode == 1
    assert "extra.0001_slow: canceling statement due to statement timeout (--ddl-statement-timeout is 3000 ms)" in (
        done.stderr
    )
    assert "extra.0001_slow" not in project.applied()


def test_migrate__row_locked_when_the_deploy_is_recorded__fails_naming_it_and_the_next_one_records(
    project: Project, tmp_path: Path
) -> None:
    more = add_app(project, tmp_path, {"0001_thing": THING})
    with transaction(project, "SELECT * FROM go_live_state FOR UPDATE") as blocker:
        done = more.run("migrate", "--ddl-tries", "1")
        pid = blocker.info.backend_pid

    assert done.returncode == 1
    assert f"pid {pid} (a long report" in done.stderr
    assert ("extra.0001_thing" in project.applied(), project.events()) == (True, SEED_EVENTS)
    more.migrate()
    assert project.query("SELECT after -> 'applied' FROM golive_event WHERE sequence = 4") == [(["extra.0001_thing"],)]


def test_migrate__index_made_concurrently__waits_longer_than_for_a_table_lock(project: Project, tmp_path: Path) -> None:
    """Who waits like this is in nobody's way, and giving up would leave an invalid index."""
    add_app(project, tmp_path, {"0001_thing": THING}).migrate()
    more = add_app(project, tmp_path, {"0001_thing": THING, "0002_index": INDEX})
    with transaction(project, "INSERT INTO extra_thing (name) VALUES ('x')") as blocker:
        process = more.start("migrate", "--ddl-lock-timeout", "200")
        waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'CREATE INDEX CONC%'"
        await_rows(lambda: project.query(waiting))
        time.sleep(1)
        blocker.commit()
        output, errors = process.communicate(timeout=60)

    assert process.returncode == 0, output + errors
    is_valid = project.query("SELECT indisvalid FROM pg_index WHERE indexrelid = 'extra_thing_name'::regclass")
    assert is_valid == [(True,)]


def test_migrate__migration_that_is_not_atomic_cut_off__is_not_tried_again_and_says_so(
    project: Project, tmp_path: Path
) -> None:
    add_app(project, tmp_path, {"0001_thing": THING}).migrate()
    more = add_app(project, tmp_path, {"0001_thing": THING, "0002_index": INDEX})
    with transaction(project, "INSERT INTO extra_thing (name) VALUES ('x')") as blocker:
        done = more.run("migrate", "--ddl-statement-timeout", "3000")
        pid = blocker.info.backend_pid

    assert done.returncode == 1
    assert "extra.0002_index: canceling statement due to statement timeout. This migration is not atomic" in done.stderr
    assert f"pid {pid} (a long report" in done.stderr


@pytest.mark.parametrize(
    "argument",
    [
        "--ddl-tries=0",
        "--ddl-lock-timeout=0",
        "--ddl-statement-timeout=-1",
        "--lock-timeout=nan",
        "--lock-timeout=-1",
        "--lock-timeout=long",
    ],
)
def test_migrate__limit_that_is_none__is_refused(argument: str) -> None:
    with pytest.raises(CommandError, match=f"argument {argument.partition('=')[0]}: must be "):
        call_command("migrate", argument)


def await_rows(query: Callable[[], list[Any]]) -> None:
    wait_until(lambda: query() != [], seconds=30)
