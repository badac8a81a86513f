"""MG205: a table that one upgrade creates twice, as real Alembic then finds out."""

from __future__ import annotations

from pathlib import Path

import pytest

from golive.migration_graph.audit import audit
from golive.migration_graph.findings import tables
from tests.migration_graph.alembic_database import AlembicDatabase
from tests.migration_graph.folders import find, make_alembic

CREATE = "op.create_table('stock', sa.Column('id', sa.Integer()))"
DROP = "op.drop_table('stock')"


def write(folder: Path, *works: str) -> Path:
    """A line of revisions, r0 the first, whose upgrades do this."""
    files: dict[str, str | bytes] = {}
    for number, work in enumerate(works):
        parent = f"r{number - 1}" if number else None
        files[f"r{number}.py"] = (
            f"from alembic import op\nimport sqlalchemy as sa\n\nrevision = 'r{number}'\n"
            f"down_revision = {parent!r}\n\n\ndef upgrade():\n    {work}\n\n\ndef downgrade():\n    {DROP}\n"
        )
    return make_alembic(folder, files)


@pytest.mark.parametrize(
    "works",
    [
        pytest.param((CREATE, CREATE), id="in two revisions"),
        pytest.param((CREATE, "pass", CREATE), id="with another between"),
        pytest.param((f"table = {CREATE}", CREATE), id="assigned"),
        pytest.param((CREATE, DROP, CREATE, CREATE), id="dropped once and made twice since"),
    ],
)
def test_table__created_twice__is_a_warning_and_fails_in_real_alembic(tmp_path: Path, works: tuple[str, ...]) -> None:
    root = write(tmp_path, *works)

    report = audit(root)

    (finding,) = find(report, "MG205")
    assert finding.revisions[-1] == f"r{len(works) - 1}"
    assert (finding.file, finding.line) == (f"alembic/versions/r{len(works) - 1}.py", 9)
    assert report.sound
    assert not AlembicDatabase().upgrade(root / "alembic")


@pytest.mark.parametrize(
    "works",
    [
        pytest.param((CREATE, DROP, CREATE), id="dropped between"),
        pytest.param((CREATE, f"{DROP}; {CREATE}"), id="dropped in the same revision"),
        pytest.param((CREATE, "op.rename_table('stock', 'goods')", CREATE), id="renamed between"),
        pytest.param((CREATE, "op.execute('ALTER TABLE stock RENAME TO goods')", CREATE), id="renamed by SQL"),
        pytest.param((CREATE, f"if False:\n        {CREATE}"), id="under a condition"),
        pytest.param((CREATE, CREATE.replace("'stock'", "'stocks'")), id="another name"),
        pytest.param((CREATE, CREATE[:-1] + ", if_not_exists=True)"), id="if it is not there"),
    ],
)
def test_table__made_anew__is_no_concern_of_the_audit_or_of_real_alembic(
    tmp_path: Path, works: tuple[str, ...]
) -> None:
    root = write(tmp_path, *works)

    assert find(audit(root), "MG205") == []
    assert AlembicDatabase().upgrade(root / "alembic")


def test_table__very_many_of_them__are_counted_and_not_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MAX_TABLES", 1)
    both = f"{CREATE}; {CREATE.replace('stock', 'tax')}"

    found = find(audit(write(tmp_path, both, both)), "MG205")

    assert [finding.revisions for finding in found] == [(), ("r0", "r1")]
    assert found[0].message.endswith("did not look into it: tax.")


def test_table__of_another_schema__is_another_one(tmp_path: Path) -> None:
    root = write(tmp_path, CREATE, CREATE[:-1] + ", schema='archive')")

    assert find(audit(root), "MG205") == []
