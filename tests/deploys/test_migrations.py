"""The tables, their defaults and constraints in the database itself, the seed, and the way back and forward."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import Error, IntegrityError, connection, models, transaction
from django.db.models.signals import pre_migrate

from golive.domain import chain
from golive.domain.decision import decide
from golive.domain.rows import GO_LIVE_STATE, SYSTEM_METADATA, GoLiveRow, SystemRow, record_of
from golive.models import ApiToken, Event, GoLiveState, SystemMetadata
from golive.state import history, singletons
from tests.support.changes import apply, check_sound, events, go_live
from tests.support.faults import append_only_suspended, database_url, is_postgresql, rerouted, run_sql
from tests.support.postgres import fresh_database

TABLES = (SYSTEM_METADATA, GO_LIVE_STATE)


@pytest.fixture
def scratch(database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty database of its own, on the same server; all that a test does goes there."""
    if not is_postgresql():
        with rerouted(NAME=str(tmp_path / "scratch.sqlite3")):
            yield
        return
    monkeypatch.setenv("DATABASE_URL", database_url())
    with fresh_database("migrations") as url, rerouted(NAME=url.rsplit("/", 1)[1]):
        yield


def migrate(*target: str) -> None:
    call_command("migrate", *target, verbosity=0, interactive=False)


def table_names() -> set[str]:
    with connection.cursor() as cursor:
        return set(connection.introspection.table_names(cursor))


# -- the seed ----------------------------------------------------------------------------------------------------------


def rows_events() -> list[Event]:
    """Without the event by which a migrate records itself."""
    return [event for event in events() if event.subject != "deploy"]


def test_migrate__an_empty_database__has_the_safe_rows_and_their_events(scratch: None) -> None:
    began = datetime.now(UTC)

    migrate()

    go_live_row, system_row = singletons.read_both()
    seeded = rows_events()
    assert decide(go_live_row).code == "KILL_SWITCH_ENGAGED"
    assert (go_live_row.go_live_enabled, go_live_row.kill_switch_engaged, go_live_row.revision) == (False, True, 1)
    assert (system_row.version, system_row.backend_complete, system_row.revision) == ("1.0.0", False, 1)
    assert [(event.sequence, event.subject, event.action) for event in seeded] == [
        (1, SYSTEM_METADATA, "seed"),
        (2, GO_LIVE_STATE, "seed"),
    ]
    rows: tuple[SystemRow | GoLiveRow, ...] = (system_row, go_live_row)
    for event, row in zip(seeded, rows, strict=True):
        assert (event.actor, event.channel, event.user_id) == ("migrate", "migration", None)
        assert (event.changed, event.override, event.before) == (True, False, None)
        assert event.after == record_of(row)
        assert began <= event.at <= datetime.now(UTC)
    assert go_live_row.event_head == events()[-1].hash
    check_sound()


def test_migrate__twice__changes_nothing(scratch: None) -> None:
    migrate()
    before = (singletons.read_both(), [history.event_values(event) for event in events()])

    migrate()

    assert (singletons.read_both(), [history.event_values(event) for event in events()]) == before


def test_migrate__rows_that_stand__are_recorded_and_left_as_they_are(scratch: None) -> None:
    migrate("golive", "0001")
    run_sql(
        "INSERT INTO system_metadata (id, version, backend_complete, notes, updated_at, completed_at, revision) "
        "VALUES (1, '3.1', %s, 'Grüße', %s, %s, 17)",
        [True, *[datetime(2025, 1, 2, 3, 4, 5, 6, tzinfo=UTC)] * 2],
    )
    run_sql(
        "INSERT INTO go_live_state (id, go_live_enabled, kill_switch_engaged, changed_by, reason, revision, lease_ms) "
        "VALUES (1, %s, %s, 'somebody', 'earlier', 9, 500)",
        [True, False],
    )
    before = singletons.read_both()

    migrate()

    go_live_row, system_row = singletons.read_both()
    assert system_row == before[1]
    assert record_of(go_live_row) == record_of(before[0])
    adopted = rows_events()
    assert [(event.subject, event.action, event.changed) for event in adopted] == [
        (SYSTEM_METADATA, "adopt", False),
        (GO_LIVE_STATE, "adopt", False),
    ]
    assert [event.after for event in adopted] == [record_of(system_row), record_of(go_live_row)]
    check_sound()
    assert apply("engage").changed is True
    check_sound()


