"""A legacy application with Alembic, as files: revisions that make and seed our two tables, and that disagree."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_INI = """[alembic]
script_location = %(here)s/alembic
path_separator = os
"""
_ENV = """
import os, sys
from pathlib import Path

from alembic import context
from sqlalchemy import create_engine, pool

sys.path.insert(0, str(Path(__file__).parent))
from models import metadata as target_metadata

include_object = None
{hook}

engine = create_engine(os.environ["LEGACY_URL"], poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=target_metadata, include_object=include_object)
    with context.begin_transaction():
        context.run_migrations()
"""
_MODELS = """
from sqlalchemy import Boolean, Column, DateTime, Integer, MetaData, String, Table, Text, text

metadata = MetaData()
Table(
    "system_metadata", metadata,
    Column("id", Integer, primary_key=True),
    Column("version", String(50), nullable=False, server_default="1.0.0"),
    Column("backend_complete", Boolean, nullable=False, server_default=text("false")),
    Column("notes", Text),
    Column("updated_at", DateTime, server_default=text("now()"), nullable=False),
    Column("completed_at", DateTime),
)
Table(
    "go_live_state", metadata,
    Column("id", Integer, primary_key=True),
    Column("go_live_enabled", Boolean, nullable=False, server_default=text("false")),
    Column("kill_switch_engaged", Boolean, nullable=False, server_default=text("false")),
    Column("changed_by", String(120)),
    Column("reason", String(500)),
    Column("updated_at", DateTime, server_default=text("now()"), nullable=False),
)
Table("messages", metadata, Column("id", Integer, primary_key=True), Column("body", String(200)))
"""
_REVISION = '''"""{message}"""
from alembic import op

revision = "{revision}"
down_revision = {parent!r}


def upgrade():
    {upgrade}


def downgrade():
    {downgrade}
'''
_SYSTEM = """op.execute('''CREATE TABLE IF NOT EXISTS system_metadata (id serial PRIMARY KEY,
        version varchar(50) NOT NULL DEFAULT '1.0.0', backend_complete boolean NOT NULL DEFAULT false, notes text,
        updated_at timestamp NOT NULL DEFAULT now(), completed_at timestamp)''')"""
_GO_LIVE = """op.execute('''CREATE TABLE IF NOT EXISTS go_live_state (id integer PRIMARY KEY,
        go_live_enabled boolean NOT NULL DEFAULT false, kill_switch_engaged boolean NOT NULL DEFAULT false,
        changed_by varchar(120), reason varchar(500), updated_at timestamp NOT NULL DEFAULT now())''')"""
# Another revision with another opinion, which comes too late to matter.
_DISAGREES = """op.execute('''CREATE TABLE IF NOT EXISTS go_live_state (id bigserial PRIMARY KEY,
        go_live_enabled integer DEFAULT 0, kill_switch_engaged integer DEFAULT 0)''')"""
_SEED = """op.execute("INSERT INTO system_metadata (id, version) VALUES (1, '1.4.2') ON CONFLICT DO NOTHING")
    op.execute('''INSERT INTO go_live_state (id, go_live_enabled, kill_switch_engaged, changed_by, updated_at)
        VALUES (1, true, false, 'seed', '2026-01-05 10:20:30') ON CONFLICT DO NOTHING''')"""
_REVISIONS = (
    ("a1", "system metadata", _SYSTEM, 'op.execute("DROP TABLE IF EXISTS system_metadata")'),
    ("b2", "go-live state", _GO_LIVE, 'op.execute("DROP TABLE IF EXISTS go_live_state")'),
    ("c3", "go-live state again", _DISAGREES, 'op.execute("DROP TABLE IF EXISTS go_live_state")'),
    ("d4", "seed", _SEED, "pass"),
    (
        "e5",
        "messages",
        'op.execute("CREATE TABLE messages (id serial PRIMARY KEY, body varchar(200))")',
        'op.drop_table("messages")',
    ),
)


@dataclass(frozen=True)
class AlembicProject:
    """`alembic` in its folder, against the database at `url`."""

    folder: Path
    url: str

    def make(self, hook: str = "") -> None:
        """Write all files. `hook` is what docs/deploy/alembic-handover.md puts into env.py."""
        versions = self.folder / "alembic" / "versions"
        versions.mkdir(parents=True, exist_ok=True)
        (self.folder / "alembic.ini").write_text(_INI)
        (versions.parent / "env.py").write_text(_ENV.replace("{hook}", hook))
        (versions.parent / "models.py").write_text(_MODELS)
        (versions.parent / "script.py.mako").write_text("")
        parent = None
        for revision, message, upgrade, downgrade in _REVISIONS:
            self.add(revision, parent, message, upgrade, downgrade)
            parent = revision

    def add(self, revision: str, parent: str | None, message: str, upgrade: str, downgrade: str = "pass") -> None:
        text = _REVISION.format(message=message, revision=revision, parent=parent, upgrade=upgrade, downgrade=downgrade)
        (self.folder / "alembic" / "versions" / f"{revision}.py").write_text(text)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command itself, in a process of its own; whatever its exit code."""
        return subprocess.run(
            [sys.executable, "-m", "alembic", *arguments],
            cwd=self.folder,
            env={**os.environ, "LEGACY_URL": self.url.replace("postgresql://", "postgresql+psycopg://", 1)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def succeed(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr
