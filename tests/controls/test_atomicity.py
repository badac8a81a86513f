"""Row and event stand together or not at all."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, transaction

from golive.controls import event_writer
from golive.domain.errors import (
    NotAppliedError,
)
from golive.domain.rows import GO_LIVE_STATE, SYSTEM_METADATA
from golive.state import singletons
from tests.support.changes import (
    FAULTS,
    NAMES,
    apply,
    apply_effectively,
    check_sound,
    fake_checklist,
    go_live,
    prepare,
    snapshot,
)
from tests.support.factories import make_result
from tests.support.faults import failing_writes, run_sql, watched_statements

pytestmark = pytest.mark.usefixtures("database")


@pytest.mark.parametrize("name", NAMES)
def test_apply_change__inside_a_transaction__is_a_programming_error(name: str) -> None:
    prepare(name)
    before = snapshot()

    with pytest.raises(RuntimeError), transaction.atomic():
        apply_effectively(name)

    assert snapshot() == before


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", NAMES)
def test_apply_change__a_write_fails__is_not_applied_and_nothing_of_it_stands(
    name: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(name)
    # It would refuse what cannot be stopped again.
    fake_checklist(monkeypatch, make_result())
    before = snapshot()
    table, verb, when = FAULTS[fault]

    with failing_writes(table, verb, when=when), pytest.raises(NotAppliedError) as caught:
        apply_effectively(name)

    assert caught.value.code == "NOT_APPLIED"
    assert snapshot() == before
    check_sound()


@pytest.mark.parametrize("name", ["complete", "edit", "reopen"])
def test_apply_change__the_row_of_system_metadata_fails__nothing_of_it_stands(name: str) -> None:
    prepare(name)
    before = snapshot()

    with failing_writes("system_metadata", "UPDATE"), pytest.raises(NotAppliedError):
        apply_effectively(name)

    assert snapshot() == before


def test_apply_change__the_second_event_of_a_reopen_fails__the_first_is_gone_too() -> None:
    go_live()
    before = snapshot()

    with failing_writes("golive_event", "INSERT", when="NEW.action = 'engage'"), pytest.raises(NotAppliedError):
        apply("reopen")

    assert snapshot() == before


@pytest.mark.postgresql
@pytest.mark.parametrize("name", NAMES)
def test_apply_change__the_commit_is_refused__is_not_applied_and_nothing_of_it_stands(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(name)
    fake_checklist(monkeypatch, make_result())
    before = snapshot()

    with failing_writes("golive_event", "INSERT", deferred=True), pytest.raises(NotAppliedError):
        apply_effectively(name)

    assert snapshot() == before


@pytest.mark.parametrize("fault", FAULTS)
def test_apply_change__after_a_failure__the_same_connection_goes_on(fault: str) -> None:
    go_live()
    table, verb, when = FAULTS[fault]
    with failing_writes(table, verb, when=when), pytest.raises(NotAppliedError):
        apply("engage")

    assert apply("engage").changed is True
    check_sound()


def test_apply_change__a_bug_in_the_middle__leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    go_live()
    before = snapshot()

    def fail(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(event_writer.EventWriter, "close", fail)
    with pytest.raises(NotAppliedError, match="nothing was done"):
        apply("engage")

    assert snapshot() == before


@pytest.mark.sqlite_only
def test_apply_change__the_row_was_replaced_meanwhile__is_not_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    # A database without row locks is held to the row that was read.
    real = singletons.lock_rows

    def lock_and_lose(*, with_system: bool, using: str) -> Any:
        rows = real(with_system=with_system, using=using)
        run_sql("UPDATE go_live_state SET revision = revision + 1")
        return rows

    monkeypatch.setattr(singletons, "lock_rows", lock_and_lose)
    before = snapshot()

    with pytest.raises(NotAppliedError, match="came first"):
        apply("engage")

    assert snapshot() == before


@pytest.mark.postgresql
@pytest.mark.parametrize("name", NAMES)
def test_apply_change__each_change__locks_system_metadata_before_go_live_state(name: str) -> None:
    prepare(name)

    with watched_statements() as statements:
        apply_effectively(name)

    locked = [
        table for sql in statements if "FOR UPDATE" in sql for table in (SYSTEM_METADATA, GO_LIVE_STATE) if table in sql
    ]
    assert locked == ([GO_LIVE_STATE] if name in ("engage", "disable") else [SYSTEM_METADATA, GO_LIVE_STATE])


@pytest.mark.postgresql
def test_apply_change__its_transaction__has_the_settings_of_a_change_and_the_session_keeps_its_own() -> None:
    names = ("synchronous_commit", "lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    query = "SELECT " + ", ".join(f"current_setting('{name}')" for name in names)
    seen: list[tuple[Any, ...]] = []

    def look(sql: str) -> None:
        if "FOR UPDATE" in sql:
            assert connection.connection is not None
            seen.append(tuple(connection.connection.execute(query).fetchone()))

    run_sql("SET synchronous_commit = off")
    before = run_sql(query)
    try:
        with watched_statements(before=look):
            apply("engage")
        assert run_sql(query) == before
    finally:
        run_sql("RESET synchronous_commit")

    assert seen == [("on", "3s", "4s", "2s")]
