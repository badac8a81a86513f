"""A database that real Alembic upgrades, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import StaticPool


class AlembicDatabase:
    """SQLite in memory. `ran`: what the revisions recorded with `INSERT INTO ran VALUES (...)`."""

    def __init__(self) -> None:
        self.engine = create_engine("sqlite://", poolclass=StaticPool)
        with self.engine.begin() as connection:
            connection.execute(text("CREATE TABLE ran (body TEXT)"))

    def upgrade(self, folder: Path, target: str | Sequence[str] = "heads") -> bool:
        """Whether Alembic did it; if not, nothing has changed."""
        try:
            script = ScriptDirectory(str(folder))
            with self.engine.begin() as connection:
                self._run(connection, script, target)
        except Exception:  # noqa: BLE001 - each of Alembic's errors is a refusal
            return False
        return True

    def _run(self, connection: Connection, script: ScriptDirectory, target: Any) -> None:
        options = {"fn": lambda rows, _: script._upgrade_revs(target, rows)}
        context = MigrationContext.configure(connection, opts=options)
        with Operations.context(context):
            context.run_migrations()

    def stamp(self, rows: Sequence[str]) -> None:
        with self.engine.begin() as connection:
            connection.execute(text("DELETE FROM alembic_version"))
            for row in rows:
                connection.execute(text("INSERT INTO alembic_version VALUES (:row)"), {"row": row})

    @property
    def rows(self) -> frozenset[str]:
        with self.engine.begin() as connection:
            return frozenset(connection.scalars(text("SELECT version_num FROM alembic_version")))

    @property
    def ran(self) -> list[str]:
        with self.engine.begin() as connection:
            return list(connection.scalars(text("SELECT body FROM ran")))
