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
from golive.deploys.record_table import RecordTable
from tests.deploys.catalogue import describe_database
from tests.deploys.conftest import SEED_EVENTS, MakeProject
from tests.deploys.project import SECONDS, Project, add_app
from tests.support.patience import SLACK, wait_until
from tests.support.postgres import USER, PostgresServer

pytestmark = pytest.mark.postgresql

BUSY = {"0001_busy": 'migrations.RunSQL("SELECT pg_sleep(3)"),'}
LOCK_SESSIONS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'golive %'"
)


def end(process: subprocess.Popen[str], seconds: float = SECONDS) -> tuple[int, str, float]:
    """Exit code, all output, and how long it took."""
    began = time.monotonic()
    output, errors = process.communicate(timeout=seconds)
    assert "Traceback" not in errors, errors
    return process.returncode, output + errors, time.monotonic() - began


def holder_of(project: Project) -> int:
    rows = project.query(
        "SELECT l.pid FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE c.relname = 'django_migrations'"
        " AND l.granted AND l.mode = 'ShareUpdateExclusiveLock'"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return rows[0][0] if rows else 0


def await_busy(project: Project) -> None:
    busy = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT pg_sleep%'"
    wait_until(lambda: bool(project.query(busy)), 30, problem="no migration is being applied")


@contextmanager
def frozen(project: Project, where: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A migrate that has stopped itself there; ended afterwards, whatever comes of it."""
    process = project.having(SABOTAGE=";".join([f"stop {where}", project.variables.get("SABOTAGE", "")])).start(
        "migrate", *arguments
    )
    try:
        wait_until(
            lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, 30, problem="it did not freeze"
        )
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
        assert re.search(
            rf"not acquired within 2 s .*pid {pid} \(golive migrate \S+:{holder.pid}\) from 127.0.0.1", output
        )
        assert re.search(rf"it works as pid \d+ \(golive migrating \S+:{holder.pid}, .*idle in transaction", output)
        assert f"SELECT pg_terminate_backend({pid})" in output


@pytest.mark.parametrize("where", ["before golive.0002_seed_singletons", "inside auth.0001_initial"])
def test_migrate__frozen_holder_thaws__both_are_done(make_project: MakeProject, where: str) -> None:
    project = make_project()
    with frozen(project, where) as first:
        second = project.start("migrate", "--lock-timeout", "60")
        wait_until(lambda: len(project.query(LOCK_SESSIONS)) == 5, 30, problem="the second one does not wait")
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
        assert "which is still working without the lock" in output

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
    wait_until(lambda: len(project.query(LOCK_SESSIONS)) == 5, 30, problem="the second one does not wait")

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
    wait_until(lambda: not holder_of(project), 5, problem="the lock is not free")
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
    return MigrationLock(
        parameters,
        find_table=lambda: RecordTable("public", "django_migrations"),
        timeout_seconds=timeout_seconds,
        watch_seconds=0.05,
        report=lambda text: None,
    )


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_lock__left_by_an_exception__is_free_and_leaves_no_session(
    migrated: Project, error: type[BaseException]
) -> None:
    with pytest.raises(error), make_lock(migrated):
        raise error

    with make_lock(migrated) as lock:
        lock.check()
    wait_until(lambda: not migrated.query(LOCK_SESSIONS), 5, problem="a session is left")


def test_lock__not_had__leaves_no_session(migrated: Project) -> None:
    with make_lock(migrated), pytest.raises(LockError, match="not acquired within 0 s"), make_lock(migrated):
        pass

    wait_until(lambda: not migrated.query(LOCK_SESSIONS), 5, problem="a session is left")


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


@pytest.fixture(scope="module")
def roles(server: PostgresServer) -> None:
    """`migrator` may migrate by a grant; `plain` may connect, and nothing else."""
    for name in ("migrator", "plain"):
        server.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'")


def as_role(project: Project, server: PostgresServer, name: str) -> Project:
    return Project(project.url.replace(f"{USER}:{server.password}", f"{name}:{name}"))


def test_lock__session_of_another_role_works_without_it__is_refused_naming_it(
    project: Project, server: PostgresServer, roles: None
) -> None:
    project.query("GRANT SELECT, INSERT, UPDATE ON django_migrations TO migrator")
    with connect_as(project, "golive migrating elsewhere:1") as orphan:
        pid, lock = orphan.info.backend_pid, make_lock(as_role(project, server, "migrator"))

        with pytest.raises(LockError, match=rf"as pid {pid}, .*pg_terminate_backend\({pid}\)"), lock:
            pass


# -- roles that may connect, and nothing else --------------------------------------------------------------------------

ADVISORY = "SELECT pg_advisory_lock(26479, 1818850917)"


def test_migrate__advisory_lock_of_a_role_that_may_only_connect__is_passed_over(
    make_project: MakeProject, server: PostgresServer, roles: None
) -> None:
    """And two migrates exclude each other all the same, the first one on an empty database."""
    project = make_project()
    with as_role(project, server, "plain").connect() as hostile:
        hostile.execute(ADVISORY)
        with frozen(project, "inside golive.0001_initial") as first:
            code, output, _ = end(project.start("migrate", "--lock-timeout", "1"))

            assert code == 1, output
            pid = hostile.info.backend_pid
            assert re.search(rf"Ignoring the advisory lock of pid {pid} .*user plain.* could not migrate", output)
            assert f"Another migrate holds it: pid {holder_of(project)} (golive migrate " in output
            first.send_signal(signal.SIGCONT)
            assert end(first)[0] == 0

    assert project.events() == SEED_EVENTS


def test_lock__taken_by_a_role_that_may_only_connect__is_denied(
    migrated: Project, server: PostgresServer, roles: None
) -> None:
    plain = as_role(migrated, server, "plain")

    with pytest.raises(LockError, match=r"The role plain may not lock .*django_migrations"), make_lock(plain):
        pass
    with plain.connect() as hostile, hostile.transaction(), pytest.raises(psycopg.errors.InsufficientPrivilege):
        hostile.execute("LOCK TABLE django_migrations IN SHARE UPDATE EXCLUSIVE MODE")


def test_lock__session_of_a_role_that_may_only_connect_calls_itself_a_worker__is_let_be(
    migrated: Project, server: PostgresServer, roles: None
) -> None:
    with connect_as(as_role(migrated, server, "plain"), "golive migrating elsewhere:1") as hostile:
        with make_lock(migrated):
            pass

        assert hostile.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("role", [USER, "migrator"])
def test_lock__advisory_lock_of_a_role_that_may_migrate__is_waited_for(
    project: Project, server: PostgresServer, roles: None, role: str
) -> None:
    """A migrate of the release before, which has no other lock."""
    project.query("GRANT SELECT, INSERT ON django_migrations TO migrator")
    earlier = project if role == USER else as_role(project, server, role)
    with connect_as(earlier, "golive migrate earlier:1") as holder:
        holder.execute(ADVISORY)
        pid = holder.info.backend_pid

        with pytest.raises(LockError, match=rf"Another migrate holds it: pid {pid} "), make_lock(project):
            pass


def test_lock__held__a_migrate_of_the_release_before_waits(migrated: Project) -> None:
    with make_lock(migrated), migrated.connect() as earlier:
        assert earlier.execute(ADVISORY.replace("pg_advisory_lock", "pg_try_advisory_lock")).fetchone() == (False,)


def test_lock__holder_without_a_name__is_named_without_a_worker_that_is_another_session(project: Project) -> None:
    with connect_as(project, "") as holder, connect_as(project, "") as bystander:
        bystander.execute("SELECT 1")
        pid = holder.info.backend_pid
        with holder.transaction():
            holder.execute("LOCK TABLE django_migrations IN SHARE UPDATE EXCLUSIVE MODE")

            with pytest.raises(LockError) as refused, make_lock(project):
                pass

    assert f"Another session that is not a migrate holds it: pid {pid} (no name)" in str(refused.value)
    assert "it works as" not in str(refused.value)


def test_lock__held__keeps_nobody_waiting_but_another_migrate(project: Project) -> None:
    with make_lock(project) as lock, project.connect() as other:
        other.execute("SET lock_timeout = '5s'")
        lock.check()
        other.execute("CREATE INDEX CONCURRENTLY another ON golive_event (at)")
        other.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('x', '0001', now())")
        other.execute("VACUUM (SKIP_LOCKED) django_migrations")
        with other.transaction():
            other.execute("LOCK TABLE django_migrations IN ACCESS SHARE MODE")  # as pg_dump does
        snapshots = other.execute(
            f"SELECT backend_xmin FROM pg_stat_activity WHERE pid = {holder_of(project)} AND state LIKE 'idle%'"
        )
        assert snapshots.fetchall() == [(None,)]


def test_lock__idle_timeouts_of_the_database__do_not_end_it(project: Project) -> None:
    for name in ("idle_in_transaction_session_timeout", "transaction_timeout", "idle_session_timeout"):
        project.query(f"ALTER DATABASE {project.name} SET {name} = '300ms'")
    with make_lock(project) as lock:
        time.sleep(1)
        lock.check()


@pytest.mark.parametrize("arguments", [("nosuchapp",), ("golive", "zero")])
def test_migrate__applies_nothing_on_an_empty_database__leaves_it_empty(
    make_project: MakeProject, arguments: tuple[str, ...]
) -> None:
    project = make_project()

    project.run("migrate", *arguments)

    assert project.query("SELECT relname FROM pg_class WHERE oid >= 16384") == []
