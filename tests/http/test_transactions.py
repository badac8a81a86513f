"""A request is all or nothing, and the next one on the same connection works.

In January one failed statement poisoned a connection, and the requests after it died with "current transaction is
aborted". The views of `tests.faulty` fail in the middle in every way that did, or could, do that.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from golive.middleware import atomic_aliases
from golive.web.enforcement import find_admin_views, is_marked_exempt
from tests.faulty.views import MESSAGE, TABLES
from tests.support.postgres import PostgresServer
from tests.support.server import ROOT, GunicornServer, Response, clean_environment, request

ABORTED = "current transaction is aborted"


# -- which views are atomic --------------------------------------------------------------------------------------------

# Each reads without a transaction, or changes something in one of its own, which it must see committed before it
# answers. Everything else is atomic; a new view takes its stand here.
NON_ATOMIC = {
    "admin/login/",
    # Each is one change with its event, in a transaction of its own.
    "admin:golive_apitoken_add",
    "admin:golive_apitoken_revoke",
    "golive:status-page",
    "golive:readiness",
    "golive:status",
    "golive:system-status",
    "golive:go-live-state",
    "golive:checklist",
    "golive:history",
    "golive:runbook",
    "golive:runbook-markdown",
    "golive:unknown",
    "golive:alertmanager",
    "golive:complete",
    "golive:disable",
    "golive:docs",
    "golive:edit",
    "golive:enable",
    "golive:engage",
    "golive:evaluate-all-flags",
    "golive:evaluate-flag",
    "golive:openapi",
    "golive:release",
    "golive:reopen",
    "admin:golive_golivestate_changelist",
    "admin:golive_golivestate_change",
    "admin:golive_golivestate_apply",
    "admin:golive_systemmetadata_changelist",
    "admin:golive_systemmetadata_change",
    "admin:golive_systemmetadata_apply",
}
# Django's own.
ATOMIC = {
    "^admin$",
    "admin:golive_apitoken_changelist",
    "admin:index",
    "admin:login",
    "admin:logout",
    "admin:password_change",
    "admin:password_change_done",
    "admin:autocomplete",
    "admin:jsi18n",
    "admin:view_on_site",
    "admin:app_list",
    "admin/(?P<url>.*)$",
    *(
        f"admin:{model}_{page}"
        for model in ("golive_event", "auth_group", "auth_user")
        for page in ("changelist", "add", "history", "delete", "change")
    ),
    *(f"admin/{model}/<path:object_id>/" for model in ("golive/event", "auth/group", "auth/user")),
    "admin:auth_user_password_change",
}


def find_views() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every callback of the project, by its name in the URLs, or by its path where it has none."""

    def walk(
        patterns: list[URLPattern | URLResolver], route: str, namespaces: tuple[str, ...]
    ) -> Iterator[tuple[str, Callable[..., Any]]]:
        for pattern in patterns:
            path = f"{route}{pattern.pattern}"
            if isinstance(pattern, URLResolver):
                inner = (*namespaces, pattern.namespace) if pattern.namespace else namespaces
                yield from walk(pattern.url_patterns, path, inner)
            else:
                yield ":".join((*namespaces, pattern.name)) if pattern.name else path, pattern.callback

    yield from walk(get_resolver().url_patterns, "", ())


def test_views__all__are_atomic_or_not_as_listed_here() -> None:
    views = dict(find_views())

    assert {name for name, view in views.items() if not atomic_aliases(view)} == NON_ATOMIC
    assert {name for name, view in views.items() if atomic_aliases(view) == ["default"]} == ATOMIC


def test_views__all__may_run_while_execution_is_stopped() -> None:
    """A view of this project that enforcement denied could be the one by which somebody stops, or signs in to stop."""
    of_the_admin, _ = find_admin_views(get_resolver())

    guarded = {name for name, view in find_views() if id(view) not in of_the_admin and not is_marked_exempt(view)}

    assert guarded == set()


