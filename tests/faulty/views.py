"""Views that write a row and then fail, each in a way of its own. The row holds the `mark` of the request.

Raw SQL on purpose: the ORM marks a transaction for rollback by itself when a statement of its own fails, and it is the
code that does without it that must not slip through.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from django.db import Error, connection, transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template import engines
from django.template.response import TemplateResponse

TABLES = (
    "CREATE TABLE faulty_parent (id integer PRIMARY KEY)",
    """
    CREATE TABLE faulty_entry (
        mark text NOT NULL,
        parent_id integer NULL REFERENCES faulty_parent (id) DEFERRABLE INITIALLY DEFERRED
    )
    """,
)
MESSAGE = "The view failed on purpose."


class RefusalError(Exception):
    """Raised by the views' own code, and caught by it."""


def write(request: HttpRequest, mark: str) -> HttpResponse:
    """Nothing fails. Answers which process and which connection served it."""
    _insert(mark)
    return JsonResponse({"mark": mark, "process": os.getpid(), "connection": _connection_id()})


def count(request: HttpRequest, mark: str) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM faulty_entry WHERE mark = %s", [mark])
        (found,) = cursor.fetchone()
    return JsonResponse({"count": found})


def write_and_raise(request: HttpRequest, mark: str) -> HttpResponse:
    _insert(mark)
    raise RuntimeError(MESSAGE)


def write_and_raise_not_found(request: HttpRequest, mark: str) -> HttpResponse:
    _insert(mark)
    raise Http404


def write_and_refuse(request: HttpRequest, status: int, mark: str) -> HttpResponse:
    """The handled refusal: the exception is caught, and an answer says no."""
    try:
        _insert(mark)
        raise RefusalError
    except RefusalError:
        return JsonResponse({"refused": True}, status=status)


def write_and_break_a_statement(request: HttpRequest, status: int, mark: str) -> HttpResponse:
    _insert(mark)
    _swallow(lambda: _execute("SELECT nothing FROM faulty_no_such_table"))
    return JsonResponse({"swallowed": True}, status=status)


def write_and_break_a_savepoint(request: HttpRequest, mark: str) -> HttpResponse:
    """The right way to try a statement: what came before it stays."""

    def try_it() -> None:
        with transaction.atomic():
            _execute("SELECT nothing FROM faulty_no_such_table")

    _insert(mark)
    _swallow(try_it)
    return JsonResponse({"mark": mark})


def write_and_lose_the_connection(request: HttpRequest, mark: str, status: int = 0) -> HttpResponse:
    """The backend is terminated by somebody else; with a status the error is caught and answered so."""
    _insert(mark)
    backend = _connection_id()
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])
    finally:
        other.close()
    if not status:
        _insert(mark)
    _swallow(lambda: _insert(mark))
    return JsonResponse({"swallowed": True}, status=status)


def write_what_fails_at_commit(request: HttpRequest, mark: str) -> HttpResponse:
    """The row names a parent that is not there, which the database looks at no sooner than at COMMIT."""
    _execute("INSERT INTO faulty_entry (mark, parent_id) VALUES (%s, 404)", mark)
    return JsonResponse({"mark": mark})


def write_and_render_a_broken_template(request: HttpRequest, mark: str) -> HttpResponse:
    """Rendered after the view has returned."""

    def fail() -> str:
        raise RuntimeError(MESSAGE)

    _insert(mark)
    template: Any = engines["django"].from_string("{{ fail }}")
    return TemplateResponse(request, template, {"fail": fail})


def _insert(mark: str) -> None:
    _execute("INSERT INTO faulty_entry (mark) VALUES (%s)", mark)


def _execute(statement: str, *parameters: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def _swallow(call: Callable[[], None]) -> None:
    try:
        call()
    except Error:
        return
    raise AssertionError("the statement did not fail")


def _connection_id() -> int:
    if connection.vendor != "postgresql":
        return id(connection.connection)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (number,) = cursor.fetchone()
    return int(number)
