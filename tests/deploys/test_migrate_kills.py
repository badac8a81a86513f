"""`manage.py migrate` killed at any moment: the next one makes it good."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.deploys.catalogue import describe_database
from tests.deploys.conftest import ADOPT_EVENTS, LEGACY_ROWS, SEED_EVENTS, MakeProject
from tests.deploys.project import Project, run_in_one_process

pytestmark = pytest.mark.postgresql

MOMENTS = 20
# In a clean run: the recorder's table, auth, golive (two), and the last one of all, the deploy event.
COMMITS = (1, 3, 19, 20, 32)
KILLED = -9


@dataclass(frozen=True)
class Run:
    """How a killed migrate ended, and how the next one did."""

    what: str
    project: Project
    killed: int
    code: int
    output: str


def measure(project: Project) -> tuple[float, float]:
    """Seconds from the start of a clean run to its first output and to its end."""
    began = time.monotonic()
    process = project.start("migrate", "-v1")
    assert process.stdout is not None
    process.stdout.readline()
    first = time.monotonic() - began
    process.communicate(timeout=60)
    assert process.returncode == 0
    return first, time.monotonic() - began


def kill_after(project: Project, seconds: float) -> int:
    process = project.start("migrate", "-v0")
    time.sleep(seconds)
    process.kill()
    process.communicate(timeout=60)
    return process.returncode


def make_good(what: list[str], projects: list[Project], killed: list[int]) -> list[Run]:
    """One more migrate for each."""
    told = run_in_one_process(projects[0], [(project.name, "ours", "--lock-timeout 30") for project in projects])
    return [
        Run(name, project, code, one.code, one.output + one.errors)
        for name, project, code, one in zip(what, projects, killed, told, strict=True)
    ]


@pytest.fixture
def assert_sound(
    inspected: Callable[[Project], Any], migrated: Project, adopted: Project
) -> Callable[[Run, str], None]:
    """The database is as if nobody had been killed."""
    clean = {"template1": describe_database(migrated), "legacy": describe_database(adopted)}
    fingerprints = {"template1": inspected(migrated)[0], "legacy": inspected(adopted)[0]}

    def check(run: Run, template: str) -> None:
        assert run.code == 0, (run.what, run.output)
        assert describe_database(run.project) == clean[template], run.what
        assert inspected(run.project) == (fingerprints[template], [], ()), run.what
        assert run.project.events() == (SEED_EVENTS if template == "template1" else ADOPT_EVENTS), run.what
        if template == "legacy":
            assert {query: run.project.query(query) for query in LEGACY_ROWS} == LEGACY_ROWS, run.what

    return check


@pytest.mark.parametrize("template", ["template1", "legacy"])
def test_migrate__killed_at_random_moments__the_next_one_makes_it_good(
    make_project: MakeProject, assert_sound: Callable[[Run, str], None], template: str
) -> None:
    chance = random.Random(2026)
    first, end = measure(make_project(template))
    step = (end - 0.8 * first) / (MOMENTS // 2)
    moments = [0.8 * first + step * (number + chance.random()) for number in range(MOMENTS // 2)]
    projects = [make_project(template) for _ in moments]

    with ThreadPoolExecutor(2) as pool:
        killed = list(pool.map(kill_after, projects, moments))
    runs = make_good([f"{moment:.3f} s" for moment in moments], projects, killed)

    print(f"killed: {[(run.what, run.killed) for run in runs]}")
    # How many depends on how busy the machine was when it was measured; the kills that count are those around a commit.
    assert KILLED in {run.killed for run in runs}, "every run was over too soon"
    for run in runs:
        assert_sound(run, template)


def test_migrate__killed_around_a_commit__the_next_one_makes_it_good(
    make_project: MakeProject, assert_sound: Callable[[Run, str], None]
) -> None:
    orders = [f"kill {when} commit {number}" for number in COMMITS for when in ("before", "after")]
    templates = ["template1" if number % 2 else "legacy" for number in range(len(orders))]
    projects = [make_project(template) for template in templates]

    def kill(order: str, project: Project) -> int:
        return project.sabotaged(order).run("migrate", "-v0").returncode

    with ThreadPoolExecutor(2) as pool:
        killed = list(pool.map(kill, orders, projects))
    runs = make_good(orders, projects, killed)

    assert [run.killed for run in runs] == [KILLED] * len(orders)
    for done, template in zip(runs, templates, strict=True):
        assert_sound(done, template)


@pytest.mark.parametrize("mutation", ["", "record-as-django-does"])
@pytest.mark.parametrize("arguments", [(), ("golive", "zero")], ids=["forward", "back"])
def test_migrate__killed_where_it_records__the_next_one_makes_it_good(
    make_project: MakeProject, migrated: Project, arguments: tuple[str, ...], mutation: str
) -> None:
    """And does not with the mutation: Django's own executor records after the transaction."""
    project = make_project(migrated.name if arguments else "template1")

    killed = project.sabotaged("kill inside golive.0001_initial", mutation).run("migrate", "-v0", *arguments)
    again = project.run("migrate", "-v0", *arguments)

    assert killed.returncode == KILLED
    assert (again.returncode == 0) is not bool(mutation), again.stderr
    assert ("ProgrammingError" in again.stderr) is bool(mutation)
