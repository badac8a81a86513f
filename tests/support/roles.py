"""Roles of the tests' PostgreSQL for one test each."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from tests.support.faults import database_url, run_sql

# What docs/deploy/database.md grants, as far as changes are concerned.
WEB_GRANTS = (
    "GRANT SELECT, UPDATE ON system_metadata, go_live_state TO {role}",
    "GRANT SELECT, INSERT ON golive_event TO {role}",
)


@dataclass(frozen=True)
class Login:
    """A role that may connect, and what it was granted."""

    role: str
    password: str

    @property
    def url(self) -> str:
        parts = urlsplit(database_url())
        return urlunsplit(parts._replace(netloc=f"{self.role}:{self.password}@{parts.hostname}:{parts.port}"))


@contextmanager
def login(*grants: str, options: str = "") -> Iterator[Login]:
    """A role with these grants (`{role}` is its name), dropped in the end with what it owns."""
    made = Login(f"test_{secrets.token_hex(4)}", secrets.token_hex(8))
    run_sql(f"CREATE ROLE {made.role} LOGIN PASSWORD '{made.password}' {options}")
    try:
        for grant in grants:
            run_sql(grant.format(role=made.role))
        yield made
    finally:
        run_sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{made.role}'")
        run_sql(f"DROP OWNED BY {made.role}")
        run_sql(f"DROP ROLE {made.role}")
