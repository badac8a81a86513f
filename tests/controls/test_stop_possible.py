"""A stop is known to be possible: it is rehearsed, and what makes it impossible is said before somebody needs it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from http import HTTPStatus
from typing import Any

import psycopg
import pytest
from django.db import connection, connections
from django.test import Client

from golive import gate
from golive.controls import rehearsal
from golive.controls.apply import rehearse_stop
from golive.controls.rehearsal import Rehearser, Result, Watch
from golive.domain.errors import NotAppliedError
from golive.readiness.runner import run_all, run_checklist
from golive.state import singletons
from tests.support.changes import apply, events, go_live, snapshot
from tests.support.faults import (
    database_url,
    failing_writes,
    renamed_table,
    rerouted,
    run_sql,
    watched_statements,
)
from tests.support.roles import WEB_GRANTS, Login, login

pytestmark = pytest.mark.usefixtures("database")

# Of a project that has none of the app's views.
urlpatterns: list[Any] = []
MAX_NUMBER = 2**63 - 1


# -- what makes it impossible ------------------------------------------------------------------------------------------


@contextmanager
def by_role(*grants: str, options: str = "") -> Iterator[Login]:
    """Inside, this process works with a role of its own."""
    readable = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
    with login(readable, *grants, options=options) as web, rerouted(USER=web.role, PASSWORD=web.password):
        yield web


@contextmanager
def held_row() -> Iterator[None]:
    with psycopg.connect(database_url(), application_name="a job that hangs") as other:
        other.execute("SELECT 1 FROM go_live_state FOR UPDATE")
        yield


@contextmanager
def held_table() -> Iterator[None]:
    with psycopg.connect(database_url()) as other:
        other.execute("LOCK TABLE golive_event IN SHARE MODE")
        yield


@contextmanager
def no_slot_left() -> Iterator[None]:
    """The role may have two connections: this thread's, and one that somebody has forgotten."""
    with (
        login(
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}", *WEB_GRANTS, options="CONNECTION LIMIT 1"
        ) as web,
        psycopg.connect(web.url),
        pytest.MonkeyPatch.context() as patch,
    ):
        settings = connection.settings_dict
        connection.close()
        patch.setitem(settings, "USER", web.role)
        patch.setitem(settings, "PASSWORD", web.password)
        yield
    connection.close()


@contextmanager
def last_sequence() -> Iterator[None]:
    newest = events()[-1]
    newest.sequence, newest.hash, newest.previous_hash = MAX_NUMBER, "e" * 64, newest.hash
    newest.save(force_insert=True)
    yield


@contextmanager
def last_revision() -> Iterator[None]:
    run_sql("UPDATE go_live_state SET revision = %s", [MAX_NUMBER])
    yield


@contextmanager
def swallowed_update() -> Iterator[None]:
    run_sql("CREATE RULE test_swallow AS ON UPDATE TO go_live_state DO INSTEAD SELECT 1")
    try:
        yield
    finally:
        run_sql("DROP RULE test_swallow ON go_live_state")


@contextmanager
def altered_update() -> Iterator[None]:
    run_sql(
        "CREATE FUNCTION test_alter() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN NEW.kill_switch_engaged = OLD.kill_switch_engaged; RETURN NEW; END$$"
    )
    run_sql("CREATE TRIGGER test_alter BEFORE UPDATE ON go_live_state FOR EACH ROW EXECUTE FUNCTION test_alter()")
    try:
        yield
    finally:
        run_sql("DROP TRIGGER test_alter ON go_live_state")
        run_sql("DROP FUNCTION test_alter()")


@contextmanager
def swallowed_event() -> Iterator[None]:
    run_sql("CREATE FUNCTION test_alter() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$")
    run_sql("CREATE TRIGGER test_alter BEFORE INSERT ON golive_event FOR EACH ROW EXECUTE FUNCTION test_alter()")
    try:
        yield
    finally:
        run_sql("DROP TRIGGER test_alter ON golive_event")
        run_sql("DROP FUNCTION test_alter()")


