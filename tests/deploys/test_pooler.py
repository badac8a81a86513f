"""`manage.py migrate` where a connection pooler stands before the database."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from golive.deploys.sessions import are_sessions_dedicated, is_direct
from tests.deploys.conftest import SEED_EVENTS, MakeProject
from tests.deploys.pgbouncer import pgbouncer
from tests.deploys.project import Project
from tests.run import NO_POOLER, find_pgbouncer
from tests.support.postgres import PostgresServer

pytestmark = [pytest.mark.postgresql, pytest.mark.pooler]

REFUSAL = "Set DATABASE_DIRECT_URL to the URL of the database itself"


@pytest.fixture(scope="module", params=["transaction", "transaction in a ring", "session"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def port(server: PostgresServer, mode: str) -> Iterator[int]:
    program = find_pgbouncer()
    assert program is not None, NO_POOLER
    with pgbouncer(program, server, mode) as port:
        yield port


@pytest.fixture
def direct(make_project: MakeProject) -> Project:
    return make_project()


@pytest.fixture
def pooled(direct: Project, server: PostgresServer, port: int) -> Project:
    """The same database through the pooler."""
    return Project(direct.url.replace(f":{server.port}/", f":{port}/"))


def test_migrate__pooler__is_refused_unless_it_keeps_sessions(pooled: Project, direct: Project, mode: str) -> None:
    done = pooled.run("migrate", "-v1")

    assert "Traceback" not in done.stderr
    if mode == "session":
        assert done.returncode == 0, done.stderr
        assert direct.events() == SEED_EVENTS
    else:
        assert done.returncode == 1
        assert REFUSAL in done.stderr
        assert direct.query("SELECT count(*) FROM pg_class WHERE relname = 'django_migrations'") == [(0,)]
        # A lock that was taken would stay with a session of the pool.
        assert direct.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]


def test_migrate__pooler_and_a_direct_url__goes_past_it(pooled: Project, direct: Project, mode: str) -> None:
    project = pooled.having(DATABASE_DIRECT_URL=direct.url)

    processes = [project.start("migrate") for _ in range(3)]
    outputs = [process.communicate(timeout=60) for process in processes]

    assert [process.returncode for process in processes] == [0] * 3, outputs
    assert direct.events() == SEED_EVENTS
    assert project.run("golive", "status").returncode == 1
    assert "0 problems" in project.run("golive", "history", "--verify").stdout


def test_migrate__direct_url_of_a_pooler__is_refused_too(pooled: Project, mode: str) -> None:
    done = pooled.having(DATABASE_DIRECT_URL=pooled.url).run("migrate")

    assert (done.returncode, REFUSAL in done.stderr) == ((0, False) if mode == "session" else (1, True))


@pytest.mark.parametrize("idle", [0, 2, 3])
def test_sessions__pool_with_idle_servers__are_told_from_those_that_are_kept(
    pooled: Project, direct: Project, mode: str, idle: int
) -> None:
    """However many servers the pool has at hand for other clients."""
    others = [psycopg.connect(pooled.url) for _ in range(idle)]
    for connection in others:
        connection.execute("SELECT 1")
    for connection in others:
        connection.rollback()
        connection.close()
    with pooled.connect() as first, pooled.connect() as second, direct.connect() as third, direct.connect() as fourth:
        for connection in (first, second):
            connection.prepare_threshold = None
        assert (is_direct(first), is_direct(third)) == (False, True)
        assert are_sessions_dedicated(first, second) is (mode == "session")
        assert are_sessions_dedicated(third, fourth) is True
