"""The indexes of the record: made and dropped while the service works, and made again after a try that was cut off."""

from __future__ import annotations

import pytest

from tests.deploys.project import Project
from tests.deploys.test_migrate_ddl import transaction
from tests.support.patience import wait_until

pytestmark = pytest.mark.postgresql

BEFORE = ("golive", "0005")
WRITING = "LOCK TABLE golive_event IN ROW EXCLUSIVE MODE"  # as whoever is inserting an event
_WAITING = """
SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
AND query LIKE '% INDEX CONCURRENTLY%'
"""
_INDEXES = """
SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = 'golive_event'::regclass AND c.relname IN ('golive_event_marks', 'golive_event_changed') ORDER BY 1
"""
MARKS, UNUSED = ("golive_event_marks", True), ("golive_event_changed", True)


@pytest.fixture
def older(project: Project) -> Project:
    """Migrated, but for the indexes."""
    project.migrate(*BEFORE)
    assert project.query(_INDEXES) == []
    return project


def is_index_waiting(project: Project) -> bool:
    return bool(project.query(_WAITING))


@pytest.mark.parametrize(("number", "indexes"), [("0005", []), ("0006", [UNUSED, MARKS])], ids=["made", "dropped"])
def test_index__while_it_is_made_or_dropped__a_stop_is_made_at_once(
    older: Project, number: str, indexes: list[tuple[str, bool]]
) -> None:
    older.migrate("golive", number)
    assert older.query(_INDEXES) == indexes
    with transaction(older, WRITING):
        migrate = older.start("migrate")
        wait_until(lambda: is_index_waiting(older), 60)

        stopped = older.run("golive", "engage", "--reason", "now")

        assert (stopped.returncode, is_index_waiting(older)) == (0, True), stopped.stderr
    output, errors = migrate.communicate(timeout=120)
    assert migrate.returncode == 0, output + errors
    assert older.query(_INDEXES) == [MARKS]


def test_index__dropped__is_made_again_by_migrating_back(older: Project) -> None:
    older.migrate()
    assert older.query(_INDEXES) == [MARKS]

    older.migrate("golive", "0006")

    assert older.query(_INDEXES) == [UNUSED, MARKS]


def test_index__cut_off__is_made_again_by_the_next_migrate(older: Project) -> None:
    with transaction(older, WRITING):
        migrate = older.start("migrate")
        wait_until(lambda: is_index_waiting(older), 60)
        older.query(f"SELECT pg_terminate_backend(pid) FROM ({_WAITING}) AS waiting")
        output, errors = migrate.communicate(timeout=120)
    assert migrate.returncode == 1
    assert "Run migrate again" in output + errors
    assert older.query(_INDEXES) == [("golive_event_marks", False)]

    older.migrate()

    assert older.query(_INDEXES) == [MARKS]
    assert older.applied()[-1].startswith("golive.0007")


@pytest.mark.parametrize("number", ["0006", "0007"])
def test_index__made_or_dropped_but_not_recorded__is_left_as_it_is(older: Project, number: str) -> None:
    older.migrate("golive", number)
    indexes = older.query(_INDEXES)
    older.query(f"DELETE FROM django_migrations WHERE app = 'golive' AND name LIKE '{number}%'")

    older.migrate("golive", number)

    assert older.query(_INDEXES) == indexes
