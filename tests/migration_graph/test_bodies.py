"""Tests for the identity of a migration: what it does, whatever its name, place and formatting."""

import ast

import pytest

from golive.migration_graph.model import Kind
from golive.migration_graph.readers.bodies import EMPTY, hash_body

REVISION = '''\
"""Add the table

Revision ID: a1
Revises:
"""
from alembic import op
import sqlalchemy as sa

revision = "a1"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    op.create_table("stock", sa.Column("id", sa.Integer(), primary_key=True))


def downgrade():
    op.drop_table("stock")
'''
MIGRATION = """\
from django.db import migrations


class Migration(migrations.Migration):
    initial = True
    dependencies = [("stock", "0001_initial")]
    operations = [migrations.RunSQL("SELECT 1", migrations.RunSQL.noop)]
"""


def hash_alembic(text: str) -> str:
    return hash_body("a.py", text.encode(), Kind.ALEMBIC)


def hash_django(text: str) -> str:
    return hash_body("stock/migrations/0002_x.py", text.encode(), Kind.DJANGO)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param('"""Add', "# Copyright\n# Licence\n\n" + '"""Add', id="a licence header"),
        pytest.param('"""Add the table', '"""Add the table of the stock', id="the docstring"),
        pytest.param('"stock", sa', "'stock',  # the goods\n        sa", id="quotes, a comment, layout"),
        pytest.param('revision = "a1"', 'revision: str = "b2"', id="another id, with an annotation"),
        pytest.param("down_revision = None", 'down_revision = ("x", "y")', id="other parents"),
        pytest.param("def upgrade():", 'def upgrade() -> None:\n    """Do it."""', id="a docstring of the function"),
        pytest.param("from alembic import op\nimport", "from alembic import op\nimport", id="nothing"),
        pytest.param(
            "from alembic import op\nimport sqlalchemy as sa",
            "from typing import Sequence, Union\n\nimport sqlalchemy as sa\nfrom alembic import op",
            id="imports in another order, and one that nothing uses",
        ),
    ],
)
def test_body__is_the_same(before: str, after: str) -> None:
    assert before in REVISION

    assert hash_alembic(REVISION.replace(before, after)) == hash_alembic(REVISION) != EMPTY


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param('"stock"', '"stocks"', id="a name"),
        pytest.param("primary_key=True", "primary_key=1", id="a value that compares equal"),
        pytest.param("sa.Integer()", "sa.BigInteger()", id="a type"),
        pytest.param("import sqlalchemy as sa", "import other as sa", id="a module that is used"),
        pytest.param('op.drop_table("stock")', "pass", id="the downgrade"),
        pytest.param("def upgrade():", "def upgrade(engine=None):", id="a default"),
    ],
)
def test_body__differs(before: str, after: str) -> None:
    assert before in REVISION

    assert hash_alembic(REVISION.replace(before, after)) != hash_alembic(REVISION)


def test_body__is_that_of_the_code_written_anew() -> None:
    assert hash_alembic(ast.unparse(ast.parse(REVISION))) == hash_alembic(REVISION)
    assert hash_django(ast.unparse(ast.parse(MIGRATION))) == hash_django(MIGRATION)


def test_body__is_the_same_in_every_version_of_python() -> None:
    # A lock file written by one version is read by another. Change the form only with the format of the lock file.
    assert hash_alembic(REVISION) == "dd3cbf278da36d2587454e6a0a5c3a16fb4469c1b382c5663581cd689743da92"
    assert hash_django(MIGRATION) == "947f59a1ddd13ed9d4d9a28a6f2362180d656f414135e81bfcc1a54db64385a0"


@pytest.mark.parametrize("statement", ["pass", '"""Nothing."""', "return", "...\n    pass"])
def test_body__of_a_merge_is_empty(statement: str) -> None:
    merge = f'revision = "m"\ndown_revision = ("a", "b")\n\n\ndef upgrade():\n    {statement}\n'

    assert hash_alembic('from alembic import op\n\nrevision = "m"\n') == EMPTY
    assert hash_alembic(merge) == EMPTY
    assert hash_alembic(merge + "\n\ndef downgrade():\n    pass\n") == EMPTY


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("def upgrade():\n    return run()\n", id="a return that calls"),
        pytest.param("from shared import upgrade\n", id="imported"),
        pytest.param("def upgrade():\n    pass\n\n\nupgrade = run\n", id="bound again"),
        pytest.param("if FLAG:\n    def upgrade():\n        pass\n", id="under a condition"),
        pytest.param("def upgrade(:\n", id="no Python"),
    ],
)
def test_body__that_may_do_something_is_not_empty(text: str) -> None:
    assert hash_alembic(text) != EMPTY


def test_body__of_django_leaves_out_what_places_it() -> None:
    elsewhere = MIGRATION.replace('[("stock", "0001_initial")]', '[("stock", "0009_last")]\n    replaces = []')

    assert hash_django(elsewhere) == hash_django(MIGRATION)
    assert hash_django(MIGRATION.replace("SELECT 1", "SELECT 2")) != hash_django(MIGRATION)


def test_body__of_a_django_merge_is_empty() -> None:
    assert hash_django(MIGRATION.replace('migrations.RunSQL("SELECT 1", migrations.RunSQL.noop)', "")) == EMPTY
    assert hash_django("class Migration(Base):\n    dependencies = []\n") == EMPTY
    assert hash_django("class Migration(Base):\n    operations = make()\n") != EMPTY


def test_body__of_deep_and_huge_code_is_told_apart() -> None:
    deep = REVISION.replace('"stock", sa', f"{' + '.join(['x'] * 900)}, sa", 1)
    huge = REVISION.replace("primary_key=True", f"primary_key={'9' * 4000}")

    assert len({hash_alembic(deep), hash_alembic(huge), hash_alembic(REVISION)}) == 3
