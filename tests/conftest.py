"""Fixtures for all. The database is real and committed: nothing here hides a test in a transaction.

`golive` commits in its own transactions and reads on threads of its own, so a test that rolled back around it would
test something else. `database` therefore empties all tables after each test and seeds them again.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connections
from django.test.utils import setup_databases, teardown_databases
from hypothesis import settings

from golive.state import snapshots
from tests.support import profiles
from tests.support.patience import find_patient_limits

settings.load_profile(profiles.DEFAULT)


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker: Any) -> Iterator[None]:
    """The test database. pytest-django's own makes it only for tests that use its marks and fixtures."""
    with django_db_blocker.unblock():
        made = setup_databases(verbosity=0, interactive=False, aliases={"default": set()})
        # As the seeds make it: migrate has also recorded itself.
        reset_database()
    yield
    with django_db_blocker.unblock():
        snapshots.stop_all()
        connections.close_all()
        teardown_databases(made, verbosity=0)


@pytest.fixture(autouse=True)
def without_lease(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process every read is fresh and no writer waits, so that tests need not; `leased` ones are about that."""
    from golive.state import leases

    if request.node.get_closest_marker("leased") is None:
        monkeypatch.setattr(leases, "lease_seconds", lambda lease_ms: 0.0)
        monkeypatch.setattr(leases, "wait_out", lambda lease_ms: None)


@pytest.fixture(autouse=True)
def patient_checks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process a check has 20 s, for a busy machine; tests marked `check_limits` have the 1 s of the service."""
    if request.node.get_closest_marker("check_limits") is None:
        for holder, name, limit in find_patient_limits():
            monkeypatch.setitem(holder, name, limit)


@pytest.fixture(autouse=True)
def without_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing rehearses a stop by itself while a test alters tables; the tests of that ask for it."""
    from golive.controls import rehearsal

    monkeypatch.setattr(rehearsal, "start_watch", lambda: None)
    monkeypatch.setattr(rehearsal, "SHARED_SECONDS", 0.0)


@pytest.fixture
def database(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """A migrated database as after the first deploy: both rows with their safe defaults, two events, two groups."""
    from golive.controls import gathering

    with django_db_blocker.unblock():
        try:
            yield
        finally:
            snapshots.stop_all()
            gathering.forget()
            reset_database()


def reset_database() -> None:
    """Empty every table, past the triggers that refuse it, and seed again as the migrations do."""
    from django.apps import apps
    from django.db import connection, transaction

    name = str(connection.settings_dict["NAME"])
    assert name.startswith("test_") or name.endswith(".test"), f"{name} is not a test database"
    connection.ensure_connection()
    if connection.connection is None or not connection.is_usable():
        connection.close()
    tables = [model._meta.db_table for model in apps.get_models(include_auto_created=True)]
    tables = [table for table in tables if table not in ("django_content_type", "auth_permission")]
    seeds = [
        import_module("golive.migrations.operations.seed").seed,
        import_module("golive.migrations.0003_groups").make_groups,
    ]
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL session_replication_role = replica")
            # One statement, and not TRUNCATE: for tables of a few rows its new files cost far more than the rows.
            cursor.execute("; ".join(f"DELETE FROM {table}" for table in tables))
        else:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            triggers = cursor.fetchall()
            for trigger, _ in triggers:
                cursor.execute(f"DROP TRIGGER {trigger}")
            cursor.execute("PRAGMA defer_foreign_keys = ON")
            for table in tables:
                cursor.execute(f"DELETE FROM {table}")
            for _, sql in triggers:
                cursor.execute(sql)
    with transaction.atomic():
        for seed in seeds:
            seed(apps, SimpleNamespace(connection=connection))
