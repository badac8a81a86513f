"""Why a database failed is said to whoever may know, and to nobody else; never the password, never a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DataError, OperationalError, connection
from django.test import Client

import golive
from golive.database import causes
from golive.database.causes import find_cause
from golive.domain.errors import NotAppliedError, OutcomeUnknownError, StateUnknownError
from golive.domain.holders import Holder
from golive.management.commands.golive import Command
from golive.postgresql.base import DeadlineExceededError
from golive.state import singletons, snapshots
from tests.api.callers import bearer, make_token
from tests.support.changes import apply, go_live, snapshot
from tests.support.faults import rerouted, run_sql, watched_statements
from tests.support.patience import wait_until
from tests.support.roles import login

pytestmark = pytest.mark.usefixtures("database")

ENGAGE = "/api/governance/go-live/kill-switch/engage"
STATE = "/api/governance/go-live/state"
SECRET = "hunter2-and-a-half"


def run_command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[Any, str]:
    code: Any = 0
    try:
        Command().run_from_argv(["manage.py", "golive", *arguments])
    except SystemExit as error:
        code = error.code
    return code, capsys.readouterr().err


# -- a connection that cannot be had -----------------------------------------------------------------------------------

# What is wrong with DATABASE_URL, and what is said of it.
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "password": ({"PASSWORD": SECRET}, "The database rejects the password"),
    "database": ({"NAME": "test_no_such_database"}, "There is no database of that name"),
    "role": ({"USER": "nobody_of_that_name", "PASSWORD": SECRET}, "The database "),
    "host": ({"HOST": "no-such-host.invalid"}, "The host's name is not known"),
    "port": ({"HOST": "127.0.0.1", "PORT": 1}, "The database cannot be reached"),
    "option of libpq": ({"OPTIONS": {"pgbouncer": "true"}}, "An option of the connection is not understood"),
    "option of Django": ({"OPTIONS": {"isolation_level": 9}}, "An option of the connection is not understood"),
    "pool": ({"OPTIONS": {"pool": True}}, "The database cannot be used"),
}


@pytest.mark.postgresql
@pytest.mark.parametrize("what", WRONG)
def test_cause__of_a_connection_that_cannot_be_had__is_said_to_those_who_may_know(
    what: str, client: Client, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    settings, words = WRONG[what]

    with rerouted(**settings):
        snapshots.stop_all()
        caplog.clear()
        with pytest.raises(NotAppliedError) as refused:
            apply("engage")
        code, err = run_command(capsys, "status")
        public = client.get(STATE)
        wait_until(lambda: "the decision from default is now STATE_UNKNOWN" in caplog.text)
        allowed = golive.is_execution_allowed()
        snapshots.stop_all()

    assert words in refused.value.detail
    assert "nothing was done" in refused.value.detail
    assert (code, words in err) == (2, True)
    assert words in caplog.text
    assert (public.status_code, public.json()["code"], allowed) == (503, "STATE_UNKNOWN", False)
    assert public.json()["detail"] == "The database does not answer."
    for text in (refused.value.detail, err, caplog.text, public.content.decode()):
        assert SECRET not in text


@pytest.mark.postgresql
def test_cause__used_up_connections__is_said_and_may_pass(capsys: pytest.CaptureFixture[str]) -> None:
    with login("GRANT SELECT ON go_live_state TO {role}", options="CONNECTION LIMIT 1") as role:
        with psycopg.connect(role.url), pytest.MonkeyPatch.context() as patch:
            connection.close()
            patch.setitem(connection.settings_dict, "USER", role.role)
            patch.setitem(connection.settings_dict, "PASSWORD", role.password)
            _, err = run_command(capsys, "status")
            with pytest.raises(NotAppliedError, match=r"No connection slot .* Repeat the request\.$"):
                apply("engage")
        connection.close()

    assert "No connection slot" in err


@pytest.mark.postgresql
def test_cause__of_a_right_that_is_missing__names_the_table_to_the_asker_only(client: Client) -> None:
    token = make_token("engage")
    readable = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"

    with (
        login(readable, "GRANT UPDATE ON golive_apitoken, go_live_state TO {role}") as role,
        rerouted(USER=role.role, PASSWORD=role.password),
    ):
        answer = client.post(ENGAGE, "{}", content_type="application/json", headers=bearer(token))

    told = answer.json()
    assert (answer.status_code, told["code"]) == (503, "NOT_APPLIED")
    assert "lacks a right on the table golive_event" in told["detail"]
    assert "Repeat" not in told["detail"]


# -- whatever is raised ------------------------------------------------------------------------------------------------

RAISED: tuple[Exception, ...] = (
    psycopg.OperationalError("raw"),
    NotImplementedError("can't parse timestamptz with DateStyle 'German'"),
    TypeError("a bug"),
    ImproperlyConfigured("a setting"),
    OverflowError("Python int too large to convert to SQLite INTEGER"),
)


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_change__anything_raised_before_the_commit__is_not_applied(error: Exception) -> None:
    go_live()
    before = snapshot()

    def fail(sql: str) -> None:
        if "INSERT INTO" in sql:
            raise error

    with watched_statements(before=fail), pytest.raises(NotAppliedError) as refused:
        apply("engage")

    assert refused.value.__cause__ is error
    assert snapshot() == before
    assert apply("engage").changed


@pytest.mark.postgresql
@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_change__anything_raised_at_the_commit__is_not_known(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    go_live()

    def fail() -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(connection, "_commit", fail)
        with pytest.raises(OutcomeUnknownError):
            apply("engage")

    # The connection was in a transaction that is gone with it.
    assert singletons.read_go_live().kill_switch_engaged is False
    assert apply("engage").changed


@pytest.mark.parametrize("read", [singletons.read_go_live, singletons.read_system, singletons.read_both])
@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_read__anything_raised__is_unknown(read: Callable[[], Any], error: Exception) -> None:
    def fail(sql: str) -> None:
        raise error

    with watched_statements(before=fail):
        with pytest.raises(StateUnknownError) as unknown:
            read()
        reading = singletons.read_rows()

    assert unknown.value.detail == "The database does not answer."
    assert (reading.go_live, reading.problem) == (None, "The database does not answer.")
    assert reading.cause
    read()


@pytest.mark.parametrize("table", ["go_live_state", "system_metadata"])
def test_row__that_is_there_twice__is_unknown_and_never_the_first_one(table: str) -> None:
    go_live()
    copy_without_key(table)
    try:
        with pytest.raises(StateUnknownError, match=f"more than one row with id 1 in .*{table}"):
            singletons.read_both()
        reading = singletons.read_rows()
        with pytest.raises(StateUnknownError):
            apply("reopen")
    finally:
        put_back(table)

    assert (reading.go_live is None, reading.system is None) == (table == "go_live_state", table == "system_metadata")
    assert singletons.read_go_live().kill_switch_engaged is False


def copy_without_key(table: str) -> None:
    """The table as it would be without its key, with its row twice, the second one stopped."""
    run_sql(f"ALTER TABLE {table} RENAME TO {table}_before")
    run_sql(f"CREATE TABLE {table} AS SELECT * FROM {table}_before")
    run_sql(f"INSERT INTO {table} SELECT * FROM {table}_before")


def put_back(table: str) -> None:
    run_sql(f"DROP TABLE {table}")
    run_sql(f"ALTER TABLE {table}_before RENAME TO {table}")


# -- the words ---------------------------------------------------------------------------------------------------------


def raised_from(cause: Exception) -> Exception:
    error = OperationalError(str(cause))
    error.__cause__ = cause
    return error


WORDS: tuple[tuple[Exception, str, bool], ...] = (
    (psycopg.errors.ReadOnlySqlTransaction("cannot execute INSERT in a read-only transaction"), "is read-only", True),
    (psycopg.errors.DiskFull("could not extend file"), "disk of the database is full", True),
    (psycopg.errors.TooManyConnections("sorry, too many clients already"), "No connection slot", False),
    (psycopg.errors.NumericValueOutOfRange("bigint out of range"), "reached its maximum", True),
    (psycopg.errors.IdleInTransactionSessionTimeout("idle"), "The service paused in the middle", False),
    (psycopg.errors.RaiseException("no"), "A trigger, a rule or a constraint", True),
    (psycopg.errors.QueryCanceled("canceling statement due to statement timeout"), "took too long", False),
    (psycopg.errors.AdminShutdown("terminating connection"), "ended the connection", False),
    (psycopg.errors.UndefinedTable("relation does not exist"), "manage.py migrate", True),
    (psycopg.OperationalError("FATAL: the database system is starting up"), "starting or shutting down", False),
    (psycopg.OperationalError("no pg_hba.conf entry for host"), "refuses the login", True),
    (psycopg.OperationalError("server closed the connection unexpectedly"), "does not answer", False),
    (psycopg.errors.ConnectionTimeout("connection timeout expired"), "does not answer in time", False),
    (DeadlineExceededError("the database did not answer in time"), "does not answer in time", False),
)


@pytest.mark.parametrize(("error", "words", "is_lasting"), WORDS, ids=lambda value: type(value).__name__)
def test_find_cause__each_failure__is_named_and_known_to_last_or_not(
    error: Exception, words: str, is_lasting: bool
) -> None:
    cause = find_cause(raised_from(error), using="default")

    assert words in cause.sentence
    assert cause.is_lasting is is_lasting
    assert str(error) in cause.detail


def test_find_cause__words_with_password_and_url__holds_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "PASSWORD", SECRET)
    error = DataError(f"bad: postgresql://ann:{SECRET}@db.internal/x and\n{SECRET} again " + "x" * 1000)

    cause = find_cause(error, using="default")

    assert SECRET not in json.dumps([cause.sentence, cause.detail])
    assert "db.internal" not in cause.detail
    assert len(cause.detail) == causes.MAX_DETAIL
    assert "\n" not in str(cause)


@pytest.mark.parametrize("cause", ["FATAL: role ann of host db-7", "a trigger said: payroll"])
def test_failure__redacted__repeats_no_word_of_the_database(cause: str) -> None:
    """`summary` and `advice` are for everybody, and so is what a lost COMMIT says."""
    prepared = Holder(None, None, prepared="payroll of ann")
    refused = NotAppliedError(
        f"{cause}; nothing was done. {prepared.remedy} Repeat the request.",
        summary="The database refused; nothing was done.",
        advice=" Repeat the request.",
        holders=[prepared],
    ).redacted()
    lost = OutcomeUnknownError("The connection was lost at COMMIT.", cause=cause)

    assert refused.detail == "The database refused; nothing was done. Repeat the request."
    assert "ann" not in f"{refused.detail} {refused.holders}"
    assert lost.public_detail == lost.detail == "The connection was lost at COMMIT."
    assert cause in lost.describe()
