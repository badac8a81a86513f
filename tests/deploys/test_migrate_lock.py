"""The lock of `manage.py migrate`: who waits, who is told what, and what happens to a holder that hangs or is lost."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from golive.deploys.lock import LockError, MigrationLock
from tests.deploys.catalogue import describe_database
from tests.deploys.conftest import SEED_EVENTS, MakeProject
from tests.deploys.project import SECONDS, Project, add_app
from tests.patience import SLACK
from tests.postgres import USER, PostgresServer

pytestmark = pytest.mark.postgresql

BUSY = {"0001_busy": 'migrations.RunSQL("SELECT pg_sleep(3)"),'}
LOCK_SESSIONS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'golive %'"
)


def await_true(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    ends_at = time.monotonic() + SLACK * seconds
    while not condition():
        assert time.monotonic() < ends_at, f"{what} within {SLACK * seconds} s"
        time.sleep(0.05)


def end(process: subprocess.Popen[str], seconds: float = SECONDS) -> tuple[int, str, float]:
    """Exit code, all output, and how long it took."""
    began = time.monotonic()
    output, errors = process.communicate(timeout=seconds)
    assert "Traceback" not in errors, errors
    return process.returncode, output + errors, time.monotonic() - began


def holder_of(project: Project) -> int:
    query = (
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = x'676f'::int AND database = "
    )
    rows = project.query(f"{query}(SELECT oid FROM pg_database WHERE datname = current_database())")
    return rows[0][0] if rows else 0


def await_busy(project: Project) -> None:
    busy = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT pg_sleep%'"
    await_true(lambda: bool(project.query(busy)), "it is in the middle of a migration")


@contextmanager
def frozen(project: Project, where: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A migrate that has stopped itself there; ended afterwards, whatever comes of it."""
    process = project.having(SABOTAGE=";".join([f"stop {where}", project.variables.get("SABOTAGE", "")])).start(
        "migrate", *arguments
    )
    try:
        await_true(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, "it is frozen")
        yield process
    finally:
        process.kill()
        process.communicate()


def test_migrate__holder_frozen__others_end_in_time_and_say_what_to_do(make_project: MakeProject) -> None:
    project = make_project()
    with frozen(project, "inside golive.0001_initial") as holder:
        code, output, seconds = end(project.start("migrate", "--lock-timeout", "2"))

        pid = holder_of(project)
        assert (code, seconds < SLACK * 12) == (1, True), output
        assert f"Waiting for another migrate: pid {pid} (golive migrate " in output
        assert re.search(rf"not had within 2 s .*pid {pid} \(golive migrate \S+:{holder.pid}\) from 127.0.0.1", output)
        assert re.search(rf"it works as pid \d+ \(golive migrating \S+:{holder.pid}, .*idle in transaction", output)
        assert f"SELECT pg_terminate_backend({pid})" in output


@pytest.mark.parametrize("where", ["before golive.0002_seed_singletons", "inside auth.0001_initial"])
def test_migrate__frozen_holder_thaws__both_are_done(make_project: MakeProject, where: str) -> None:
    project = make_project()
    with frozen(project, where) as first:
        second = project.start("migrate", "--lock-timeout", "60")
        await_true(lambda: len(project.query(LOCK_SESSIONS)) == 3, "the second one waits")
        first.send_signal(signal.SIGCONT)
        assert (end(first)[0], end(second)[0]) == (0, 0)
    assert project.events() == SEED_EVENTS


@pytest.mark.parametrize(
    "where",
    [
        "before golive.0001_initial",
        "inside golive.0001_initial",
        "after golive.0001_initial",
        "inside golive.0002_seed_singletons",
    ],
)
def test_migrate__frozen_holder_loses_the_lock__the_next_one_succeeds_and_it_stops_by_itself(
    make_project: MakeProject,
    inspected: Callable[[Project], Any],
    migrated: Project,
    where: str,
) -> None:
    project = make_project()
    with frozen(project, where) as first:
        project.query(f"SELECT pg_terminate_backend({holder_of(project)})")
        code, output, _ = end(project.start("migrate", "--lock-timeout", "20"))
        assert code == 0, output
        assert "which works on without the lock" in output

        first.send_signal(signal.SIGCONT)
        code, output, seconds = end(first)

    assert (code, seconds < SLACK * 15) == (1, True), output
    assert "The connection that holds the migrate lock was lost" in output
    assert "Run migrate again." in output
    assert describe_database(project) == describe_database(migrated)
    assert inspected(project) == inspected(migrated)
    assert project.events() == SEED_EVENTS


def test_migrate__holder_that_trusts_its_lock__is_caught(make_project: MakeProject, migrated: Project) -> None:
    """The mutation: it applies what another has applied since."""
    project = make_project().sabotaged("trust-the-lock")
    with frozen(project, "after golive.0001_initial") as first:
        project.query(f"SELECT pg_terminate_backend({holder_of(project)})")
        project.migrate()
        first.send_signal(signal.SIGCONT)
        first.communicate(timeout=SECONDS)

    assert describe_database(project) != describe_database(migrated)


def test_migrate__database_restarted_in_the_middle__it_ends_and_the_waiting_one_succeeds(
    project: Project, server: PostgresServer, tmp_path: Path
) -> None:
    project = add_app(project, tmp_path, BUSY)
    first = project.start("migrate")
    await_busy(project)
    second = project.start("migrate", "--lock-timeout", "60")
    await_true(lambda: len(project.query(LOCK_SESSIONS)) == 3, "the second one waits")

    server.stop("immediate")
    code, output, seconds = end(first)
    time.sleep(1)
    server.start_again()

    assert (code, seconds < SLACK * 10) == (1, True), output
    assert "The connection that holds the migrate lock was lost" in output
    code, output, _ = end(second)
    assert code == 0, output
    assert "Waiting: the database is away" in output
    assert project.events() == [*SEED_EVENTS, ("deploy", "migrate")]


