"""Several `manage.py migrate` at once, as containers that start together run them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from golive.deploys.sessions import LOCK_KEY
from tests.deploys.catalogue import describe_database
from tests.deploys.conftest import ADOPT_EVENTS, LEGACY_ROWS, SEED_EVENTS, MakeProject
from tests.deploys.project import RELEASE, SEEN, Project, add_app
from tests.support.patience import wait_until

pytestmark = pytest.mark.postgresql

THING = """
    migrations.CreateModel("Thing", [("id", models.AutoField(primary_key=True)), ("name", models.TextField())]),
"""
INDEX = """\
atomic = False
    migrations.RunPython(await_another),
    AddIndexConcurrently("thing", models.Index(fields=["name"], name="extra_thing_name")),
"""
WAITING = "Waiting for another session that is not a migrate: pid "
OVERTAKEN = """
    migrations.RunPython(await_another_that_creates),
"""


def migrate_at_once(project: Project, number: int) -> list[tuple[int, str]]:
    """Exit code and output of each. None begins before all wait: until then the test holds the lock."""
    with psycopg.connect(project.url, autocommit=True, application_name="the test") as holder:
        holder.execute("SELECT pg_advisory_lock(%s, %s)", LOCK_KEY)
        processes = [project.start("migrate", "-v1") for _ in range(number)]
        said = [read_until(WAITING, process) for process in processes]
    ended = [(process, *process.communicate(timeout=240)) for process in processes]
    return [
        (process.returncode, first + output + errors)
        for first, (process, output, errors) in zip(said, ended, strict=True)
    ]


def read_until(words: str, process: subprocess.Popen[str]) -> str:
    """What it prints until a line holds these words; all that it prints if none does."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            break
    return "".join(lines)


@pytest.mark.parametrize(
    ("template", "events"), [("template1", SEED_EVENTS), ("legacy", ADOPT_EVENTS)], ids=["empty", "legacy"]
)
def test_migrate__ten_at_once__each_migration_is_applied_once(
    make_project: MakeProject,
    inspected: Callable[[Project], Any],
    migrated: Project,
    adopted: Project,
    template: str,
    events: list[tuple[str, str]],
) -> None:
    project = make_project(template)

    ended = migrate_at_once(project, 10)

    assert [code for code, _ in ended] == [0] * 10, ended
    assert all("Traceback" not in output for _, output in ended)
    assert sum("Applying golive.0001_initial... OK" in output for _, output in ended) == 1
    assert all(WAITING in output for _, output in ended)
    applied = project.applied()
    assert len(applied) == len(set(applied))
    assert sorted(applied) == sorted(migrated.applied())
    assert project.events() == events
    assert project.query("SELECT channel, actor, after FROM golive_event WHERE subject = 'deploy'") == [
        ("migration", "migrate", {"applied": sorted(applied), "unapplied": [], "release": RELEASE})
    ]
    clean = migrated if template == "template1" else adopted
    assert inspected(project) == (inspected(clean)[0], [], ())
    assert describe_database(project) == describe_database(clean)
    if template == "legacy":
        assert {query: project.query(query) for query in LEGACY_ROWS} == LEGACY_ROWS


def test_migrate__again__does_nothing_and_records_nothing(project: Project) -> None:
    before = describe_database(project)

    output = project.migrate()

    assert "No migrations to apply." in output
    assert (project.events(), describe_database(project)) == (SEED_EVENTS, before)


def test_migrate__lock_in_a_transaction__is_caught(project: Project, tmp_path: Path) -> None:
    """The mutation: without the lock two of them apply the same migration."""
    project = add_app(project, tmp_path, {"0001_slow": THING + OVERTAKEN})

    ended = migrate_at_once(project.sabotaged("lock-in-a-transaction"), 4)

    assert any(code != 0 for code, _ in ended)


@pytest.mark.parametrize(
    ("mutation", "trouble", "timeout_ms"),
    [
        ("", "", "60000"),
        ("wait-inside-the-lock", "canceling statement due to statement timeout", "3000"),
        ("lock-on-own-connection", "AddIndexConcurrently operation cannot be executed inside a transaction", "3000"),
    ],
    ids=["sound", "wait-inside-the-lock", "lock-on-own-connection"],
)
def test_migrate__index_made_concurrently_while_another_waits__works(
    project: Project, tmp_path: Path, mutation: str, trouble: str, timeout_ms: str
) -> None:
    """And does not with either mutation: the waiter that sleeps in the server, the lock in a transaction."""
    project = add_app(project, tmp_path, {"0001_thing": THING, "0002_index": INDEX}).sabotaged(mutation)

    first = project.start("migrate", "--ddl-statement-timeout", timeout_ms)
    if not mutation:
        wait_until(lambda: "extra.0001_thing" in project.applied(), seconds=60)
    second = project.start("migrate", "--ddl-statement-timeout", timeout_ms)
    processes = [first, second]
    said = ""
    if mutation:
        # One is cut off; the other would then wait for a third.
        wait_until(lambda: any(process.poll() for process in processes), seconds=60)
        for process in processes:
            process.kill()
    else:
        said = read_until("Waiting for another migrate", second)
    with psycopg.connect(project.url, application_name=SEEN):
        outputs = ["".join(process.communicate(timeout=120)) for process in processes]

    is_valid = project.query("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('extra_thing_name')")
    codes = [process.returncode for process in processes]
    if mutation:
        assert codes != [0, 0]
        assert trouble in "".join(outputs)
    else:
        assert (codes, is_valid) == ([0, 0], [(True,)]), outputs
        assert "Waiting for another migrate" in said
