"""What each of this project's own checks finds."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from golive.domain.checklist import CheckResult
from golive.migration_graph.audit import audit
from golive.migration_graph.model import Report
from golive.readiness import checks, project_graph, registry
from golive.readiness.runner import run_all, run_checks
from tests.management.test_audit_command import write_revisions
from tests.migration_graph.examining import lock
from tests.support.changes import apply, go_live
from tests.support.factories import make_actor
from tests.support.faults import append_only_suspended, is_postgresql, run_sql
from tests.support.server import ROOT

pytestmark = pytest.mark.usefixtures("database")


def run_one(id: str) -> CheckResult:
    return run_checks([registry._registry[id]]).results[0]


def test_backend_complete__as_the_row_says() -> None:
    assert run_one("backend_complete").ok is False

    apply("complete")

    assert run_one("backend_complete").ok is True


def test_migrations_applied__all_applied__holds() -> None:
    assert run_one("migrations_applied").ok is True


def test_migrations_applied__one_is_pending__fails_and_names_it() -> None:
    rows = run_sql("SELECT app, name, applied FROM django_migrations WHERE app = 'golive' AND name LIKE '0003%%'", [])
    run_sql("DELETE FROM django_migrations WHERE app = 'golive' AND name LIKE '0003%%'", [])
    try:
        result = run_one("migrations_applied")
    finally:
        run_sql("INSERT INTO django_migrations (app, name, applied) VALUES (%s, %s, %s)", rows[0])

    assert result.ok is False
    assert "golive.0003_groups" in result.detail


def test_migrations_applied__a_newer_release_s_migration_is_applied__holds() -> None:
    # After a rollback of the code the schema is newer (promise 7 of docs/explain/design.md).
    run_sql(
        "INSERT INTO django_migrations (app, name, applied) VALUES ('golive', '9999_newer', %s)", [datetime.now(UTC)]
    )
    try:
        assert run_one("migrations_applied").ok is True
    finally:
        run_sql("DELETE FROM django_migrations WHERE name = '9999_newer'")


def test_environment__in_development__is_not_asked_for() -> None:
    assert run_one("environment").ok is True


@pytest.mark.parametrize("app_env", ["production", None])
def test_environment__unfit_for_production__fails_and_names_what(settings: Any, app_env: str | None) -> None:
    if app_env is None:
        del settings.APP_ENV  # unset means production
    else:
        settings.APP_ENV = app_env
    settings.DEBUG = True
    settings.ALLOWED_HOSTS = ["*"]

    result = run_one("environment")

    assert result.ok is False
    assert "ALLOWED_HOSTS allows every host" in result.detail
    assert "security.W018" in result.detail
    assert ("not PostgreSQL" in result.detail) is not is_postgresql()


def test_events_intact__a_sound_record__holds() -> None:
    go_live()

    assert run_one("events_intact").ok is True


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE go_live_state SET kill_switch_engaged = NOT kill_switch_engaged", "go_live_state"),
        ("UPDATE system_metadata SET version = 'by hand'", "system_metadata"),
        ("UPDATE go_live_state SET event_head = NULL", "event_head"),
        ("UPDATE golive_event SET actor = 'mallory' WHERE sequence = 1", "Event 1"),
        ("DELETE FROM golive_event WHERE sequence = 1", "missing"),
        ("DELETE FROM golive_event WHERE sequence = 4", "missing"),
        ("DELETE FROM golive_event", "no events"),
    ],
)
def test_events_intact__anything_altered__fails_and_says_what(statement: str, words: str) -> None:
    go_live()
    with append_only_suspended():
        run_sql(statement)

    result = run_one("events_intact")

    assert result.ok is False
    assert words in result.detail
    assert "reconcile" in result.detail


def test_events_intact__many_problems__tells_three_and_counts_the_rest() -> None:
    go_live()
    with append_only_suspended():
        run_sql("UPDATE golive_event SET actor = 'mallory'")

    assert "And 2 more." in run_one("events_intact").detail


@pytest.mark.parametrize(
    ("is_staff", "is_active", "is_superuser", "ok"),
    [
        (True, True, False, True),
        (False, True, False, False),
        (True, False, False, False),
        (True, True, True, False),
    ],
)
def test_kill_switch_reach__one_operator__counts_only_if_they_can_sign_in_to_the_admin(
    is_staff: bool, is_active: bool, is_superuser: bool, ok: bool
) -> None:
    user = get_user_model().objects.create_user("bea", is_staff=is_staff, is_active=is_active)
    if is_superuser:
        get_user_model().objects.filter(pk=user.pk).update(is_superuser=True)
    else:
        user.groups.add(Group.objects.get(name="Operators"))

    assert run_one("kill_switch_reach").ok is ok


def test_kill_switch_reach__nobody__fails() -> None:
    assert run_one("kill_switch_reach").ok is False


@pytest.mark.parametrize(("release", "ok"), [("0a1b2c3", True), (None, False), ("", False)])
def test_release_known__as_the_setting_says(settings: Any, release: str | None, ok: bool) -> None:
    settings.RELEASE = release

    assert run_one("release_known").ok is ok


@pytest.mark.postgresql
@pytest.mark.parametrize(("offset", "ok"), [(0, True), (1, True), (-60, False), (60, False)])
def test_clocks_agree__our_clock_is_off__fails_beyond_the_tolerance(
    monkeypatch: pytest.MonkeyPatch, offset: int, ok: bool
) -> None:
    class Shifted(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=offset)

    monkeypatch.setattr(checks, "datetime", Shifted)

    assert run_one("clocks_agree").ok is ok


def test_execution__each_state__is_told() -> None:
    assert "kill switch" in run_one("execution").detail

    go_live()

    assert run_one("execution").detail == "Execution is allowed."


def test_checklist__its_words__hold_no_name_of_a_person() -> None:
    # They are public, whatever GOLIVE_PUBLIC_DETAILS says.
    apply("complete", actor=make_actor("zebedee"), reason="quokka", changed_by="yolanda", notes="wombat")
    apply("disable", actor=make_actor("zebedee"), reason="quokka", changed_by="yolanda")
    run_sql("UPDATE go_live_state SET reason = 'wombat', changed_by = 'yolanda'")

    details = " ".join(result.detail for result in run_all().results)

    assert "go_live_state" in details
    assert not any(word in details for word in ("zebedee", "yolanda", "quokka", "wombat"))


def test_migration_graph__this_project__holds() -> None:
    assert run_one("migration_graph").ok is True


def test_migration_graph__project_with_a_broken_one__fails_with_the_code_and_no_file(
    tmp_path: Path, settings: Any
) -> None:
    settings.BASE_DIR = write_revisions(tmp_path, {"a": "b", "b": "a"})

    result = run_one("migration_graph")

    assert result.ok is False
    assert result.detail.startswith("The audit finds MG101 cycle.")
    assert ".py:" not in result.detail


def test_migration_graph__released_migration_was_edited__fails_until_it_is_known(tmp_path: Path, settings: Any) -> None:
    released = write_revisions(tmp_path / "released", {"a": None, "b": "a"})
    lock(released)
    edited = write_revisions(tmp_path / "edited", {"a": None, "b": None})
    shutil.copy(released / "migrations.lock", edited)
    settings.BASE_DIR = released
    assert run_one("migration_graph").ok is True

    settings.BASE_DIR = edited
    result = run_one("migration_graph")

    assert result.ok is False
    assert result.detail.startswith("The audit finds MG201 multiple-heads, MG401 changed-after-lock.")
    lock(edited, keeps_known=True)
    result = run_one("migration_graph")
    assert result.ok is True
    assert "only what the lock file keeps as known: MG201 multiple-heads, MG401" in result.detail


def test_migration_graph__lock_file_that_cannot_be_read__fails_and_names_no_path(tmp_path: Path, settings: Any) -> None:
    settings.BASE_DIR = write_revisions(tmp_path, {"a": None})
    assert run_one("migration_graph").ok is True
    (tmp_path / "migrations.lock").symlink_to("nowhere")

    result = run_one("migration_graph")

    assert (result.ok, str(tmp_path) in result.detail) == (False, False)
    assert result.detail.startswith("The lock file of the migrations cannot be read.")


def test_migration_graph__nothing_to_audit__fails(tmp_path: Path, settings: Any) -> None:
    settings.BASE_DIR = tmp_path

    assert run_one("migration_graph").ok is False
    del settings.BASE_DIR
    assert "BASE_DIR" in run_one("migration_graph").detail


def test_migration_graph__files_as_before__are_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    run_one("migration_graph")
    monkeypatch.setattr(project_graph, "audit", lambda root: pytest.fail("read again"))

    assert run_one("migration_graph").ok is True


@pytest.mark.parametrize("name", ["golive/migrations/0001_initial.py", "migrations.lock"])
def test_migration_graph__file_changed__is_read_again(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run_one("migration_graph")
    audits: list[object] = []

    def count(root: str) -> Report:
        audits.append(root)
        return audit(root)

    monkeypatch.setattr(project_graph, "audit", count)
    path = ROOT / name
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))

    try:
        assert run_one("migration_graph").ok is True
    finally:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert len(audits) == 1