# What is done to the database, and what is said of it.
POSTGRESQL: dict[str, tuple[Callable[[], AbstractContextManager[Any]], str]] = {
    "no INSERT on the record": (
        lambda: by_role("GRANT UPDATE ON go_live_state, system_metadata TO {role}"),
        "lacks a right on the table golive_event",
    ),
    "no UPDATE on the row": (
        lambda: by_role("GRANT INSERT ON golive_event TO {role}"),
        "lacks a right on the table go_live_state",
    ),
    "the row is held": (held_row, "Another session holds what the change needs"),
    "a table is held": (held_table, "Another session holds what the change needs"),
    "no connection slot": (no_slot_left, "No connection slot of the database is left"),
    "the update is swallowed": (swallowed_update, "rule"),
    "the update is altered": (altered_update, "altered what was written to go_live_state"),
    "the event is swallowed": (swallowed_event, "altered what was written to golive_event"),
    "refused at the commit": (lambda: failing_writes("golive_event", "INSERT", deferred=True), "A trigger, a rule"),
}
BOTH: dict[str, tuple[Callable[[], AbstractContextManager[Any]], str]] = {
    "the last sequence": (last_sequence, "reached its maximum"),
    "the last revision": (last_revision, "reached its maximum"),
    "no table of events": (lambda: renamed_table("golive_event"), "manage.py migrate"),
    "a trigger raises": (lambda: failing_writes("golive_event", "INSERT"), "A trigger, a rule or a constraint"),
}
FAULTS = {**BOTH, **POSTGRESQL}


@pytest.mark.parametrize("fault", [*BOTH, *(pytest.param(name, marks=pytest.mark.postgresql) for name in POSTGRESQL)])
def test_stop_possible__what_prevents_it__is_named_by_the_check_and_by_the_stop(fault: str) -> None:
    make, words = FAULTS[fault]
    go_live()

    with make():
        result = rehearsal.rehearse()
        with pytest.raises(NotAppliedError) as refused:
            apply("engage")

    assert result.ok is False
    assert result.detail.startswith("A stop cannot be written. ")
    assert words in result.detail
    assert words in refused.value.detail
    is_passing = fault in ("the row is held", "a table is held", "no connection slot")
    assert refused.value.detail.endswith("Repeat the request.") is is_passing


@pytest.mark.postgresql
def test_readiness__a_stop_is_impossible__is_503_and_a_blocker_for_all_who_look(client: Client) -> None:
    go_live()

    with by_role("GRANT UPDATE ON go_live_state, system_metadata TO {role}"):
        ready = client.get("/readyz")
        runbook = client.get("/api/governance/runbook/status").json()
        checklist = run_checklist()

    assert ready.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    failing = [name for name, check in ready.json()["checks"].items() if not check["ok"]]
    assert failing == ["stop_possible"]
    assert "golive_event" in ready.json()["checks"]["stop_possible"]["detail"]
    assert "stop_possible" in [item["id"] for item in runbook["blockers"]]
    assert runbook["ok_to_enable_go_live"] is False
    assert "stop_possible" in [result.id for result in checklist.failed]


@pytest.mark.postgresql
def test_readiness__no_connection_is_left__names_that(client: Client) -> None:
    with no_slot_left():
        ready = client.get("/readyz")

    assert ready.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert "No connection slot" in ready.json()["checks"]["stop_possible"]["detail"]


@pytest.mark.postgresql
def test_stop_possible__said_to_everybody__names_no_role_and_no_query() -> None:
    with held_row():
        result = rehearsal.rehearse()

    assert "pid " in result.detail
    assert "pg_terminate_backend" in result.detail
    for secret in ("a job that hangs", "FOR UPDATE", connection.settings_dict["USER"]):
        assert secret not in result.detail
        assert secret in result.cause