@pytest.mark.parametrize("table", TABLES)
def test_migrate__one_row_stands__the_other_is_made(scratch: None, table: str) -> None:
    migrate("golive", "0001")
    run_sql(f"INSERT INTO {table} (id, revision) VALUES (1, 5)")

    migrate()

    assert {event.subject: event.action for event in rows_events()} == {
        each: "adopt" if each == table else "seed" for each in TABLES
    }
    check_sound()


@pytest.mark.postgresql
def test_migrate__its_statements__have_the_limit_of_a_deploy_and_not_of_a_request(scratch: None) -> None:
    # An ALTER TABLE may have to wait for others or to rewrite a table; cut off, the deploy would never get through.
    seen: list[str] = []

    def look(**kwargs: object) -> None:
        seen.extend(value for (value,) in run_sql("SELECT current_setting('statement_timeout')"))

    pre_migrate.connect(look)
    try:
        migrate()
    finally:
        pre_migrate.disconnect(look)

    assert set(seen) == {"5min"}


# -- back and forward --------------------------------------------------------------------------------------------------


def test_migrate__to_zero__leaves_nothing_of_this_app(scratch: None) -> None:
    migrate()

    migrate("golive", "zero")

    assert not {SYSTEM_METADATA, GO_LIVE_STATE, "golive_event"} & table_names()
    if is_postgresql():
        assert run_sql("SELECT proname FROM pg_proc WHERE proname LIKE 'golive%%'", []) == []


def test_migrate__to_zero_and_forward__is_as_after_the_first_time(scratch: None) -> None:
    migrate()
    go_live()
    migrate("golive", "zero")

    migrate()

    assert decide(singletons.read_go_live()).code == "KILL_SWITCH_ENGAGED"
    assert len(rows_events()) == 2
    check_sound()
    with pytest.raises(Error):
        run_sql("DELETE FROM golive_event")


def test_migrate__back_to_the_tables_and_forward__keeps_rows_and_record(scratch: None) -> None:
    migrate()
    go_live()
    before = (singletons.read_both(), len(events()))

    migrate("golive", "0001")
    migrate()

    assert (singletons.read_both(), len(events())) == before
    check_sound()


# -- defaults ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def empty_tables(database: None) -> None:
    """Neither row is there, so that raw SQL can make them."""
    for table in TABLES:
        run_sql(f"DELETE FROM {table}")


@pytest.mark.usefixtures("empty_tables")
def test_database__a_row_made_by_raw_sql__has_the_safe_values() -> None:
    run_sql("INSERT INTO go_live_state (id) VALUES (1)")
    run_sql("INSERT INTO system_metadata (id) VALUES (1)")

    go_live_row, system_row = singletons.read_both()
    assert record_of(go_live_row) == {
        "go_live_enabled": False,
        "kill_switch_engaged": True,
        "changed_by": None,
        "reason": None,
        "updated_at": None,
        "revision": 1,
        "lease_ms": 250,
    }
    assert go_live_row.event_head is None
    assert record_of(system_row) == {
        "version": "1.0.0",
        "backend_complete": False,
        "notes": None,
        "updated_at": None,
        "completed_at": None,
        "revision": 1,
    }


NOT_NULL = [
    (GO_LIVE_STATE, "go_live_enabled"),
    (GO_LIVE_STATE, "kill_switch_engaged"),
    (GO_LIVE_STATE, "revision"),
    (GO_LIVE_STATE, "lease_ms"),
    (SYSTEM_METADATA, "version"),
    (SYSTEM_METADATA, "backend_complete"),
    (SYSTEM_METADATA, "revision"),
]


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(("table", "column"), NOT_NULL)
def test_database__null_where_there_must_be_a_value__is_refused(table: str, column: str) -> None:
    with pytest.raises(IntegrityError):
        run_sql(f"UPDATE {table} SET {column} = NULL")