def test_migrate__database_hangs_in_the_middle__it_ends_and_the_next_one_succeeds(
    project: Project, server: PostgresServer, tmp_path: Path
) -> None:
    project = add_app(project, tmp_path, BUSY)
    process = project.sabotaged("hurry").start("migrate")
    await_busy(project)
    server.freeze()
    try:
        code, output, seconds = end(process)
        refused, told, waited = end(project.sabotaged("hurry").start("migrate", "--lock-timeout", "1"))
    finally:
        server.thaw()

    assert (code, seconds < SLACK * 10) == (1, True), output
    assert "the database did not answer in time" in output
    assert (refused, waited < SLACK * 15) == (1, True)
    assert "The database cannot be reached" in told
    project.migrate()


def test_migrate__database_down__says_so_at_once(make_project: MakeProject) -> None:
    code, output, seconds = end(Project("postgresql://valhalla:secret-word@127.0.0.1:1/valhalla").start("migrate"))

    assert (code, seconds < SLACK * 10) == (1, True)
    assert "The database cannot be reached: connection failed" in output
    assert "secret-word" not in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_migrate__ended_by_a_signal__the_lock_is_free(project: Project, tmp_path: Path, number: signal.Signals) -> None:
    project = add_app(project, tmp_path, {"0001_busy": 'migrations.RunSQL("SELECT pg_sleep(60)"),'})
    process = project.start("migrate")
    await_busy(project)

    process.send_signal(number)
    process.communicate(timeout=SECONDS)

    assert process.returncode != 0
    await_true(lambda: not holder_of(project), "the lock is free", 5)
    done = project.having(EXTRA_APPS="").run("migrate", "--lock-timeout", "5")
    assert done.returncode == 0, done.stderr


def test_migrate__migration_raises__the_lock_is_free_and_the_error_is_djangos(project: Project, tmp_path: Path) -> None:
    broken = add_app(project, tmp_path, {"0001_broken": "migrations.RunPython(lambda apps, editor: 1 / 0),"})

    done = broken.run("migrate")

    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "0 rows" not in project.migrate("--lock-timeout", "0")


def test_migrate__another_database_of_the_server__does_not_wait(make_project: MakeProject) -> None:
    one, other = make_project(), make_project()
    with frozen(one, "before golive.0001_initial"):
        other.migrate("--lock-timeout", "0")


# -- the lock itself ---------------------------------------------------------------------------------------------------


def make_lock(project: Project, timeout_seconds: float = 0) -> MigrationLock:
    parameters = psycopg.conninfo.conninfo_to_dict(project.url)
    return MigrationLock(parameters, timeout_seconds=timeout_seconds, watch_seconds=0.05, tell=lambda text: None)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_lock__left_by_an_exception__is_free_and_leaves_no_session(
    migrated: Project, error: type[BaseException]
) -> None:
    with pytest.raises(error), make_lock(migrated):
        raise error

    with make_lock(migrated) as lock:
        lock.check()
    await_true(lambda: not migrated.query(LOCK_SESSIONS), "no session is left", 5)


def test_lock__not_had__leaves_no_session(migrated: Project) -> None:
    with make_lock(migrated), pytest.raises(LockError, match="not had within 0 s"), make_lock(migrated):
        pass

    await_true(lambda: not migrated.query(LOCK_SESSIONS), "no session is left", 5)


def test_lock__its_session_ended__is_told_at_once(migrated: Project) -> None:
    with make_lock(migrated) as lock:
        migrated.query(f"SELECT pg_terminate_backend({holder_of(migrated)})")

        with pytest.raises(LockError, match="terminating connection due to administrator command"):
            lock.check()


def test_lock__given_back__the_database_can_be_a_template(project: Project, server: PostgresServer) -> None:
    name = project.name
    for _ in range(3):
        with make_lock(project):
            pass
        server.execute(f"CREATE DATABASE {name}_copy TEMPLATE {name} STRATEGY file_copy")
        server.execute(f"DROP DATABASE {name}_copy")


def connect_as(project: Project, name: str) -> psycopg.Connection[Any]:
    return psycopg.connect(project.url, autocommit=True, application_name=name)


def test_lock__sessions_that_work_without_it__are_ended_in_this_database_only(
    migrated: Project, adopted: Project
) -> None:
    name = "golive migrating elsewhere:1"
    with connect_as(migrated, name) as orphan, connect_as(adopted, name) as other, connect_as(migrated, "web") as web:
        with make_lock(migrated):
            pass

        with pytest.raises(psycopg.errors.AdminShutdown):
            orphan.execute("SELECT 1")
        assert [connection.execute("SELECT 1").fetchone() for connection in (other, web)] == [(1,), (1,)]


def test_lock__session_of_another_role_works_without_it__is_refused_naming_it(
    migrated: Project, server: PostgresServer
) -> None:
    server.execute("CREATE ROLE plain LOGIN PASSWORD 'plain'")
    plain = Project(migrated.url.replace(f"{USER}:{server.password}", "plain:plain"))
    with connect_as(migrated, "golive migrating elsewhere:1") as orphan:
        pid = orphan.info.backend_pid

        with pytest.raises(LockError, match=rf"as pid {pid}, .*pg_terminate_backend\({pid}\)"), make_lock(plain):
            pass
