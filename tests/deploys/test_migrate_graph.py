"""`manage.py migrate` refuses a broken graph of this project before anything is touched, and names the line."""

from __future__ import annotations

import compileall
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.management.test_audit_command import copy_project
from tests.support.server import clean_environment

# The checkout has a database of its own; that of the tests is not touched.
pytestmark = pytest.mark.sqlite_only

Break = Callable[[Path], None]


def migrate(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = clean_environment({"DATABASE_URL": f"sqlite:///{project}/own.sqlite3"})
    command = [sys.executable, "manage.py", "migrate", *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def list_tables(project: Path) -> list[str]:
    if not (project / "own.sqlite3").exists():
        return []
    with closing(sqlite3.connect(project / "own.sqlite3")) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def close_loop(project: Path) -> None:
    first = project / "golive/migrations/0001_initial.py"
    source = first.read_text()
    assert "dependencies = []" in source
    first.write_text(source.replace("dependencies = []", 'dependencies = [("golive", "0004_api_tokens")]'))


def leave_conflict_marks(project: Path) -> None:
    third = project / "golive/migrations/0003_groups.py"
    third.write_text(f"<<<<<<< ours\n{third.read_text()}")


def split_heads(project: Path) -> None:
    (project / "golive/migrations/0004_other.py").write_text(
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
        '    dependencies = [("golive", "0003_groups")]\n    operations = []\n'
    )


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (close_loop, "golive/migrations/0001_initial.py:"),
        (leave_conflict_marks, "golive/migrations/0003_groups.py:1: MG105 unreadable-file"),
        (split_heads, "MG201 multiple-heads"),
    ],
)
def test_migrate__broken_graph__applies_nothing_and_names_the_line(tmp_path: Path, harm: Break, told: str) -> None:
    project = copy_project(tmp_path)
    harm(project)

    done = migrate(project, "--noinput")

    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: The graph of migrations is not sound, and nothing was applied:\n  ")
    assert told in done.stderr
    assert done.stderr.endswith("`manage.py audit_migrations` names the edit that broke it.\n")
    assert "Traceback" not in done.stderr
    assert list_tables(project) == []


def seed_otherwise(project: Path) -> None:
    second = project / "golive/migrations/0002_seed_singletons.py"
    source = second.read_text()
    assert source.count("    operations = [") == 1
    second.write_text(source.replace("    operations = [", "    operations = [migrations.RunSQL('SELECT 1'),"))


def test_migrate__released_migration_that_was_edited__applies_nothing_and_names_it(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    seed_otherwise(project)

    done = migrate(project, "--noinput")

    assert done.returncode == 1
    assert (
        "MG401 changed-after-lock: golive.0002_seed_singletons was changed after its release: "
        "what it does is not the same" in done.stderr
    )
    assert "Make the change in a new migration" in done.stderr
    assert list_tables(project) == []


def test_migrate__released_migration_with_another_comment__is_applied(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    second = project / "golive/migrations/0002_seed_singletons.py"
    second.write_text(f"# Copyright of somebody\n{second.read_text()}")

    done = migrate(project)

    assert done.returncode == 0
    assert "golive_event" in list_tables(project)


def test_migrate__lock_file_that_cannot_be_read__applies_nothing(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    lock = project / "migrations.lock"
    lock.write_text(f"<<<<<<< ours\n{lock.read_text()}")

    done = migrate(project)

    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: What was released cannot be read, and nothing was applied: ")
    assert "migrations.lock:1: a merge conflict; keep the lines of both sides" in done.stderr
    assert list_tables(project) == []


def test_migrate__known_errors__warns_of_them_and_applies(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    seed_otherwise(project)
    audit = [sys.executable, "manage.py", "audit_migrations", "--write-lock", "--known"]
    environment = clean_environment({"DATABASE_URL": f"sqlite:///{project}/own.sqlite3"})
    subprocess.run(audit, cwd=project, env=environment, capture_output=True, check=True)

    done = migrate(project)

    assert done.returncode == 0
    assert "A known error of the migrations: golive/migrations/0002_seed_singletons.py:" in done.stderr
    assert "golive_event" in list_tables(project)


@pytest.mark.parametrize("arguments", [("auth",), ("--plan",), ("--check",), ("--fake", "auth")])
def test_migrate__asked_for_something_else__is_djangos_matter(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    project = copy_project(tmp_path)
    split_heads(project)

    done = migrate(project, *arguments)

    assert "The graph of migrations is not sound" not in done.stderr


def test_migrate__sound_graph__says_nothing_of_it(tmp_path: Path) -> None:
    project = copy_project(tmp_path)

    done = migrate(project)

    assert done.returncode == 0
    # One line, which is of the deploy's event.
    assert [line.split()[3] for line in done.stderr.splitlines()] == ["golive.controls.event_writer"]
    assert "golive_event" in list_tables(project)


def test_migrate__migrations_without_their_source__runs_and_warns(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    folder = project / "golive/migrations"
    assert compileall.compile_dir(folder, legacy=True, quiet=1)
    for source in folder.glob("*.py"):
        source.unlink()

    done = migrate(project)

    assert done.returncode == 0
    assert done.stderr.startswith("The migrations could not be audited: ")
    assert "golive_event" in list_tables(project)