@pytest.mark.parametrize("model", [GoLiveState, SystemMetadata])
def test_model__an_unsaved_instance__has_the_defaults_and_no_placeholders(model: type[models.Model]) -> None:
    instance = model()

    values = {field.name: getattr(instance, field.name) for field in model._meta.concrete_fields}

    expected = {
        GoLiveState: {
            "id": 1,
            "go_live_enabled": False,
            "kill_switch_engaged": True,
            "changed_by": None,
            "reason": None,
            "updated_at": None,
            "revision": 1,
            "lease_ms": 250,
            "event_head": None,
            "timeline": None,
        },
        SystemMetadata: {
            "id": 1,
            "version": "1.0.0",
            "backend_complete": False,
            "notes": None,
            "updated_at": None,
            "completed_at": None,
            "revision": 1,
        },
    }[model]
    assert values == expected
    assert {name: type(value) for name, value in values.items()} == {
        name: type(value) for name, value in expected.items()
    }


def test_model__an_unsaved_state__is_not_allowed() -> None:
    instance = GoLiveState()
    row = GoLiveRow(**{name: getattr(instance, name) for name in GoLiveRow.__dataclass_fields__})

    assert decide(row).code == "KILL_SWITCH_ENGAGED"


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("model", [GoLiveState, SystemMetadata])
def test_model__defaults__are_those_of_the_database(model: type[models.Model]) -> None:
    run_sql(f"DELETE FROM {model._meta.db_table}")
    run_sql(f"INSERT INTO {model._meta.db_table} (id) VALUES (1)")

    made = model._default_manager.get()

    assert {f.name: getattr(made, f.name) for f in model._meta.concrete_fields} == {
        f.name: getattr(model(), f.name) for f in model._meta.concrete_fields
    }


# -- constraints -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("identifier", [0, 2, -1, 2_000_000_000])
def test_database__a_second_row__is_refused(table: str, identifier: int) -> None:
    with pytest.raises(IntegrityError):
        run_sql(f"INSERT INTO {table} (id) VALUES ({identifier})")

    assert run_sql(f"SELECT count(*) FROM {table}") == [(1,)]


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("table", TABLES)
def test_database__the_row_gets_another_id__is_refused(table: str) -> None:
    with pytest.raises(IntegrityError):
        run_sql(f"UPDATE {table} SET id = 2")


@pytest.mark.usefixtures("empty_tables")
@pytest.mark.parametrize("table", TABLES)
def test_database__a_first_row_with_another_id__is_refused(table: str) -> None:
    with pytest.raises(IntegrityError):
        run_sql(f"INSERT INTO {table} (id) VALUES (2)")


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(("lease_ms", "is_taken"), [(-1, False), (0, True), (250, True), (5_000, True), (5_001, False)])
def test_database__lease__is_from_0_to_5000_milliseconds(lease_ms: int, is_taken: bool) -> None:
    if is_taken:
        run_sql(f"UPDATE go_live_state SET lease_ms = {lease_ms}")
        assert singletons.read_go_live().lease_ms == lease_ms
        return

    with pytest.raises(IntegrityError):
        run_sql(f"UPDATE go_live_state SET lease_ms = {lease_ms}")


COLUMN_TYPES = {
    "system_metadata": (
        "id integer, version text, backend_complete boolean, notes text, updated_at timestamp with time zone, "
        "completed_at timestamp with time zone, revision bigint"
    ),
    "go_live_state": (
        "id integer, go_live_enabled boolean, kill_switch_engaged boolean, changed_by text, reason text, "
        "updated_at timestamp with time zone, revision bigint, lease_ms integer, event_head text, "
        "timeline integer"
    ),
}