def test_views__names__are_unique() -> None:
    """Otherwise the table above would speak of one view and mean another."""
    names = [name for name, _ in find_views()]

    assert len(names) == len(set(names))


# -- what fails, and how it is answered --------------------------------------------------------------------------------

# The path of a view in `tests.faulty` -> the statuses that are right for it.
FAILURES = {
    "raise": {500},
    "not-found": {404},
    "refuse/409": {409},
    "refuse/503": {503},
    "broken/500": {500},
    "commit": {500, 503},
    "template": {500},
}
# SQLite keeps a transaction alive after a broken statement, so a view that swallows the error may well go on.
FAILURES_ON_POSTGRESQL = {
    **FAILURES,
    "broken/200": {200, 500, 503},
    "terminated": {503},
    "terminated/200": {503},
    "terminated/409": {409},
}


def new_mark() -> str:
    return uuid.uuid4().hex


# -- in this process, on both databases --------------------------------------------------------------------------------


@pytest.fixture
def faulty(database: None, settings: Any) -> Iterator[Client]:
    """A client of the project with the failing views, and their tables in the database of the tests."""
    settings.ROOT_URLCONF = "tests.faulty.urls"
    with connection.cursor() as cursor:
        for statement in TABLES:
            cursor.execute(statement)
    try:
        yield Client(raise_request_exception=False)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE faulty_entry")
            cursor.execute("DROP TABLE faulty_parent")


