"""Why a database failed, in words for the people who can fix it. They never contain a password or a URL."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass

import psycopg
from django.db import Error, connections

TABLES_MISSING = "Tables or columns are missing. Run `manage.py migrate`."
NO_ANSWER = "The database does not answer"
_NO_TABLES = "Tables or columns are missing (run `manage.py migrate`)"
_READ_ONLY = "The database is read-only"
_DISK_FULL = "The disk of the database is full"
_TOO_MANY_CONNECTIONS = "No connection slot of the database is left"
_OVERFLOW = "A revision or sequence has reached its maximum"
_REFUSED_BY_RULE = "A trigger, a rule or a constraint of the database refused it"
_NO_PASSWORD = "The database rejects the password"  # noqa: S105 - says that it is wrong
_NO_LOGIN = "The database refuses the login"
_NO_DATABASE = "There is no database of that name"
_RESTARTING = "The database is starting or shutting down"
_TIMED_OUT = "The database does not answer in time"

MAX_DETAIL = 300
# Keyed by SQLSTATE, or by its class (the first two characters).
_BY_STATE: dict[str, tuple[str, bool]] = {
    "22003": (_OVERFLOW, True),
    "25006": (_READ_ONLY, True),
    # The idle timeout: nothing was sent for too long, so it was not the database that was slow.
    "25P03": ("The service paused in the middle of the transaction", False),
    "28P01": (_NO_PASSWORD, True),
    "3D000": (_NO_DATABASE, True),
    "3F000": (_NO_TABLES, True),
    "42501": ("The role of the service lacks a right", True),
    "42703": (_NO_TABLES, True),
    "42P01": (_NO_TABLES, True),
    "53100": (_DISK_FULL, True),
    "53300": (_TOO_MANY_CONNECTIONS, False),
    "55P03": ("Another session holds what the change needs", False),
    "57014": ("The database took too long", False),
    "57P01": ("The database ended the connection", False),
    "57P02": (_RESTARTING, False),
    "57P03": (_RESTARTING, False),
    "P0001": (_REFUSED_BY_RULE, True),
    "08": ("The connection to the database was lost", False),
    "23": (_REFUSED_BY_RULE, True),
    "28": (_NO_LOGIN, True),
    "40": ("Another transaction came first", False),
}
# SQLite, and failures before the session has started, have only a text.
_BY_TEXT: tuple[tuple[str, str, bool], ...] = (
    (r"password authentication failed|no password supplied", _NO_PASSWORD, True),
    (r'database ".*" does not exist', _NO_DATABASE, True),
    (r"connection slots|too many (clients|connections)", _TOO_MANY_CONNECTIONS, False),
    (r"pg_hba\.conf|role \".*\" does not exist|not permitted to log in|(support|requires?) SSL", _NO_LOGIN, True),
    (r"database system is|not (yet )?accepting connections", _RESTARTING, False),
    (r"translate host name|resolve host|name resolution|or service not known", "The host's name is not known", True),
    (r"timeout expired|timed out|in time|no time left|database hangs", _TIMED_OUT, False),
    (r"invalid (connection option|.*value|.*parameter)", "An option of the connection is not understood", True),
    (r"refused|no route|unreachable|no such file", "The database cannot be reached", False),
    (r"in recovery|during recovery", _READ_ONLY, True),
    (r"^no such (table|column)", _NO_TABLES, True),
    (r"readonly database", _READ_ONLY, True),
    (r"disk is full", _DISK_FULL, True),
    (r"database is locked", "Another session holds what the change needs", False),
    (r"int too large", _OVERFLOW, True),
)


@dataclass(frozen=True)
class Cause:
    """`sentence` is public. `detail` is the database's own message, not public. `is_lasting`: a retry cannot help."""

    sentence: str
    detail: str = ""
    is_lasting: bool = False

    def __str__(self) -> str:
        return f"{self.sentence} ({self.detail})" if self.detail else self.sentence


def find_cause(error: BaseException, *, using: str) -> Cause:
    """The cause of a failed database operation, whatever it raised."""
    text = _clean(f"{error}" if isinstance(error, Error | psycopg.Error) else f"{type(error).__name__}: {error}", using)
    state = find_state(error)
    if state is not None:
        sentence, is_lasting = _BY_STATE.get(state, _BY_STATE.get(state[:2], ("The database refused it", False)))
        if state == "42501" and (named := re.search(r"\b(table|schema|sequence|relation|function) [\w.]+", text)):
            sentence = f"{sentence} on the {named.group()}"
        return Cause(sentence, text, is_lasting)
    for pattern, sentence, is_lasting in _BY_TEXT:
        if re.search(pattern, text, re.IGNORECASE):
            return Cause(sentence, text, is_lasting)
    if type(error).__name__ == "IntegrityError":
        return Cause(_REFUSED_BY_RULE, text, is_lasting=True)
    if isinstance(error.__cause__ or error, psycopg.Error):
        return Cause(NO_ANSWER, text)
    return Cause("The database cannot be used", text, is_lasting=True)


def find_state(error: BaseException) -> str | None:
    """PostgreSQL's error code (SQLSTATE), if the server sent one."""
    for each in (error, error.__cause__):
        state = getattr(each, "sqlstate", None)
        if isinstance(state, str):
            return state
    return None


def find_severity(error: BaseException) -> str | None:
    """PostgreSQL's severity (ERROR, FATAL or PANIC); None if the server sent none."""
    for each in (error, error.__cause__):
        if isinstance(each, psycopg.Error):
            return each.diag.severity_nonlocalized
    return None


def lacks_tables(error: BaseException) -> bool:
    """Whether a statement failed because a table or column is missing."""
    return find_cause(error, using="").sentence == _NO_TABLES


def _clean(text: str, using: str) -> str:
    """The text on one line, without the password or any URL."""
    with suppress(Exception):  # unreadable settings must not hide the failure
        password = str(connections.settings[using].get("PASSWORD") or "")
        text = text.replace(password, "***") if password else text
    text = re.sub(r"\w+://\S+", "***", " ".join(text.split()))
    return text if len(text) <= MAX_DETAIL else f"{text[: MAX_DETAIL - 1]}…"
