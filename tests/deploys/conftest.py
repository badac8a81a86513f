"""One PostgreSQL server for the tests of deploys, which stop and freeze it, and databases on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from typing import Any

import psycopg
import pytest
from django.db import connections

from golive.database import schema
from golive.state import history
from tests.deploys.project import Project, end_all
from tests.support.postgres import PostgresServer

# As other tools have left them: every kind of difference that adoption knows, and rows that are worth keeping.
LEGACY = """
CREATE TABLE system_metadata (
    id bigserial PRIMARY KEY, version varchar(50) NOT NULL DEFAULT '0.9', backend_complete integer, notes text,
    updated_at timestamp NOT NULL DEFAULT now(), completed_at timestamp, owner text);
CREATE TABLE go_live_state (
    id serial PRIMARY KEY, go_live_enabled boolean DEFAULT false, kill_switch_engaged boolean DEFAULT false,
    changed_by varchar(120), reason varchar(200), updated_at timestamp);
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO system_metadata VALUES (1, '2.7.1', 1, 'kept', '2026-01-02 03:04:05', '2026-01-01 00:00:00', 'ops');
INSERT INTO go_live_state VALUES (1, true, false, 'ann', 'launch', '2026-01-02 03:04:05.678901');
INSERT INTO alembic_version VALUES ('abc123');
"""
LEGACY_ROWS = {
    "SELECT version, backend_complete, notes, updated_at::text, completed_at::text, owner FROM system_metadata": [
        ("2.7.1", True, "kept", "2026-01-02 03:04:05+00", "2026-01-01 00:00:00+00", "ops")
    ],
    "SELECT go_live_enabled, kill_switch_engaged, changed_by, reason, updated_at::text FROM go_live_state": [
        (True, False, "ann", "launch", "2026-01-02 03:04:05.678901+00")
    ],
    "SELECT version_num FROM alembic_version": [("abc123",)],
}
SEED_EVENTS = [("system_metadata", "seed"), ("go_live_state", "seed"), ("deploy", "migrate")]
ADOPT_EVENTS = [("system_metadata", "adopt"), ("go_live_state", "adopt"), ("deploy", "migrate")]

MakeProject = Callable[..., Project]
Alias = Callable[[Project], AbstractContextManager[str]]


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        with psycopg.connect(server.create_database("legacy"), autocommit=True) as connection:
            connection.execute(LEGACY.encode())
        yield server


@pytest.fixture(scope="session")
def make_project(server: PostgresServer) -> MakeProject:
    """Makes the project on a database of its own: empty, or a copy of the one named."""
    numbers = count(1)

    def make(template: str = "template1") -> Project:
        name = f"deploy_{next(numbers)}"
        server.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return Project(server.url(name))

    return make


@pytest.fixture(scope="session")
def migrated(make_project: MakeProject) -> Project:
    """A migrated database that nobody changes: a template, and what others are compared with."""
    project = make_project()
    project.migrate()
    return project


@pytest.fixture(scope="session")
def adopted(make_project: MakeProject) -> Project:
    """As `migrated`, from the legacy tables."""
    project = make_project("legacy")
    project.migrate()
    return project


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    yield
    end_all()


@pytest.fixture
def project(make_project: MakeProject, migrated: Project) -> Project:
    """The project on a migrated database of its own."""
    return make_project(migrated.name)


@pytest.fixture
def alias(django_db_setup: None, django_db_blocker: Any) -> Alias:
    """A connection of this process to a project's database: `with alias(project) as using`."""

    @contextmanager
    def connect(project: Project) -> Iterator[str]:
        parameters = psycopg.conninfo.conninfo_to_dict(project.url)
        names = {"HOST": "host", "PORT": "port", "USER": "user", "PASSWORD": "password", "NAME": "dbname"}
        connections.settings["inspected"] = {
            **connections.settings["default"],
            **{name: parameters[key] for name, key in names.items()},
        }
        with django_db_blocker.unblock():
            try:
                yield "inspected"
            finally:
                connections["inspected"].close()
                del connections["inspected"]
                del connections.settings["inspected"]

    return connect


@pytest.fixture
def inspected(alias: Alias) -> Callable[[Project], Any]:
    """What `golive` itself finds in a project's database."""

    def inspect(project: Project) -> tuple[str, list[str], tuple[Any, ...]]:
        """The schema's fingerprint, its faults, and the problems of the chain."""
        with alias(project) as using:
            found = schema.describe(using=using)
            faults = schema.find_faults(found, using=using)
            return schema.fingerprint(found), faults, history.verify(using=using).problems

    return inspect