@pytest.mark.postgresql
@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("table", COLUMN_TYPES)
def test_database__columns__are_those_of_the_contract(table: str) -> None:
    found = run_sql(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = current_schema() "
        "AND table_name = %s ORDER BY ordinal_position",
        [table],
    )

    assert ", ".join(f"{name} {kind}" for name, kind in found) == COLUMN_TYPES[table]


# -- append only -------------------------------------------------------------------------------------------------------

ALTERATIONS = {
    "update": "UPDATE golive_event SET actor = 'mallory' WHERE sequence = 1",
    "update of all": "UPDATE golive_event SET sequence = sequence",
    "delete": "DELETE FROM golive_event WHERE sequence = 1",
    "delete of all": "DELETE FROM golive_event",
    "upsert": "INSERT INTO golive_event SELECT * FROM golive_event WHERE sequence = 1 "
    "ON CONFLICT (sequence) DO UPDATE SET actor = 'mallory'",
}
_COLUMNS = ", ".join((*chain.COLUMNS, "hash"))
ALTERATIONS_BY_VENDOR = {
    "postgresql": {
        "truncate": "TRUNCATE golive_event",
        "truncate of several": "TRUNCATE go_live_state, golive_event CASCADE",
        "merge": "MERGE INTO golive_event AS e USING (SELECT 1) AS one ON e.sequence = 1 "
        "WHEN MATCHED THEN UPDATE SET actor = 'mallory'",
        "update that meets nothing": "UPDATE golive_event SET actor = 'x' WHERE sequence = 99",
    },
    "sqlite": {
        "replace": f"REPLACE INTO golive_event ({_COLUMNS}) SELECT {_COLUMNS} FROM golive_event WHERE sequence = 1",
        "replace by hash": f"INSERT OR REPLACE INTO golive_event ({_COLUMNS}) "
        f"SELECT 77, {_COLUMNS.partition(', ')[2]} FROM golive_event WHERE sequence = 1",
    },
}


def _check_refused(statement: str) -> None:
    before = [history.event_values(event) for event in events()]

    with pytest.raises(Error):
        run_sql(statement)

    assert [history.event_values(event) for event in events()] == before


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_events__altered_by_sql__is_refused_by_the_database(alteration: str) -> None:
    _check_refused(ALTERATIONS[alteration])


@pytest.mark.postgresql
@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("alteration", ALTERATIONS_BY_VENDOR["postgresql"])
def test_events__altered_in_postgresql_s_ways__is_refused_by_the_database(alteration: str) -> None:
    _check_refused(ALTERATIONS_BY_VENDOR["postgresql"][alteration])


@pytest.mark.sqlite_only
@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("alteration", ALTERATIONS_BY_VENDOR["sqlite"])
def test_events__altered_in_sqlite_s_ways__is_refused_by_the_database(alteration: str) -> None:
    _check_refused(ALTERATIONS_BY_VENDOR["sqlite"][alteration])


@pytest.mark.usefixtures("database")
def test_events__altered_by_the_model__is_refused_by_the_database() -> None:
    event = events()[0]

    for alter in (
        lambda: Event.objects.filter(pk=1).update(actor="mallory"),
        lambda: Event.objects.filter(pk=1).delete(),
        event.delete,
        event.save,
    ):
        with pytest.raises(Error):
            alter()

    check_sound()


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("column", ["sequence", "previous_hash", "hash"])
def test_events__a_second_one_in_the_same_place__is_refused(column: str) -> None:
    kept = {field.name: getattr(events()[1], field.name) for field in Event._meta.concrete_fields}
    other = {**kept, "sequence": 3, "previous_hash": "00", "hash": "11", column: kept[column]}

    with pytest.raises(IntegrityError):
        Event.objects.create(**other)


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("sequence", [0, -1])
def test_events__a_sequence_below_one__is_refused(sequence: int) -> None:
    kept = {field.name: getattr(events()[1], field.name) for field in Event._meta.concrete_fields}

    with pytest.raises(IntegrityError):
        Event.objects.create(**{**kept, "sequence": sequence, "previous_hash": "00", "hash": "11"})