# -- what it does not do -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_live", [False, True])
def test_rehearsal__possible__leaves_nothing_behind(is_live: bool) -> None:
    if is_live:
        go_live()
    before, head = snapshot(), singletons.read_go_live()

    results = [rehearsal.rehearse() for _ in range(3)]

    assert results == [Result(True, rehearsal.POSSIBLE, "")] * 3
    assert (snapshot(), singletons.read_go_live()) == (before, head)
    assert apply("engage").sequence == len(events())


def test_rehearsal__is_the_transaction_of_a_stop_itself() -> None:
    go_live()

    with watched_statements() as rehearsed:
        rehearse_stop()
    with watched_statements() as done:
        apply("engage")

    def shape(statements: list[str]) -> list[str]:
        words = ("SET TRANSACTION", "FROM go_live_state", "INSERT INTO", "UPDATE", 'FROM "golive_event"')
        return [word for sql in statements for word in words if word in sql]

    assert [word for word in shape(rehearsed) if word in shape(done)] == shape(rehearsed)
    assert {"INSERT INTO", "UPDATE", "FROM go_live_state"} <= set(shape(rehearsed))
    assert shape(rehearsed) == shape(done)[: len(shape(rehearsed))]


def test_rehearsal__on_a_connection_of_its_own__which_is_closed() -> None:
    used: list[Any] = []
    work = rehearsal._rehearse_stop

    def look() -> Result:
        result = work()
        used.append((threading.current_thread().name, connections["default"].connection))
        return result

    asker = Rehearser(look)

    assert asker.ask().ok
    assert used == [("golive-rehearsal", None)]


def test_rehearser__many_at_once_and_soon_after__share_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "SHARED_SECONDS", 600.0)
    monkeypatch.setattr(rehearsal, "WAIT_SECONDS", 60.0)
    goes_on, runs = threading.Event(), list[int]()

    def work() -> Result:
        runs.append(1)
        goes_on.wait(60)
        return Result(True, "", "")

    asker, answers = Rehearser(work), list[Result]()
    threads = [threading.Thread(target=lambda: answers.append(asker.ask())) for _ in range(8)]
    for thread in threads:
        thread.start()
    goes_on.set()
    for thread in threads:
        thread.join()

    assert asker.ask().ok
    assert (len(runs), len(answers), all(answer.ok for answer in answers)) == (1, 8, True)


def test_rehearser__one_that_hangs__fails_for_all_and_is_not_begun_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "WAIT_SECONDS", 0.05)
    goes_on, runs = threading.Event(), list[int]()

    def work() -> Result:
        runs.append(1)
        goes_on.wait(60)
        return Result(True, "", "")

    asker = Rehearser(work)
    answers = [asker.ask() for _ in range(3)]
    goes_on.set()

    assert [answer.ok for answer in answers] == [False] * 3
    assert "did not finish in time" in answers[0].detail
    assert runs == [1]


