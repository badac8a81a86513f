"""A checkout, its environment and its database: commands as real processes, and what they leave in the database."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg

from tests.support.server import ROOT, clean_environment

RELEASE = "0123456789abcdef"
KEY = "for-the-test-only-0123456789-0123456789"
# What a release is made of, as far as it runs.
_TREE = ("golive", "valhalla", "manage.py", "gunicorn.conf.py")
SECONDS = 120
# How long a migration of a test waits for another process to come.
AWAIT_SECONDS = 60
# The name of a session by which a test says that another process waits.
SEEN = "another waits"
# Runs one migrate after the other in one process, by our command or by Django's own, and tells how each went.
_STEPS = """
import contextlib, django, io, json, sys
django.setup()
from django.core.management.commands.migrate import Command as Djangos
from django.db import connection
from golive.management.commands.migrate import SafeCommand as Ours
told = []
for database, whose, step in json.loads(sys.argv[1]):
    connection.close()
    connection.settings_dict["NAME"] = database
    output, errors, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            {"ours": Ours, "djangos": Djangos}[whose]().run_from_argv(["manage.py", "migrate", *step.split()])
        except SystemExit as end:
            code = end.code
    words = [word for word in output.getvalue().split() if not word.startswith("(0.")]
    told.append([step, code, " ".join(words), errors.getvalue(), connection.introspection.table_names()])
print(json.dumps(told))
"""
_started: list[subprocess.Popen[str]] = []


@dataclass(frozen=True)
class Told:
    """How one migrate went: what it printed (without durations), and the tables afterwards."""

    step: str
    code: int
    output: str
    errors: str
    tables: list[str]


@dataclass(frozen=True)
class Project:
    """`manage.py` of the tree at `folder` against the database at `url`."""

    url: str
    folder: Path = ROOT
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, str]:
        """The environment variables that are not as everywhere."""
        module = {"DJANGO_SETTINGS_MODULE": "tests.deploys.settings"} if self.folder == ROOT else {}
        return {"SECRET_KEY": KEY, "DATABASE_URL": self.url, "RENDER_GIT_COMMIT": RELEASE, **module, **self.variables}

    @property
    def environment(self) -> dict[str, str]:
        return clean_environment(self.settings)

    @property
    def name(self) -> str:
        """The name of the database, or the path of SQLite's file."""
        return self.url.removeprefix("sqlite:///") if self.url.startswith("sqlite") else self.url.rpartition("/")[2]

    def having(self, **variables: str) -> Project:
        return replace(self, variables={**self.variables, **variables})

    def sabotaged(self, *orders: str) -> Project:
        return self.having(SABOTAGE=";".join(orders))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        try:
            output, errors = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            raise AssertionError(f"{arguments} did not end in {SECONDS} s:\n{output}\n{errors}") from None
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        _started.append(process)
        return process

    def migrate(self, *arguments: str) -> str:
        """Migrate, and it must succeed; what it printed."""
        done = self.run("migrate", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url, autocommit=True, connect_timeout=5)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def applied(self) -> list[str]:
        return [name for (name,) in self.query("SELECT app || '.' || name FROM django_migrations ORDER BY id")]

    def events(self) -> list[tuple[str, str]]:
        """Subject and action of every event, oldest first."""
        return [(row[0], row[1]) for row in self.query("SELECT subject, action FROM golive_event ORDER BY sequence")]


def run_in_one_process(project: Project, steps: Iterable[tuple[str, str, str]]) -> list[Told]:
    """Run migrates one after the other: name of the database, whose command ("ours", "djangos"), arguments."""
    done = subprocess.run(
        [sys.executable, "-c", _STEPS, json.dumps(list(steps))],
        cwd=ROOT,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Told(*told) for told in json.loads(done.stdout)]


def end_all() -> None:
    """End what a test has started and, having failed, not waited for."""
    while _started:
        process = _started.pop()
        if process.poll() is None:
            process.kill()
            process.communicate()


def add_app(project: Project, folder: Path, migrations: Mapping[str, str], *, name: str = "extra") -> Project:
    """The project with one more app, made at `folder`: each migration is the text of its `operations`.

    They follow one another in the order of their names. `atomic = False` may stand in the first line. The function
    `await_another` is at hand, which waits until another migrate waits.
    """
    package = folder / name
    (package / "migrations").mkdir(parents=True, exist_ok=True)
    for path in (package / "__init__.py", package / "migrations" / "__init__.py"):
        path.touch()
    for number, migration in enumerate(sorted(migrations)):
        depends = [(name, sorted(migrations)[number - 1])] if number else [("golive", "0003_groups")]
        write_migration(package / "migrations" / f"{migration}.py", depends, migrations[migration])
    apps = ",".join(dict.fromkeys(filter(None, (*project.variables.get("EXTRA_APPS", "").split(","), name))))
    return project.having(EXTRA_APPS=apps, PYTHONPATH=str(folder))


def write_migration(path: Path, depends: Iterable[tuple[str, str]], operations: str) -> None:
    is_atomic = not operations.startswith("atomic = False\n")
    text = f"""\
        import time
        from django.contrib.postgres.operations import AddIndexConcurrently
        from django.db import migrations, models

        AWAIT_SECONDS = {AWAIT_SECONDS}

        def await_another(apps, editor):
            # The test has seen another one wait, or one waits inside the server.
            await_row(editor, "wait_event_type = 'Lock' OR application_name = '{SEEN}'")

        def await_another_that_creates(apps, editor):
            # Or that there is no other one left, which is so only when it has failed.
            await_row(editor, "wait_event_type = 'Lock' AND query LIKE 'CREATE TABLE %'", OTHERS)

        OTHERS = (
            "application_name LIKE 'golive %' AND split_part(application_name, ' ', 3) "
            "<> split_part(current_setting('application_name'), ' ', 3)"
        )

        def await_row(editor, condition, as_long_as="true"):
            # It may be long until another process has come so far, on a busy machine.
            ends_at, is_there, goes_on = time.monotonic() + AWAIT_SECONDS, False, True
            while goes_on and not is_there and time.monotonic() < ends_at:
                with editor.connection.cursor() as cursor:
                    # In a transaction it would show the first moment again and again.
                    cursor.execute("SELECT pg_stat_clear_snapshot()")
                    cursor.execute(
                        f"SELECT coalesce(bool_or({{condition}}), false), coalesce(bool_or({{as_long_as}}), false) "
                        "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                    is_there, goes_on = cursor.fetchone()
                time.sleep(0.1)

        class Migration(migrations.Migration):
            atomic = {is_atomic}
            dependencies = {list(depends)!r}
            operations = [
        """
    body = operations.removeprefix("atomic = False\n")
    path.write_text(f"{textwrap.dedent(text)}{textwrap.indent(textwrap.dedent(body), '        ')}\n    ]\n")


def copy_tree(project: Project, folder: Path) -> Project:
    """The project as another release, whose tree can be changed."""
    folder.mkdir()
    for name in _TREE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return replace(project, folder=folder)
