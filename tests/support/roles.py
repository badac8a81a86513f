"""Temporary roles in the tests' PostgreSQL."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from tests.support.faults import database_url, run_sql

# The grants of docs/deploy/database.md that changes need.
WEB_GRANTS = (
    "GRANT SELECT, UPDATE ON system_metadata, go_live_state TO {role}",
    "GRANT SELECT, INSERT ON golive_event TO {role}",
)


@dataclass(frozen=True)
class Login:
    """A role that may log in."""

    role: str
    password: str

    @property
    def url(self) -> str:
        parts = urlsplit(database_url())
        return urlunsplit(parts._replace(netloc=f"{self.role}:{self.password}@{parts.hostname}:{parts.port}"))


@contextmanager
def login(*grants: str, options: str = "") -> Iterator[Login]:
    """A role with these grants (`{role}` is its name), dropped afterwards with everything it owns."""
    created = Login(f"test_{secrets.token_hex(4)}", secrets.token_hex(8))
    run_sql(f"CREATE ROLE {created.role} LOGIN PASSWORD '{created.password}' {options}")
    try:
        for grant in grants:
            run_sql(grant.format(role=created.role))
        yield created
    finally:
        run_sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{created.role}'")
        run_sql(f"DROP OWNED BY {created.role}")
        run_sql(f"DROP ROLE {created.role}")
