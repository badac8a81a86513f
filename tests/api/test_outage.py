"""A stop while the database fails: 200 only with a row in the table, and an answer within 5 seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import psycopg
import pytest

from tests.api.proxy import Cut, CuttingProxy
from tests.api.service import Service, running_service
from tests.support.patience import SLACK
from tests.support.postgres import PostgresServer
from tests.support.server import Response

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]

ANSWER_SECONDS = 5.0


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="module")
def service(postgres: PostgresServer) -> Iterator[Service]:
    url = postgres.create_database("outage")
    with running_service(database_url=url) as running:
        running.token()
        yield running


def connect(service: Service) -> psycopg.Connection[Any]:
    return psycopg.connect(service.environment["DATABASE_URL"], autocommit=True)


def count_events(service: Service, reason: str) -> int:
    with connect(service) as connection:
        row = connection.execute("SELECT count(*) FROM golive_event WHERE reason = %s", [reason]).fetchone()
    assert row is not None
    return int(row[0])


def engage(service: Service, reason: str) -> Response:
    answer = service.call("engage", reason=reason)
    assert answer.seconds < SLACK * ANSWER_SECONDS
    return answer


@pytest.mark.parametrize("table", ["go_live_state", "golive_apitoken", "golive_credential_failure"])
def test_engage__somebody_holds_the_lock__is_not_applied_in_time(service: Service, table: str) -> None:
    """Of the row, and of whole tables that credentials need. The throttle concerns no valid token."""
    reason = f"Lock on {table}"
    with connect(service) as holder, holder.transaction():
        holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        answer = engage(service, reason)

    if table == "golive_credential_failure":
        assert (answer.status, count_events(service, reason)) == (200, 1)
    else:
        assert (answer.status, answer.json()["code"]) == (503, "NOT_APPLIED")
        assert answer.headers["Retry-After"] == "1"
        time.sleep(0.3)
        assert count_events(service, reason) == 0
    assert engage(service, f"{reason}, again").status == 200


def test_engage__somebody_holds_the_row__is_not_applied_in_time(service: Service) -> None:
    with connect(service) as holder, holder.transaction():
        holder.execute("SELECT * FROM go_live_state FOR UPDATE")
        answer = engage(service, "Row held")

    assert (answer.status, answer.json()["code"]) == (503, "NOT_APPLIED")
    assert count_events(service, "Row held") == 0


def test_engage__somebody_holds_the_token__is_done_at_once(service: Service) -> None:
    """The note of its last use waits for nobody."""
    blocked = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    waits: list[object] = []
    with connect(service) as holder, connect(service) as watcher, holder.transaction(), ThreadPoolExecutor(1) as pool:
        holder.execute("UPDATE golive_apitoken SET last_used_at = NULL")
        engaged = [pool.submit(engage, service, "Token held") for _ in range(8)]
        while not all(each.done() for each in engaged):
            waits += watcher.execute(blocked).fetchall()
        answers = [each.result() for each in engaged]

    assert [answer.status for answer in answers] == [200] * 8
    assert waits == []
    assert count_events(service, "Token held") == 8


@pytest.mark.parametrize(("cut", "rows"), [("before", 0), ("after", 1)])
def test_engage__connection_cut_at_commit__is_outcome_unknown(
    service: Service, postgres: PostgresServer, cut: Cut, rows: int
) -> None:
    """Whether the server had it or not: never 200, and repeating is right."""
    with closing(CuttingProxy(postgres.port)) as proxy:
        url = service.environment["DATABASE_URL"].replace(f":{postgres.port}/", f":{proxy.port}/")
        reason = f"Cut {cut}"
        with running_service(database_url=url, workers=1) as cut_off:
            token = service.token()
            proxy.arm(cut)
            answer = cut_off.call("engage", token=token, reason=reason)

            assert (answer.status, answer.json()["code"]) == (503, "OUTCOME_UNKNOWN")
            assert answer.seconds < SLACK * ANSWER_SECONDS
            if rows:
                assert proxy.answered.wait(60)
            assert count_events(service, reason) == rows
            assert cut_off.call("engage", token=token, reason=f"{reason}, again").status == 200
            assert count_events(service, f"{reason}, again") == 1


def test_engage__connections_used_up__is_not_applied_in_time(postgres: PostgresServer) -> None:
    postgres.execute("CREATE ROLE limited LOGIN PASSWORD 'limited'")
    postgres.create_database("limited")
    postgres.execute("ALTER DATABASE limited OWNER TO limited")
    url = f"postgresql://limited:limited@127.0.0.1:{postgres.port}/limited"
    with running_service(database_url=url) as service:
        service.token()
        postgres.execute("ALTER ROLE limited CONNECTION LIMIT 3")
        with ExitStack() as held:
            for _ in range(3):
                held.enter_context(connect(service))
            answers = [engage(service, "Full") for _ in range(4)]

        assert {(answer.status, answer.json()["code"]) for answer in answers} == {(503, "NOT_APPLIED")}
        assert count_events(service, "Full") == 0
        assert engage(service, "Room again").status == 200
        assert count_events(service, "Room again") == 1
