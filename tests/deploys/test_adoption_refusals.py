"""Refusals: each names table, column and a remedy that works when it is run literally, and nothing was changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, transaction
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st

from golive.migrations.adoption import operation
from golive.migrations.adoption.shapes import Shape
from tests.deploys.defects import BASE, DEFECTS, GLOBALS, Defect
from tests.deploys.remedies import read_remedies
from tests.deploys.sandbox import Sandbox, open_sandbox
from tests.deploys.snapshots import find_differences
from tests.support.postgres import fresh_database
from tests.support.profiles import examples

pytestmark = pytest.mark.postgresql

ROUNDS = 4
_EACH = "FOR EACH ROW EXECUTE FUNCTION act()"
_NAMED = {defect.name: defect for defect in DEFECTS}
_ROW = {
    "id": 1,
    "go_live_enabled": True,
    "kill_switch_engaged": False,
    "changed_by": "ann",
    "reason": "because",
    "updated_at": datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC),
}
# Where a column elsewhere has the table's row type, no column here can be altered, not even by a remedy for another.
_TOGETHER = [defect for defect in DEFECTS if defect.name != "row_type"]
# Remedies that write a value, since the one that stands means nothing.
_REPAIRED = {"flag_of_2": "kill_switch_engaged", "infinity": "updated_at", "many_rows_none_of_1": "updated_at"}


@pytest.fixture(scope="module")
def sandbox(django_db_blocker: Any) -> Iterator[Sandbox]:
    with django_db_blocker.unblock(), fresh_database("refusals") as url, open_sandbox(url) as opened:
        yield opened


@pytest.fixture
def base(sandbox: Sandbox) -> Iterator[Sandbox]:
    """Two legacy tables that would be adopted, in a schema of their own."""
    with sandbox.schemas():
        sandbox.execute(*BASE)
        yield sandbox
        _drop_globals(sandbox)


def _drop_globals(sandbox: Sandbox) -> None:
    sandbox.execute(*(f"DROP {what}" for what in GLOBALS))


def _refuse_and_follow(sandbox: Sandbox) -> str:
    """What was told first. Then the remedies are run as they are, until nothing stands against adoption."""
    told = first = sandbox.refuse()
    for _ in range(ROUNDS):
        sandbox.execute(*read_remedies(told))
        told = sandbox.find_faults()
        if not told:
            return first
    raise AssertionError(f"refused again after {ROUNDS} rounds of remedies: {told}")


@pytest.mark.parametrize("name", sorted(_NAMED))
def test_refusal__one_defect__is_told_and_its_remedy_works(base: Sandbox, name: str) -> None:
    defect = _NAMED[name]
    base.execute(*defect.statements)

    told = _refuse_and_follow(base)

    for words in defect.told:
        assert words in told
    base.migrate()
    assert base.find_schema_faults() == []
    (row,) = base.query("SELECT * FROM go_live_state")
    if defect.is_row_kept:
        kept = {column: value for column, value in _ROW.items() if column != _REPAIRED.get(name)}
        assert {column: row[column] for column in kept} == kept
    else:
        assert row["id"] == 1


def test_refusal__unfit_flag__becomes_the_safe_value(base: Sandbox) -> None:
    base.execute("UPDATE go_live_state SET go_live_enabled = 7, kill_switch_engaged = -1")
    base.execute("UPDATE system_metadata SET backend_complete = 3")
    _refuse_and_follow(base)
    base.migrate()
    (row,) = base.query(
        "SELECT go_live_enabled, kill_switch_engaged, backend_complete FROM go_live_state, system_metadata"
    )
    assert row == {"go_live_enabled": False, "kill_switch_engaged": True, "backend_complete": False}


def test_refusal__both_tables__are_told_at_once(base: Sandbox) -> None:
    base.execute(*_NAMED["before_christ"].statements, *_NAMED["flag_of_2"].statements)
    base.execute("CREATE VIEW v AS SELECT reason, notes FROM go_live_state, system_metadata")
    told = base.refuse()
    for subject in (
        "system_metadata.completed_at",
        "system_metadata.notes",
        "go_live_state.kill_switch_engaged",
        "go_live_state.reason",
    ):
        assert f"  {subject} " in told


@settings(
    max_examples=examples(12),
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(defects=st.lists(st.sampled_from(_TOGETHER), min_size=2, max_size=3, unique_by=lambda d: d.subject))
def test_refusal__several_defects__all_are_put_right_by_the_remedies(sandbox: Sandbox, defects: list[Defect]) -> None:
    with sandbox.schemas():
        try:
            _make_together(sandbox, defects)
            _refuse_and_follow(sandbox)
            sandbox.migrate()
            assert sandbox.find_schema_faults() == []
        finally:
            _drop_globals(sandbox)


def _make_together(sandbox: Sandbox, defects: list[Defect]) -> None:
    try:
        sandbox.execute(*BASE, *(statement for defect in defects for statement in defect.statements))
    except psycopg.Error:
        reject()  # they cannot stand beside each other


def test_view__on_a_column_that_stays__is_no_obstacle(base: Sandbox) -> None:
    base.execute(
        "ALTER TABLE go_live_state ALTER kill_switch_engaged DROP DEFAULT",
        "ALTER TABLE go_live_state ALTER kill_switch_engaged TYPE boolean USING NULL",
        "CREATE VIEW v AS SELECT id, kill_switch_engaged FROM go_live_state",
    )
    base.migrate()
    assert base.query("SELECT * FROM v") == [{"id": 1, "kill_switch_engaged": True}]


@pytest.mark.parametrize(
    "statements",
    [
        (f"CREATE TRIGGER t AFTER UPDATE ON go_live_state {_EACH}",),
        (f"CREATE TRIGGER t BEFORE DELETE ON go_live_state {_EACH}",),
        ("CREATE TRIGGER t BEFORE UPDATE ON go_live_state FOR EACH STATEMENT EXECUTE FUNCTION act()",),
        (f"CREATE CONSTRAINT TRIGGER t AFTER UPDATE ON go_live_state INITIALLY DEFERRED {_EACH}",),
        (
            f"CREATE TRIGGER t BEFORE UPDATE ON go_live_state {_EACH}",
            "ALTER TABLE go_live_state DISABLE TRIGGER t",
        ),
        (
            "CREATE TABLE log (at timestamptz)",
            "CREATE RULE r AS ON UPDATE TO go_live_state DO ALSO INSERT INTO log VALUES (now())",
        ),
        ("CREATE TABLE trail (state int REFERENCES go_live_state)",),
        ("CREATE POLICY p ON go_live_state USING (id = 1)", "ALTER TABLE go_live_state ENABLE ROW LEVEL SECURITY"),
        ("ALTER TABLE go_live_state ADD CHECK (go_live_enabled >= 0 AND go_live_enabled IS NOT NULL)",),
        ("ALTER TABLE go_live_state ADD CONSTRAINT go_live_state_lease_range CHECK (id > 0)",),
        ("ALTER TABLE go_live_state ADD CONSTRAINT later NOT NULL kill_switch_engaged NOT VALID",),
        ("CREATE INDEX i ON go_live_state (lower(reason), kill_switch_engaged)",),
        ("CREATE STATISTICS s ON reason, changed_by FROM go_live_state",),
        ("COMMENT ON TABLE go_live_state IS 'ours, not yours'", "GRANT SELECT ON go_live_state TO PUBLIC"),
    ],
)
def test_adoption__what_does_no_harm__stays(base: Sandbox, statements: tuple[str, ...]) -> None:
    base.execute(
        "CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "UPDATE go_live_state SET kill_switch_engaged = NULL",
        "ALTER TABLE go_live_state ADD PRIMARY KEY (id)",
        *statements,
    )
    base.migrate()
    assert base.find_schema_faults() == []
    (row,) = base.query("SELECT * FROM go_live_state")
    assert {name: row[name] for name in _ROW} == {**_ROW, "kill_switch_engaged": True}


@pytest.mark.parametrize("locked", ["go_live_state", "trail"])
def test_adoption__a_lock_that_is_not_had__is_no_fault_of_the_tables(base: Sandbox, locked: str) -> None:
    """The command tries again; it must see the time-out and not a refusal."""
    base.execute(
        "ALTER TABLE go_live_state ALTER id TYPE bigint, ADD PRIMARY KEY (id)",
        "CREATE TABLE trail (state bigint REFERENCES go_live_state)",
    )
    with psycopg.connect(base.url) as other, base.connect().cursor() as cursor:
        other.execute(f"SELECT FROM {base.search_path}.{locked}".encode())
        cursor.execute("SET lock_timeout = '50ms'")
        for attempt in (base.find_faults, base.migrate_first):
            before = base.take_snapshot()
            with pytest.raises(OperationalError) as failure:
                attempt()
            assert getattr(failure.value.__cause__, "sqlstate", None) == "55P03"
            base.assert_unchanged_since(before)
        other.rollback()
        base.migrate_first()
        cursor.execute("RESET lock_timeout")


@pytest.mark.parametrize("mutant", ["what is tried stays", "one table after the other, committed in between"])
def test_mutation__a_refused_adoption_that_altered_something__is_caught(
    base: Sandbox, monkeypatch: pytest.MonkeyPatch, mutant: str
) -> None:
    base.execute(*_NAMED["before_christ"].statements)
    if mutant == "what is tried stays":
        monkeypatch.setattr(transaction, "set_rollback", lambda rollback, using=None: None)
    else:
        use_standing = operation._use_existing

        def use_and_commit(cursor: Any, shape: Shape, pending: Collection[Shape]) -> bool:
            done = use_standing(cursor, shape, [shape])
            cursor.execute("COMMIT")
            cursor.execute("BEGIN")
            return done

        monkeypatch.setattr(operation, "_use_existing", use_and_commit)
    with pytest.raises(AssertionError, match="pg_attribute"):
        base.refuse()


def test_snapshot__a_table_written_anew__differs(base: Sandbox) -> None:
    for statement in (
        "UPDATE go_live_state SET id = 1",
        "VACUUM FULL go_live_state",
        "CREATE INDEX ON go_live_state (id)",
    ):
        before = base.take_snapshot()
        assert find_differences(before, base.take_snapshot()) == []
        base.execute(statement)
        assert find_differences(before, base.take_snapshot()) != []
