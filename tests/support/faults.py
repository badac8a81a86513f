"""Inject database faults and record statements, for tests on both database vendors."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Any
from urllib.parse import quote

from django.db import OperationalError, connection

from tests.support.patience import SLACK, wait_until


def run_sql(statement: str, params: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
    """Run SQL as from a prompt: committed at once, bypassing the controls. Returns the rows, if any."""
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return cursor.fetchall() if cursor.description else []


def is_postgresql() -> bool:
    return connection.vendor == "postgresql"


@contextmanager
def failing_writes(table: str, verb: str, *, when: str = "1 = 1", deferred: bool = False) -> Iterator[None]:
    """Within the block, the database refuses an INSERT into or UPDATE of the table if `when` is true for NEW.

    `deferred` (PostgreSQL): it refuses at commit.
    """
    if not is_postgresql():
        run_sql(
            f"CREATE TRIGGER test_fault BEFORE {verb} ON {table} WHEN {when} "
            "BEGIN SELECT RAISE(ABORT, 'made to fail'); END"
        )
        drops = ["DROP TRIGGER test_fault"]
    else:
        run_sql(
            "CREATE FUNCTION test_fault() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN RAISE EXCEPTION 'made to fail' USING ERRCODE = 'check_violation'; END$$"
        )
        timing = "CREATE CONSTRAINT TRIGGER test_fault AFTER" if deferred else "CREATE TRIGGER test_fault BEFORE"
        deferral = "DEFERRABLE INITIALLY DEFERRED" if deferred else ""
        run_sql(f"{timing} {verb} ON {table} {deferral} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION test_fault()")
        drops = [f"DROP TRIGGER test_fault ON {table}", "DROP FUNCTION test_fault()"]
    try:
        yield
    finally:
        for statement in drops:
            run_sql(statement)


@contextmanager
def append_only_suspended() -> Iterator[None]:
    """Within the block, events can be altered, as a database superuser can do."""
    if is_postgresql():
        run_sql("ALTER TABLE golive_event DISABLE TRIGGER USER")
        try:
            yield
        finally:
            run_sql("ALTER TABLE golive_event ENABLE TRIGGER USER")
        return
    triggers = run_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'golive_event'")
    for name, _ in triggers:
        run_sql(f"DROP TRIGGER {name}")
    try:
        yield
    finally:
        for _, sql in triggers:
            run_sql(sql)


@contextmanager
def renamed_table(table: str) -> Iterator[None]:
    """Within the block, the table does not exist."""
    run_sql(f"ALTER TABLE {table} RENAME TO {table}_elsewhere")
    try:
        yield
    finally:
        run_sql(f"ALTER TABLE {table}_elsewhere RENAME TO {table}")


@contextmanager
def watched_statements(before: Callable[[str], None] | None = None) -> Iterator[list[str]]:
    """Record the statements that this thread sends within the block; `before` is called before each is sent."""
    statements: list[str] = []

    def watch(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        statements.append(sql)
        if before is not None:
            before(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(watch):
        yield statements


def database_url() -> str:
    """The URL of the test database, for other processes."""
    settings = connection.settings_dict
    if not is_postgresql():
        return f"sqlite:///{settings['NAME']}"
    user, password = quote(settings["USER"], safe=""), quote(settings["PASSWORD"], safe="")
    host, port = settings["HOST"] or "127.0.0.1", settings["PORT"] or 5432
    return f"postgresql://{user}:{password}@{host}:{port}/{quote(settings['NAME'], safe='')}"


@contextmanager
def rerouted(**settings: Any) -> Iterator[None]:
    """Within the block, every thread's new connections use these settings: `HOST`, `PORT`, `NAME` and so on."""
    original = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict.update(settings)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.clear()
        connection.settings_dict.update(original)
        # The record that the other server hangs (`golive.postgresql.away`) may take a moment to clear.
        wait_until(_can_connect)


def _can_connect() -> bool:
    with suppress(OperationalError):
        connection.ensure_connection()
        return True
    return False


class Fate(Enum):
    """What happens to the request for which the proxy waits."""

    ANSWER_LOST = "passed on, and the connection ends before the answer arrives"
    REQUEST_LOST = "not passed on, and the connection ends"
    ANSWER_LATE = "passed on, and the answer does not arrive while the connection stays open"
    PANIC = "passed on, and answered as by a server whose disk was full in the middle of it"


class Proxy:
    """A TCP proxy in front of the database server that can inject faults.

    `freeze()`: connections stay open, new ones are accepted, and nothing answers, as when a host hangs.
    `strike(words, fate)`: one fault at the next request that contains these bytes.
    `lead_to(host, port)`: new connections go to another server; open ones stay.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._sockets: list[socket.socket] = []
        self._is_open = threading.Event()
        self._is_open.set()
        self._fault: tuple[bytes, Fate] | None = None
        self._is_answered = threading.Event()
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def freeze(self) -> None:
        self._is_open.clear()

    def thaw(self) -> None:
        self._is_open.set()

    def lead_to(self, host: str, port: int) -> None:
        self._target = (host, port)

    def strike(self, words: bytes, fate: Fate) -> None:
        self._is_answered.clear()
        self._fault = (words, fate)

    def await_answer(self) -> None:
        """Wait until the server has answered the struck request, so that its effect is final."""
        assert self._is_answered.wait(10 * SLACK), "the server did not answer"

    def close(self) -> None:
        self.thaw()
        for each in (self._listener, *self._sockets):
            _close(each)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(self._target)
                except OSError:
                    # The server is down for now; it may come back.
                    client.close()
                    continue
                self._sockets += [client, server]
                struck: list[Fate] = []
                for work in (self._pass_requests, self._pass_answers):
                    threading.Thread(target=work, args=(client, server, struck), name="proxy", daemon=True).start()

    def _pass_requests(self, client: socket.socket, server: socket.socket, struck: list[Fate]) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                self._is_open.wait()
                if self._fault is not None and self._fault[0] in data:
                    struck.append(self._fault[1])
                    self._fault = None
                if Fate.REQUEST_LOST in struck:
                    break
                server.sendall(data)
        _close(client)
        _close(server)

    def _pass_answers(self, client: socket.socket, server: socket.socket, struck: list[Fate]) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                self._is_open.wait()
                if struck:
                    self._is_answered.set()
                if Fate.PANIC in struck:
                    client.sendall(_error_response(S="PANIC", V="PANIC", C="53100", M="could not write to file"))
                if Fate.ANSWER_LOST in struck or Fate.PANIC in struck:
                    break
                if Fate.ANSWER_LATE not in struck:
                    client.sendall(data)
        if Fate.ANSWER_LATE not in struck:
            _close(client)
            _close(server)


def _error_response(**fields: str) -> bytes:
    """An ErrorResponse message: https://www.postgresql.org/docs/current/protocol-message-formats.html"""
    body = b"".join(name.encode() + text.encode() + b"\0" for name, text in fields.items()) + b"\0"
    return b"E" + (len(body) + 4).to_bytes(4) + body


def _close(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        each.close()


@contextmanager
def proxied() -> Iterator[Proxy]:
    """Within the block, the tests' connections go through a proxy of their own (PostgreSQL)."""
    settings = connection.settings_dict
    proxy = Proxy(settings["HOST"] or "127.0.0.1", int(settings["PORT"] or 5432))
    try:
        with rerouted(HOST="127.0.0.1", PORT=proxy.port):
            try:
                yield proxy
            finally:
                proxy.thaw()
    finally:
        proxy.close()
