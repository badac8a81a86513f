"""The incident of January 2026 as a git repository: 115 files, one loop of 108, and much that misleads.

The chain r001 <- r002 <- ... <- r108 is closed by one edit to the root: `down_revision = None` becomes the newest
revision. Another commit turned the order of r040 to r042 round and so edited four references, each of which cuts the
loop. After the loop came six more revisions and a second file with the id of one of them; then three healthy references
were "fixed", which left four heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.migration_graph.git_repository import GitRepository

FOLDER = "migrations/versions"
LOOP = 108
GUILTY_SUBJECT = "Chain the first revision"
REORDER_SUBJECT = "Run the price tables first"
FIX_SUBJECT = "Fix what the audit found"


def name(number: int) -> str:
    return f"r{number:03}"


def path(number: int) -> str:
    return f"{FOLDER}/{name(number)}_step.py"


def revision(own: str, parents: Sequence[str] | str | None, *, born: str = "", day: int = 0, note: str = "") -> str:
    """A revision file as Alembic's template makes it. `born`: what its docstring says about the parent."""
    return (
        f'"""step {own}{note}\n\nRevision ID: {own}\nRevises: {born}\nCreate Date: {_date(day)}\n\n"""\n\n'
        "from alembic import op\n\n# revision identifiers, used by Alembic.\n"
        f"revision = {own!r}\ndown_revision = {parents!r}\nbranch_labels = None\ndepends_on = None\n\n\n"
        "def upgrade() -> None:\n    op.execute('select 1')\n\n\n"
        "def downgrade() -> None:\n    op.execute('select 2')\n"
    )


def _date(day: int) -> str:
    return f"{2024 + day // 336}-{1 + day % 336 // 28:02}-{1 + day % 28:02} 12:00:00.000000"


def step(number: int, parent: int | None = None, *, note: str = "") -> dict[str, str]:
    """The file of one revision of the chain, on its usual parent (0: none) unless another is named."""
    usual = name(number - 1) if number > 1 else ""
    chosen = number - 1 if parent is None else parent
    return {
        path(number): revision(name(number), name(chosen) if chosen else None, born=usual, day=3 * number, note=note)
    }


REORDER = {**step(42, 39), **step(41, 42), **step(40, 41), **step(43, 40)}
GUILTY = step(1, LOOP)
GUILTY_PATH = f"{name(1)}_step.py"
GUILTY_LINE = 13


@dataclass(frozen=True)
class Incident:
    """The repository, and the commits of interest by their names."""

    repository: GitRepository
    guilty: str
    reorder: str
    fix: str

    @property
    def folder(self) -> Path:
        return self.repository.folder / FOLDER


def build_incident(folder: Path, *, reorder_first: bool = True) -> Incident:
    """Write the repository. `reorder_first`: the commit of four edits comes before the guilty one, or after it."""
    repository = GitRepository(folder)
    repository.commit({"README": "Valhalla\n"}, "Begin")
    for number in range(1, LOOP + 1):
        repository.commit(step(number), f"Add {name(number)}")
    reorder = repository.commit(REORDER, REORDER_SUBJECT) if reorder_first else 0
    guilty = repository.commit(GUILTY, GUILTY_SUBJECT)
    if not reorder_first:
        reorder = repository.commit(REORDER, REORDER_SUBJECT)
    for number in range(LOOP + 1, LOOP + 7):
        repository.commit(step(number), f"Add {name(number)}")
    twin = {f"{FOLDER}/{name(111)}_twin.py": revision(name(111), name(110), born=name(110), day=333, note=" again")}
    repository.commit(twin, "Add a step again")
    fix = repository.commit({**step(110, 108), **step(112, 108), **step(114, 108)}, FIX_SUBJECT)
    repository.write()
    return Incident(repository, repository.name(guilty), repository.name(reorder), repository.name(fix))