@pytest.mark.usefixtures("database")
def test_events__inside_a_transaction__the_refusal_undoes_it_all() -> None:
    @transaction.atomic
    def alter() -> None:
        run_sql("UPDATE go_live_state SET lease_ms = 100")
        run_sql("DELETE FROM golive_event")

    with pytest.raises(Error):
        alter()

    assert singletons.read_go_live().lease_ms == 250


@pytest.mark.usefixtures("database")
def test_append_only_suspended__afterwards__refuses_again() -> None:
    # A test of the tests' own tool: it must not leave the table open.
    with append_only_suspended():
        run_sql("UPDATE golive_event SET actor = actor")

    with pytest.raises(Error):
        run_sql("UPDATE golive_event SET actor = actor")


# -- what the migrations froze -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "after",
    [
        {"version": "1.0.0", "backend_complete": False, "notes": None, "revision": 1},
        {"version": "Grüße 🛑", "notes": 'a "quoted"\nline', "revision": 2**40, "completed_at": "2026-01-01T00:00:00Z"},
    ],
)
@pytest.mark.parametrize(("action", "head"), list(itertools.product(["seed", "adopt"], [None, "ab" * 32])))
def test_seed__its_hash__is_that_of_the_domain(after: dict[str, Any], action: str, head: str | None) -> None:
    made = import_module("golive.migrations.operations.seed")._make_event(7, head, SYSTEM_METADATA, action, after)

    assert made["hash"] == chain.hash_event(made)
    assert set(made) == {*chain.COLUMNS, "hash"} - {"salt"}
    # Frozen: what it wrote then it writes now.
    assert made["hash_version"] == 1


def test_seed__its_columns__are_those_of_the_rows() -> None:
    seed = import_module("golive.migrations.operations.seed")

    for columns, model in ((seed._GO_LIVE, GoLiveState), (seed._SYSTEM, SystemMetadata)):
        # `event_head` the event makes; `timeline` is of the database, not of the state, and came later.
        names = {field.name for field in model._meta.concrete_fields} - {"id", "event_head", "timeline"}
        assert set(columns) == names


@pytest.mark.usefixtures("database")
def test_groups__after_the_migrations__have_exactly_these_permissions() -> None:
    found = {
        group.name: sorted(f"{p.content_type.app_label}.{p.codename}" for p in group.permissions.all())
        for group in Group.objects.prefetch_related("permissions__content_type")
    }

    view = ["golive.view_event", "golive.view_golivestate", "golive.view_systemmetadata"]
    assert found == {
        "Operators": sorted([*view, "golive.engage_kill_switch", "golive.disable_go_live"]),
        "Release managers": sorted(
            [
                *view,
                "golive.engage_kill_switch",
                "golive.disable_go_live",
                "golive.release_kill_switch",
                "golive.enable_go_live",
                "golive.complete_backend",
            ]
        ),
    }


def test_groups__changed_by_an_administrator__are_left_alone_by_the_next_migrate(scratch: None) -> None:
    migrate()
    Group.objects.get(name="Operators").permissions.clear()

    migrate("golive", "0002")
    migrate()

    assert Group.objects.get(name="Operators").permissions.count() == 0
    assert Group.objects.get(name="Release managers").permissions.count() == 8


def test_migrate__done__has_each_permission_once_and_with_its_name(scratch: None) -> None:
    migrate()

    found = run_sql(
        "SELECT p.codename, p.name FROM auth_permission p JOIN django_content_type c ON c.id = p.content_type_id "
        "WHERE c.app_label = 'golive'"
    )
    declared = {
        codename: name
        for model in (GoLiveState, SystemMetadata, Event, ApiToken)
        for codename, name in (
            *model._meta.permissions,
            *(
                (f"{action}_{model._meta.model_name}", f"Can {action} {model._meta.verbose_name}")
                for action in model._meta.default_permissions
            ),
        )
    }
    assert sorted(found) == sorted(declared.items())
