"""Adoption: whatever another tool made, all of it is kept, and afterwards the tables are what the models say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from tests.deploys.legacy import LegacyTable, legacy_tables
from tests.deploys.sandbox import TABLES, Sandbox, open_sandbox
from tests.support.postgres import fresh_database
from tests.support.profiles import examples

pytestmark = pytest.mark.postgresql

_BOUNDED = settings(
    max_examples=examples(40),
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # without shrinking, which would take minutes; an example can be read as it is
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def sandbox(django_db_blocker: Any) -> Iterator[Sandbox]:
    with django_db_blocker.unblock(), fresh_database("adoption") as url, open_sandbox(url) as opened:
        yield opened


@pytest.fixture(scope="module")
def fresh(sandbox: Sandbox) -> dict[str, Any]:
    """What information_schema says of tables that our migrations made, and the fingerprint."""
    with sandbox.schemas():
        sandbox.migrate()
        return {**{table: sandbox.describe(table) for table in TABLES}, "fingerprint": sandbox.fingerprint()}


def _read(sandbox: Sandbox, table: str) -> dict[str, Any] | None:
    rows = sandbox.query(f"SELECT * FROM {table}")
    assert len(rows) <= 1
    return rows[0] if rows else None


def _assert_like_fresh(sandbox: Sandbox, fresh: dict[str, Any]) -> None:
    for table in TABLES:
        described = sandbox.describe(table)
        for kind, wanted in fresh[table].items():
            assert described[kind] == wanted, (table, kind)
    assert sandbox.find_schema_faults() == []
    assert sandbox.fingerprint() == fresh["fingerprint"]


def _assert_takes_one_safe_row(sandbox: Sandbox, table: str, required: dict[str, Any]) -> None:
    """By raw SQL into the emptied table, rolled back afterwards."""
    names, values = ", ".join(["id", *required]), ", ".join(["%s"] * (1 + len(required)))
    insert = f"INSERT INTO {table} ({names}) VALUES ({values})".encode()
    with psycopg.connect(sandbox.url) as connection:
        connection.execute(f"SET search_path TO {sandbox.search_path}".encode())
        connection.execute(f"DELETE FROM {table}".encode())
        connection.execute(insert, [1, *required.values()])
        flags = {
            "go_live_state": "NOT go_live_enabled AND kill_switch_engaged AND lease_ms = 250",
            "system_metadata": "NOT backend_complete AND version = '1.0.0'",
        }
        row = connection.execute(f"SELECT {flags[table]} AND revision = 1 FROM {table}".encode()).fetchone()
        assert row == (True,)
        for other, refused in ((1, psycopg.errors.UniqueViolation), (2, psycopg.errors.CheckViolation)):
            with pytest.raises(refused), connection.transaction():
                connection.execute(insert, [other, *required.values()])
        connection.rollback()


_some_tables = st.one_of(
    *(st.tuples(legacy_tables(table)) for table in TABLES), st.tuples(*(legacy_tables(table) for table in TABLES))
)


@_BOUNDED
@given(tables=_some_tables, second=st.booleans())
def test_adoption__any_legacy_tables__are_kept_and_brought_to_our_shape(
    sandbox: Sandbox, fresh: dict[str, Any], tables: tuple[LegacyTable, ...], second: bool
) -> None:
    with sandbox.schemas(*(("", "Second") if second else ("",))) as schemas:
        # In the second schema of the search path the first one is empty, and our own tables are made there.
        standing = sandbox.search_path
        sandbox.search_path = schemas[-1]
        sandbox.execute(
            *(statement for table in tables for statement in table.make()),
            "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
            "INSERT INTO alembic_version VALUES ('ae1027a6acf')",
        )
        sandbox.search_path = standing
        before = {table.name: _read(sandbox, table.name) for table in tables}

        sandbox.migrate()

        _assert_like_fresh(sandbox, fresh)
        by_name = {table.name: table for table in tables}
        for name in TABLES:
            table, after = by_name.get(name), _read(sandbox, name)
            assert after is not None
            after.pop("event_head", None)
            if before.get(name) is not None and table is not None:
                expected = table.expect(before[name] or {})
                expected.pop("event_head", None)
                assert after == expected
            _assert_takes_one_safe_row(sandbox, name, table.required() if table is not None else {})
        events = sandbox.query("SELECT subject, action, channel FROM golive_event ORDER BY sequence")
        actions = {name: "seed" if before.get(name) is None else "adopt" for name in TABLES}
        assert events == [{"subject": n, "action": actions[n], "channel": "migration"} for n in TABLES]
        assert sandbox.query("SELECT * FROM alembic_version") == [{"version_num": "ae1027a6acf"}]
        event(f"{len(tables)} tables, {sorted(actions.values())}")
