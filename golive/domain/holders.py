"""A database session that blocks a change, as the database describes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from golive.domain.rows import format_time


@dataclass(frozen=True)
class Holder:
    """A session, or (with a `prepared` name and no pid) a prepared transaction, that holds a lock a change needs.

    `since` is the start of its transaction. What our role may not see is None.
    """

    pid: int | None
    since: datetime | None
    role: str | None = None
    application: str | None = None
    state: str | None = None
    query: str | None = None
    prepared: str | None = None

    @property
    def remedy(self) -> str:
        """The SQL that ends it."""
        if self.pid is None:
            name = "NAME" if self.prepared is None else self.prepared.replace("'", "''")
            return f"ROLLBACK PREPARED '{name}';"
        return f"SELECT pg_terminate_backend({self.pid});"

    def redacted(self) -> Holder:
        """A copy with enough to end it, and nothing about who it is or what it does."""
        return replace(self, role=None, application=None, state=None, query=None, prepared=None)

    @property
    def summary(self) -> str:
        """The public description."""
        what = "a prepared transaction" if self.pid is None else f"pid {self.pid}"
        return what if self.since is None else f"{what}, in a transaction since {format_time(self.since)}"

    def __str__(self) -> str:
        details = (
            ("prepared as", self.prepared),
            ("role", self.role),
            ("application", self.application),
            ("state", self.state),
            ("query:", self.query),
        )
        return ", ".join([self.summary, *(f"{name} {value}" for name, value in details if value)])
