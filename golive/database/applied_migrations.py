"""The migrations that a database has recorded as applied, by Alembic or Django. Read-only and bounded in time."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from threading import Timer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import psycopg

from golive.migration_graph.model import AppliedRows, Kind, UnusableInputError

# To connect (psycopg allows no less than 2 s), and for everything after that.
CONNECT_SECONDS = 5
READ_SECONDS = 5
_QUERIES = {
    Kind.ALEMBIC: "SELECT version_num FROM alembic_version",
    Kind.DJANGO: "SELECT app || '.' || name FROM django_migrations",
}
# The column that Alembic makes, and how long the one of this database is; SQLite has no such limit.
ID_LENGTH = 32
_ID_LENGTH_QUERY = """
    SELECT atttypmod - 4 FROM pg_attribute
    WHERE attrelid = to_regclass('alembic_version') AND attname = 'version_num' AND atttypmod > 4
"""
# SQLAlchemy's form: the driver's name after a plus.
_SCHEME = re.compile(r"(?P<database>postgres|postgresql|sqlite)(\+\w+)?://", re.IGNORECASE)


def read_applied(url: str, kind: Kind) -> AppliedRows:
    """The names in the tool's own table, sorted: Alembic's current revisions, or `app.name` of all applied by Django.

    `url` as SQLAlchemy or Django take it: `postgresql://`, `postgresql+psycopg2://`, `sqlite:///file`. The table must
    have its default name and be in the search path; a database without it is a fresh one. Raises UnusableInputError
    with a one-line message that never contains the password.
    """
    scheme = _SCHEME.match(url)
    if scheme is None:
        raise UnusableInputError("--database: only postgresql:// and sqlite:/// URLs can be read")
    rest = url[scheme.end() :]
    if scheme["database"].lower() == "sqlite":
        rows, length = _read_sqlite(rest, kind), None
        name = f"sqlite://{rest.partition('?')[0]}"
    else:
        rows, length = _read_postgresql(f"postgresql://{rest}", kind)
        name = _name_postgresql(rest)
    return AppliedRows(name, tuple(sorted(str(each) for (each,) in rows or ())), length, has_table=rows is not None)


def _name_postgresql(rest: str) -> str:
    """The host and the database of a URL, without user and password."""
    return f"postgresql://{rest.partition('?')[0].rpartition('@')[2]}"


def _read_sqlite(rest: str, kind: Kind) -> list[tuple[Any, ...]] | None:
    """The rows; None: there is no such table."""
    path = rest.partition("?")[0]
    if not path.startswith("/") or path == "/":
        raise UnusableInputError("--database: an SQLite URL names a file: sqlite:///relative or sqlite:////absolute")
    try:
        # `mode=ro`: a missing file is an error and is not created.
        address = f"file:{quote(path[1:])}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=READ_SECONDS)) as connection:
            return connection.execute(_QUERIES[kind]).fetchall()
    except sqlite3.Error as error:
        if "no such table" in str(error):
            return None
        raise UnusableInputError(f"--database: {path[1:]}: {error}") from None


def _read_postgresql(url: str, kind: Kind) -> tuple[list[tuple[Any, ...]] | None, int | None]:
    """The rows (None: there is no such table), and how long an id may be."""
    try:
        with closing(psycopg.connect(url, connect_timeout=CONNECT_SECONDS)) as connection, _time_limit(connection):
            connection.read_only = True
            rows = connection.execute(_QUERIES[kind]).fetchall()
            length = connection.execute(_ID_LENGTH_QUERY).fetchone()
            return rows, length[0] if length else None
    except psycopg.errors.UndefinedTable:
        return None, ID_LENGTH
    except psycopg.ProgrammingError as error:
        # libpq's message about a URL that it cannot parse repeats the URL.
        detail = error.diag.message_primary or "the URL cannot be read"
        raise UnusableInputError(f"--database: {detail}") from None
    except psycopg.Error as error:
        raise UnusableInputError(
            f"--database: {_hide_password(url, str(error).strip().partition(chr(10))[0])}"
        ) from None


@contextmanager
def _time_limit(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Shut down the connection's socket when the time is up, so that a pending call fails at once.

    On the client side, because a server that hangs enforces no timeout.
    """

    def cut_off() -> None:
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)

    timer = Timer(READ_SECONDS, cut_off)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _hide_password(url: str, text: str) -> str:
    with suppress(ValueError):
        parts = urlsplit(url)
        for password in (parts.password, *parse_qs(parts.query).get("password", ())):
            if password:
                text = text.replace(unquote(password), "***").replace(password, "***")
    return text