def count_entries(mark: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM faulty_entry WHERE mark = %s", [mark])
        (found,) = cursor.fetchone()
    return int(found)


@pytest.mark.parametrize("path", FAILURES)
def test_request__fails_in_the_middle__leaves_nothing_and_the_next_ones_work(
    faulty: Client, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    mark, next_mark = new_mark(), new_mark()

    answer = faulty.post(f"/faulty/{path}/{mark}")
    next_answers = [faulty.post(f"/faulty/write/{next_mark}") for _ in range(3)]

    assert answer.status_code in FAILURES[path]
    assert count_entries(mark) == 0
    assert [next_answer.status_code for next_answer in next_answers] == [200, 200, 200]
    assert count_entries(next_mark) == 3
    assert ABORTED not in caplog.text


@pytest.mark.parametrize("path", ["write", "savepoint"])
def test_request__succeeds__keeps_what_it_wrote(faulty: Client, path: str) -> None:
    mark = new_mark()

    answer = faulty.post(f"/faulty/{path}/{mark}")

    assert answer.status_code == 200
    assert count_entries(mark) == 1


@pytest.mark.sqlite_only
def test_request__broken_statement_on_sqlite_answered_200__keeps_what_it_wrote(faulty: Client) -> None:
    mark = new_mark()

    answer = faulty.post(f"/faulty/broken/200/{mark}")

    assert (answer.status_code, count_entries(mark)) == (200, 1)


def test_request__unhandled_exception__is_logged_and_not_shown(
    faulty: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, logger="django.request"):
        answer = faulty.post(f"/faulty/raise/{new_mark()}")

    assert MESSAGE not in answer.content.decode()
    assert MESSAGE in caplog.text


@pytest.mark.parametrize("path", ["refuse/409", "refuse/503", "broken/500"])
def test_mutation__middleware_of_rollback_removed__a_handled_refusal_leaves_what_it_wrote(
    faulty: Client, settings: Any, path: str
) -> None:
    """What the middleware is for: Django rolls back only if the view raises. (On SQLite a broken statement too.)"""
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if not name.endswith("AtomicRequestMiddleware")]
    mark = new_mark()

    faulty.post(f"/faulty/{path}/{mark}")

    is_lost_anyway = path == "broken/500" and connection.vendor == "postgresql"
    assert count_entries(mark) == (0 if is_lost_anyway else 1)


@pytest.mark.parametrize("path", ["raise", "refuse/409", "template"])
def test_mutation__atomic_requests_off__a_failure_leaves_what_it_wrote(
    faulty: Client, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", False)
    mark = new_mark()

    faulty.post(f"/faulty/{path}/{mark}")

    assert count_entries(mark) == 1


# -- under gunicorn on PostgreSQL --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A server of the tests' own, since they restart it."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="module")
def database_url(postgres: PostgresServer) -> str:
    """A migrated database with the tables of the failing views."""
    url = postgres.create_database("faulty")
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--noinput", "--verbosity", "0"],
        cwd=ROOT,
        env=clean_environment({"DATABASE_URL": url}),
        check=True,
        timeout=120,
    )
    for statement in TABLES:
        postgres.execute(statement, "faulty")
    return url


@contextmanager
def serve_faulty(
    database_url: str, *, workers: int = 1, threads: int = 1, without: str = ""
) -> Iterator[GunicornServer]:
    """gunicorn with the failing views; one thread to a worker, so that one connection serves all its requests."""
    values = {
        "DATABASE_URL": database_url,
        "DJANGO_SETTINGS_MODULE": "tests.faulty.settings",
        "FAULTY_WITHOUT": without,
        "GUNICORN_CMD_ARGS": f"--threads {threads}",
    }
    with GunicornServer(values, workers=workers) as server:
        yield server


@pytest.fixture(scope="module")
def one_worker(database_url: str) -> Iterator[GunicornServer]:
    with serve_faulty(database_url) as server:
        yield server


@pytest.fixture(scope="module")
def two_workers(database_url: str) -> Iterator[GunicornServer]:
    with serve_faulty(database_url, workers=2) as server:
        yield server


def post(server: GunicornServer, path: str, mark: str) -> Response:
    return request("POST", server.url(f"/faulty/{path}/{mark}"))


def check_leaves_nothing(postgres: PostgresServer, server: GunicornServer, path: str) -> None:
    """One failing request: it is answered rightly, and nothing of it stays."""
    mark = new_mark()

    answer = post(server, path, mark)

    stored = postgres.execute(f"SELECT count(*) FROM faulty_entry WHERE mark = '{mark}'", "faulty")
    assert stored == [(0,)], f"something of {path} stays"
    assert answer.status in FAILURES_ON_POSTGRESQL[path], answer.text
    assert ABORTED not in answer.text
    assert MESSAGE not in answer.text


def check_works(postgres: PostgresServer, server: GunicornServer, *, times: int = 20) -> list[tuple[int, int]]:
    """So many requests in a row, reads and writes, are all answered rightly. The processes and connections used."""
    mark, used = new_mark(), []
    for number in range(times):
        if number % 4 == 3:
            answer = request("GET", server.url("/api/status"))
            assert (answer.status, answer.json()["execution"]["code"]) == (200, "KILL_SWITCH_ENGAGED"), answer.text
        else:
            answer = post(server, "write", mark)
            assert answer.status == 200, answer.text
            used.append((answer.json()["process"], answer.json()["connection"]))
    stored = postgres.execute(f"SELECT count(*) FROM faulty_entry WHERE mark = '{mark}'", "faulty")
    assert stored == [(len(used),)]
    return used


@pytest.mark.postgresql
@pytest.mark.parametrize("path", FAILURES_ON_POSTGRESQL)
def test_worker__request_fails_in_the_middle__leaves_nothing_and_the_next_20_work(
    postgres: PostgresServer, one_worker: GunicornServer, path: str
) -> None:
    (before,) = set(check_works(postgres, one_worker, times=2))

    check_leaves_nothing(postgres, one_worker, path)
    (after,) = set(check_works(postgres, one_worker))

    # The same process, and unless it was terminated the same connection: nothing was thrown away to look healthy.
    assert after[0] == before[0]
    assert (after[1] == before[1]) is not path.startswith("terminated")
    assert ABORTED not in one_worker.log_text() + postgres.log_text()
    assert path != "raise" or MESSAGE in one_worker.log_text(), "the log that was searched is the right one"


@pytest.mark.postgresql
@pytest.mark.parametrize("path", FAILURES_ON_POSTGRESQL)
def test_workers__requests_fail_in_the_middle__leave_nothing_and_the_next_20_work(
    postgres: PostgresServer, two_workers: GunicornServer, path: str
) -> None:
    for _ in range(4):
        check_leaves_nothing(postgres, two_workers, path)

    used = check_works(postgres, two_workers)

    assert {process for process, _ in used} <= set(two_workers.worker_pids())
    assert ABORTED not in two_workers.log_text() + postgres.log_text()


@pytest.mark.postgresql
def test_worker__broken_statement_answered_200__does_not_say_done_of_what_was_rolled_back(
    postgres: PostgresServer, one_worker: GunicornServer
) -> None:
    mark = new_mark()

    answer = post(one_worker, "broken/200", mark)

    stored = postgres.execute(f"SELECT count(*) FROM faulty_entry WHERE mark = '{mark}'", "faulty")
    assert (answer.status == 200) is (stored == [(1,)])


@pytest.mark.postgresql
@pytest.mark.parametrize("path", ["commit"])
def test_worker__statement_that_the_database_refuses__is_not_a_database_that_is_away(
    one_worker: GunicornServer, path: str
) -> None:
    answer = post(one_worker, path, new_mark())

    assert (answer.status, answer.json()["code"]) == (500, "INTERNAL_ERROR")


@pytest.mark.postgresql
def test_worker__broken_statement_in_a_savepoint__keeps_the_rest(
    postgres: PostgresServer, one_worker: GunicornServer
) -> None:
    mark = new_mark()

    answer = post(one_worker, "savepoint", mark)

    assert answer.status == 200
    assert postgres.execute(f"SELECT count(*) FROM faulty_entry WHERE mark = '{mark}'", "faulty") == [(1,)]


def check_survives_a_restart(postgres: PostgresServer, server: GunicornServer) -> None:
    """The connection that a worker holds is dead after a restart of the database; no request may notice."""
    check_works(postgres, server)
    postgres.stop()
    postgres.start_again()
    check_works(postgres, server)


@pytest.mark.postgresql
def test_worker__database_restarts__the_next_20_work(postgres: PostgresServer, one_worker: GunicornServer) -> None:
    check_survives_a_restart(postgres, one_worker)


# -- each safeguard taken out ------------------------------------------------------------------------------------------


@pytest.mark.postgresql
def test_mutation__middleware_removed__the_check_of_handled_refusals_goes_red(
    postgres: PostgresServer, database_url: str
) -> None:
    with serve_faulty(database_url, without="middleware") as server:
        check_works(postgres, server)
        check_leaves_nothing(postgres, server, "raise")

        for path in ("refuse/409", "refuse/503"):
            with pytest.raises(AssertionError, match=f"something of {path} stays"):
                check_leaves_nothing(postgres, server, path)


@pytest.mark.postgresql
def test_mutation__atomic_requests_off__the_check_of_every_failure_goes_red(
    postgres: PostgresServer, database_url: str
) -> None:
    with serve_faulty(database_url, without="atomic-requests") as server:
        check_works(postgres, server)

        for path in ("raise", "not-found", "refuse/409", "broken/500", "terminated", "template"):
            with pytest.raises(AssertionError, match=f"something of {path} stays"):
                check_leaves_nothing(postgres, server, path)


@pytest.mark.postgresql
def test_mutation__health_checks_off__the_check_of_a_restart_goes_red(
    postgres: PostgresServer, database_url: str
) -> None:
    with serve_faulty(database_url, without="health-checks") as server:
        with pytest.raises(AssertionError, match=r"STATE_UNKNOWN"):
            check_survives_a_restart(postgres, server)

        check_works(postgres, server)