def test_check__a_rehearsal_that_is_skipped__is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check asks, and has no answer of its own."""
    monkeypatch.setattr(rehearsal, "rehearse", lambda: Result(False, "made to fail", ""))

    details = {result.id: result.detail for result in run_all().results}
    assert details["stop_possible"] == "made to fail"


# -- the watch ---------------------------------------------------------------------------------------------------------


def test_watch__a_stop_becomes_impossible__is_said_once_a_minute_and_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="golive.controls.rehearsal")
    answers = {0.0: True, 30.0: False, 60.0: False, 90.0: False, 120.0: False, 150.0: True, 180.0: True, 210.0: False}
    now = 0.0
    watch = Watch(lambda: Result(answers[now], "", "the disk is full"))

    for now in answers:
        watch.look(now)

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "a stop is NOT possible: the disk is full"),
        ("ERROR", "a stop is NOT possible: the disk is full"),
        ("INFO", "a stop is possible again"),
        ("ERROR", "a stop is NOT possible: the disk is full"),
    ]


def test_gate__first_request_of_a_process_and_of_a_fork__starts_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    monkeypatch.setattr(rehearsal, "start_watch", lambda: started.append(1))
    application = gate.Gate(lambda environ, start: [b""])
    environ: dict[str, Any] = {"PATH_INFO": "/anything", "REQUEST_METHOD": "GET"}

    for _ in range(3):
        application(environ, lambda *_: lambda _: None)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    application(environ, lambda *_: lambda _: None)

    assert started == [1, 1]


def test_gate__no_watch_can_be_started__answers_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(rehearsal, "start_watch", refuse)
    answers: list[str] = []
    application = gate.Gate(lambda environ, start: [b""])

    application({"PATH_INFO": "/gate/", "REQUEST_METHOD": "GET"}, lambda status, *_: answers.append(status))  # type: ignore[arg-type]

    assert len(answers) == 1
    assert "nothing watches whether a stop is possible" in caplog.text


def test_watch__a_look_fails__goes_on(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    class Over(BaseException):
        pass

    looks: list[float] = []

    def look(_: rehearsal.Watch, now: float) -> None:
        looks.append(now)
        raise Over if len(looks) == 2 else RuntimeError("unforeseen")

    monkeypatch.setattr(rehearsal.Watch, "look", look)
    monkeypatch.setattr(rehearsal, "PERIOD_SECONDS", 0.0)

    with pytest.raises(Over):
        rehearsal._run_watch()

    assert "the watch over the stop failed; it goes on" in caplog.text


def test_watch__started__looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threading.Event()

    class Over(BaseException):
        pass

    def look() -> Result:
        looked.set()
        raise Over

    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(rehearsal, "rehearse", look)
        patch.setattr(threading, "excepthook", lambda _: None)
        thread = threading.Thread(target=rehearsal._run_watch)
        thread.start()
        thread.join(60)

    assert looked.is_set()


def test_watch__in_a_project_without_the_endpoints__does_not_run(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ROOT_URLCONF = __name__
    monkeypatch.setattr(rehearsal, "rehearse", lambda: pytest.fail("it rehearsed"))

    rehearsal._run_watch()


# -- what does not prevent a stop --------------------------------------------------------------------------------------


def with_default(name: str, value: str) -> AbstractContextManager[None]:
    """Inside, the sessions of this process begin with another default, as of a server, a database or a role."""
    options = {**connection.settings_dict["OPTIONS"], "options": f"-c {name}={value}"}
    return rerouted(OPTIONS=options)


@pytest.mark.postgresql
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("default_transaction_read_only", "on"),
        ("default_transaction_isolation", "serializable"),
        ("default_transaction_isolation", r"repeatable\ read"),
        ("datestyle", "German"),
        ("datestyle", r"SQL,\ DMY"),
        ("timezone", "Asia/Kathmandu"),
    ],
)
def test_stop__whatever_the_database_has_for_defaults__works(name: str, value: str) -> None:
    go_live()

    with with_default(name, value):
        rehearsed = rehearsal.rehearse()
        done = apply("engage")
        row = singletons.read_go_live()

    assert (rehearsed.ok, done.changed, done.go_live) == (True, True, row)
    assert (row.kill_switch_engaged, row.updated_at) == (True, events()[-1].at)


@pytest.mark.postgresql
@pytest.mark.parametrize("level", ["serializable", r"repeatable\ read"])
def test_changes__many_at_once_where_transactions_see_one_moment__all_succeed(level: str) -> None:
    go_live()
    codes: list[str] = []

    def change() -> None:
        try:
            for _ in range(6):
                apply("edit", version="1")
                codes.append("done")
        except NotAppliedError as error:
            codes.append(error.detail)
        finally:
            connections.close_all()

    with with_default("default_transaction_isolation", level):
        threads = [threading.Thread(target=change) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert codes == ["done"] * 36
