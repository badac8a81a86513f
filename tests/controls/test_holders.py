"""Who is in the way of a stop: named, to each as much as they may know, and ended by break-glass."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import Client

from golive.controls import holders, transactions
from golive.domain.errors import NotAppliedError
from golive.domain.holders import Holder
from golive.management.commands.golive import Command
from golive.state import singletons
from tests.api.callers import bearer, make_client, make_token
from tests.support.accounts import make_user, sign_in
from tests.support.changes import apply, check_sound, go_live, snapshot
from tests.support.faults import database_url, rerouted
from tests.support.roles import WEB_GRANTS, login

pytestmark = pytest.mark.usefixtures("database")

ENGAGE = "/api/governance/go-live/kill-switch/engage"
APPLICATION = "a job that hangs"
QUERY = "UPDATE go_live_state SET lease_ms = 100"


@contextmanager
def holding(*statements: str, application: str = APPLICATION) -> Iterator[psycopg.Connection[Any]]:
    """Somebody at a prompt who has begun and does not end. They may be ended."""
    with closing(psycopg.connect(database_url(), application_name=application)) as other:
        for statement in statements:
            other.execute(statement.encode())
        yield other


# -- named -------------------------------------------------------------------------------------------------------------


@pytest.mark.postgresql
@pytest.mark.parametrize(
    "statement",
    [
        QUERY,
        "SELECT 1 FROM go_live_state FOR UPDATE",
        "SELECT 1 FROM go_live_state FOR SHARE",
        "LOCK TABLE go_live_state IN ACCESS EXCLUSIVE MODE",
        "LOCK TABLE golive_event IN SHARE MODE",
    ],
)
def test_stop__somebody_holds_what_it_needs__is_not_applied_and_names_them(statement: str) -> None:
    go_live()
    before = snapshot()

    with holding(statement) as other:
        with pytest.raises(NotAppliedError) as refused:
            apply("engage")
        pid = other.info.backend_pid

    (holder,) = refused.value.holders
    assert (holder.pid, holder.application, holder.state) == (pid, APPLICATION, "idle in transaction")
    assert (holder.role, holder.query) == (connection.settings_dict["USER"], statement)
    assert holder.since is not None
    assert f"pid {pid}, in a transaction since 20" in refused.value.detail
    assert f"SELECT pg_terminate_backend({pid});" in refused.value.detail
    assert APPLICATION not in refused.value.detail
    assert snapshot() == before


@pytest.mark.postgresql
def test_stop__holders_cannot_be_found__is_not_applied_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise RuntimeError("the search failed")

    go_live()
    monkeypatch.setattr(transactions, "find_holders", refuse)

    with holding(QUERY), pytest.raises(NotAppliedError, match="nothing was done") as refused:
        apply("engage")

    assert refused.value.holders == ()
    assert connection.is_usable()


@pytest.mark.postgresql
def test_holders__nobody_holds_anything__are_none() -> None:
    with holding("SELECT 1 FROM go_live_state", "UPDATE django_session SET expire_date = now()"):
        assert holders.find_holders() == ()


@pytest.mark.postgresql
def test_holders__others_wait_behind_one__only_that_one_is_named() -> None:
    with holding(QUERY) as first, holding("SET lock_timeout = '60s'") as second:
        with psycopg.connect(database_url(), autocommit=True) as cancel:
            waiter = second.info.backend_pid
            second.pgconn.send_query(b"SELECT 1 FROM go_live_state FOR UPDATE")
            while not cancel.execute("SELECT 1 FROM pg_locks WHERE pid = %s AND NOT granted", [waiter]).fetchone():
                pass
            found = holders.find_holders()

        assert [holder.pid for holder in found] == [first.info.backend_pid]


@pytest.mark.postgresql
def test_holder__long_query__is_one_short_line() -> None:
    with holding(f"SELECT 1\nFROM go_live_state\n  WHERE 'x' <> '{'y' * 500}' FOR UPDATE"):
        (holder,) = holders.find_holders()

    assert holder.query is not None
    assert holder.query.startswith("SELECT 1 FROM go_live_state WHERE")
    assert len(holder.query) == holders.QUERY_LENGTH


@pytest.mark.sqlite_only
def test_holders__on_sqlite__are_not_known() -> None:
    assert holders.find_holders() == ()


@pytest.mark.parametrize(
    ("holder", "remedy"),
    [
        (Holder(7, None), "SELECT pg_terminate_backend(7);"),
        (Holder(None, None, prepared="it's"), "ROLLBACK PREPARED 'it''s';"),
        (Holder(None, None, prepared="it's").redacted(), "ROLLBACK PREPARED 'NAME';"),
    ],
)
def test_holder__remedy__is_the_statement_that_ends_it(holder: Holder, remedy: str) -> None:
    assert holder.remedy == remedy


def test_holder__redacted__says_pid_and_since_only() -> None:
    since = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    holder = Holder(7, since, role="ann", application="psql", state="active", query="SELECT 1")

    assert str(holder.redacted()) == "pid 7, in a transaction since 2026-01-02T03:04:05.000000Z"
    assert str(holder) == f"{holder.redacted()}, role ann, application psql, state active, query: SELECT 1"


# -- to whom -----------------------------------------------------------------------------------------------------------


@pytest.mark.postgresql
@pytest.mark.parametrize(("scopes", "is_told"), [(("engage",), False), (("engage", "read"), True)])
@pytest.mark.parametrize("path", [ENGAGE, "/api/hooks/alertmanager"])
def test_api__somebody_holds_the_row__says_who_to_those_who_may_read(
    settings: Any, caplog: pytest.LogCaptureFixture, path: str, scopes: tuple[str, ...], is_told: bool
) -> None:
    settings.GOLIVE_PUBLIC_DETAILS = False
    go_live()
    token = make_token(*scopes)

    with holding(QUERY) as other:
        answer = make_client().post(
            path, json.dumps({"status": "firing"}), content_type="application/json", headers=bearer(token)
        )
        pid = other.info.backend_pid

    told = answer.json()
    (holder,) = told["holders"]
    assert (answer.status_code, told["code"], holder["pid"]) == (503, "NOT_APPLIED", pid)
    assert holder["since"].startswith("20")
    assert (APPLICATION in answer.text, QUERY in answer.text) == (is_told, is_told)
    # The log has all of it.
    assert QUERY in caplog.text


@pytest.mark.postgresql
def test_admin__somebody_holds_the_row__says_which_process() -> None:
    go_live()
    client: Client = sign_in(make_user("root", is_superuser=True))

    with holding(QUERY) as other:
        page = client.post("/admin/golive/golivestate/apply/engage/", {"reason": ""})
        pid = other.info.backend_pid

    assert page.status_code == 503
    assert f"SELECT pg_terminate_backend({pid});" in page.content.decode()


# -- break-glass -------------------------------------------------------------------------------------------------------


@pytest.fixture
def golive(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: str) -> tuple[int, str, str]:
        code: Any = 0
        try:
            Command().run_from_argv(["manage.py", "golive", *arguments])
        except SystemExit as error:
            code = error.code
        written = capsys.readouterr()
        return code, written.out, written.err

    return call


Golive = Callable[..., tuple[int, str, str]]


@pytest.mark.postgresql
def test_command__somebody_holds_the_row__says_all_of_them(golive: Golive) -> None:
    go_live()

    with holding(QUERY) as other:
        code, _, err = golive("engage")
        pid = other.info.backend_pid

    assert code == 2
    assert f"  in the way: pid {pid}, in a transaction since 20" in err
    assert f"application {APPLICATION}, state idle in transaction, query: {QUERY}" in err


@pytest.mark.postgresql
@pytest.mark.parametrize("name", ["engage", "disable", "reopen"])
def test_command__by_force__ends_whoever_is_in_the_way_and_says_whom(golive: Golive, name: str) -> None:
    go_live()

    with holding(QUERY) as other:
        pid = other.info.backend_pid
        code, out, err = golive(name, "--force")
        with pytest.raises(psycopg.OperationalError):
            other.execute("SELECT 1")

    assert code == 0
    assert f"{name}: done" in out
    assert "No permit is held." in out
    assert f"Ended pid {pid}" in err
    assert QUERY in err
    assert singletons.read_go_live().lease_ms == 250
    check_sound()


@pytest.mark.parametrize("name", ["engage", "disable", "reopen"])
def test_command__by_force_with_nobody_in_the_way__ends_nobody(golive: Golive, name: str) -> None:
    go_live()

    code, out, err = golive(name, "--force")

    assert code == 0
    assert f"{name}: done" in out
    assert "Ended" not in err


def test_command__a_change_toward_live__has_no_force(golive: Golive) -> None:
    assert golive("release", "--force", "--reason", "x")[0] == 2


@pytest.mark.postgresql
@pytest.mark.parametrize("grant", [(), ("GRANT pg_signal_backend TO {role}",)])
def test_command__by_force_without_the_right__says_which_grant_it_needs(golive: Golive, grant: tuple[str, ...]) -> None:
    """The session is a superuser's, which pg_signal_backend does not reach."""
    go_live()
    readable = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"

    with login(readable, *WEB_GRANTS, *grant) as web, holding(QUERY) as other:
        with rerouted(USER=web.role, PASSWORD=web.password):
            code, _, err = golive("engage", "--force")
        pid = other.info.backend_pid
        other.execute("SELECT 1")

    assert code == 2
    assert f"pid {pid}" in err
    assert f"GRANT pg_signal_backend TO {web.role};" in err
    assert "superuser" in err


@pytest.mark.postgresql
def test_command__by_force_with_the_right__ends_another_role_s_session(golive: Golive) -> None:
    go_live()
    readable = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"

    with (
        login(readable, *WEB_GRANTS, "GRANT pg_signal_backend TO {role}") as web,
        login("GRANT SELECT, UPDATE ON go_live_state TO {role}") as job,
        closing(psycopg.connect(job.url)) as other,
    ):
        other.execute("UPDATE go_live_state SET lease_ms = 100")
        with rerouted(USER=web.role, PASSWORD=web.password):
            code, out, err = golive("engage", "--force")

    assert (code, "engage: done" in out) == (0, True)
    assert "Ended pid" in err


@pytest.mark.postgresql
def test_end__a_session_that_does_not_go__is_waited_for_no_longer_than_promised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(holders, "END_SECONDS", 0.1)
    monkeypatch.setattr(holders, "_end_one", lambda holder, using: None)

    with holding(QUERY):
        found = holders.find_holders()
        ended = holders.end(found)

    assert ended == found
    assert len(found) == 1
