"""The previous release on the schema of the next one: two checkouts, served side by side on one database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploys.catalogue import describe_database
from tests.deploys.conftest import SEED_EVENTS, MakeProject
from tests.deploys.project import Project, copy_tree, write_migration
from tests.support.server import ROOT, GunicornServer, request

pytestmark = pytest.mark.postgresql

NEWEST = max(path.stem for path in (ROOT / "golive" / "migrations").glob("[0-9]*.py"))
STATE = "/api/governance/go-live/state"
NEWER = """
    migrations.AddField("golivestate", "ticket", models.TextField(null=True)),
    migrations.AddField("golivestate", "team", models.TextField(default="ops", db_default="ops")),
    migrations.CreateModel("Witness", [("id", models.AutoField(primary_key=True)), ("name", models.TextField())]),
"""
FIELDS = """
    ticket = models.TextField(null=True)
    team = models.TextField(default="ops", db_default="ops")

    class Meta:
        db_table = GO_LIVE_STATE
"""
WITNESS = """

class Witness(models.Model):
    id = models.AutoField(primary_key=True)
    name = models.TextField()
"""
OTHER = 'migrations.CreateModel("Parted", [("id", models.AutoField(primary_key=True))]),'


@pytest.fixture
def older(make_project: MakeProject, tmp_path: Path) -> Project:
    return copy_tree(make_project(), tmp_path / "older")


@pytest.fixture
def newer(older: Project, tmp_path: Path) -> Project:
    """The next release: two more columns and one more table."""
    newer = copy_tree(older, tmp_path / "newer")
    write_migration(migration_path(newer, "0099_newer"), [("golive", NEWEST)], NEWER)
    models = newer.folder / "golive" / "models.py"
    text = models.read_text()
    assert "\n    class Meta:\n        db_table = GO_LIVE_STATE\n" in text
    text = text.replace("\n    class Meta:\n        db_table = GO_LIVE_STATE\n", FIELDS)
    models.write_text(text + WITNESS)
    return newer


def migration_path(project: Project, name: str) -> Path:
    return project.folder / "golive" / "migrations" / f"{name}.py"


def work(project: Project, *arguments: str) -> str:
    done = project.run("golive", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_rollback__previous_release_on_the_newer_schema__starts_serves_and_works_beside_the_next(
    older: Project, newer: Project
) -> None:
    older.migrate()
    assert "have changes that are not" not in newer.migrate()
    schema = describe_database(newer)

    output = older.migrate()

    assert "A newer release has migrated this database (golive.0099_newer); nothing is pending" in output
    assert (describe_database(older), older.events()) == (schema, [*SEED_EVENTS, ("deploy", "migrate")])
    with (
        GunicornServer(older.settings, workers=1, folder=older.folder) as before,
        GunicornServer(newer.settings, workers=1, folder=newer.folder) as after,
    ):
        work(newer, "complete", "--reason", "by the newer one")
        work(older, "release", "--reason", "by the older one")
        work(newer, "enable", "--reason", "by the newer one")
        assert served(before) == served(after)
        assert served(before)["code"] == "ALLOWED"
        work(older, "engage")
        assert served(before) == served(after)
        assert served(after)["code"] == "KILL_SWITCH_ENGAGED"
        for server in (before, after):
            assert request("GET", server.url("/readyz")).status == 200
            assert request("GET", server.url("/admin/login/")).status == 200
    for project in (older, newer):
        assert "0 problems" in work(project, "history", "--verify")
    assert older.query("SELECT ticket, team FROM go_live_state") == [(None, "ops")]
    assert "No migrations to apply." in newer.migrate()


def served(server: GunicornServer) -> dict[str, object]:
    answer = request("GET", server.url(STATE))
    assert answer.status == 200, answer.text
    state: dict[str, object] = answer.json()
    return state


def test_rollback__releases_have_parted__is_refused_naming_both_and_nothing_is_changed(
    older: Project, newer: Project
) -> None:
    newer.migrate()
    before = describe_database(newer)
    write_migration(migration_path(older, "0098_parted"), [("golive", NEWEST)], OTHER)

    done = older.run("migrate")

    assert done.returncode == 1
    assert "does not know (golive.0099_newer)" in done.stderr
    assert "the database lacks (golive.0098_parted)" in done.stderr
    assert "Nothing was changed." in done.stderr
    assert (describe_database(newer), newer.events()) == (before, SEED_EVENTS)
