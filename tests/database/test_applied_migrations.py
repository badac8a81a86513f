"""Reading what a database has run, from the tools' own tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from golive.database import applied_migrations
from golive.database.applied_migrations import read_applied
from golive.migration_graph.model import Kind, UnusableInputError
from tests.support.patience import ends_within
from tests.support.postgres import PostgresServer

ALEMBIC = "CREATE TABLE alembic_version (version_num varchar(32))"
DJANGO = "CREATE TABLE django_migrations (id integer, app varchar(255), name varchar(255))"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a file.sqlite3"


def execute(file: Path, *statements: str) -> None:
    connection = sqlite3.connect(file)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.sqlite_only
@pytest.mark.parametrize("scheme", ["sqlite", "sqlite+pysqlite", "SQLite"])
def test_sqlite__alembic__gives_the_current_revisions(file: Path, scheme: str) -> None:
    execute(file, ALEMBIC, "INSERT INTO alembic_version VALUES ('b2'), ('a1')")

    assert read_applied(f"{scheme}:///{file}", Kind.ALEMBIC).rows == ("a1", "b2")


@pytest.mark.sqlite_only
def test_sqlite__django__gives_app_and_name(file: Path) -> None:
    execute(file, DJANGO, "INSERT INTO django_migrations VALUES (1, 'shop', '0001_initial')")

    assert read_applied(f"sqlite:///{file}?timeout=3", Kind.DJANGO).rows == ("shop.0001_initial",)


@pytest.mark.sqlite_only
def test_sqlite__no_such_table__is_a_fresh_database(file: Path) -> None:
    execute(file, DJANGO)

    assert read_applied(f"sqlite:///{file}", Kind.ALEMBIC).rows == ()


@pytest.mark.sqlite_only
def test_sqlite__no_such_file__is_an_error_and_makes_none(file: Path) -> None:
    with pytest.raises(UnusableInputError, match="unable to open"):
        read_applied(f"sqlite:///{file}", Kind.ALEMBIC)

    assert not file.exists()


@pytest.mark.sqlite_only
@pytest.mark.parametrize("url", ["mysql://u:secret@host/db", "sqlite://", "sqlite:///", "nonsense", ""])
def test_url__of_another_kind__is_refused_without_the_password(url: str) -> None:
    with pytest.raises(UnusableInputError) as caught:
        read_applied(url, Kind.ALEMBIC)

    assert "secret" not in str(caught.value)


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:secret@127.0.0.1:1/db",
        "postgresql://u:secret@127.0.0.1:port/db",
        "postgresql://u:secret@127.0.0.1:1/db?no_such_option=1",
        "postgresql://127.0.0.1:1/db?user=u&password=secret",
        "postgresql://u:secret@[::1/db",
    ],
)
def test_postgresql__that_cannot_be_reached__says_so_on_one_line_without_the_password(url: str) -> None:
    with pytest.raises(UnusableInputError) as caught:
        read_applied(url, Kind.ALEMBIC)

    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as running:
        yield running


@pytest.mark.postgresql
def test_postgresql__the_tables_of_both_tools__are_read_and_nothing_is_written(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.create_database("applied")
    assert read_applied(url, Kind.ALEMBIC).rows == ()
    with psycopg.connect(url) as connection:
        connection.execute(ALEMBIC + "; INSERT INTO alembic_version VALUES ('b2'), ('a1')")
        connection.execute(DJANGO + "; INSERT INTO django_migrations VALUES (1, 'shop', '0001_initial')")

    assert read_applied(url, Kind.ALEMBIC).rows == ("a1", "b2")
    assert read_applied(url.replace("://", "+psycopg2://", 1), Kind.DJANGO).rows == ("shop.0001_initial",)
    monkeypatch.setitem(applied_migrations._QUERIES, Kind.ALEMBIC, "DELETE FROM alembic_version RETURNING version_num")
    with pytest.raises(UnusableInputError, match="read-only transaction"):
        read_applied(url, Kind.ALEMBIC)


@pytest.mark.postgresql
def test_postgresql__that_hangs__is_given_up(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    url = server.create_database("hanging")
    monkeypatch.setattr(applied_migrations, "READ_SECONDS", 0.5)
    slow: Any = "SELECT 'a1' FROM pg_sleep(30)"
    monkeypatch.setitem(applied_migrations._QUERIES, Kind.ALEMBIC, slow)

    # Well below the 30 s of the query.
    with ends_within(1), pytest.raises(UnusableInputError, match="--database"):
        read_applied(url, Kind.ALEMBIC)
