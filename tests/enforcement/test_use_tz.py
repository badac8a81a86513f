"""A project with USE_TZ = False and a zone of its own: the app's times are in UTC all the same, as anywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from tests.api.service import is_on_postgresql
from tests.support.postgres import fresh_database
from tests.support.server import ROOT, GunicornServer, clean_environment, request


@dataclass(frozen=True)
class Project:
    variables: dict[str, str]

    def manage(self, *arguments: str, **changes: str) -> str:
        environment = {
            **clean_environment({**self.variables, **changes}),
            "DJANGO_SETTINGS_MODULE": "tests.enforced.settings",
        }
        done = subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("naive")
        url = f"sqlite:///{folder / 'shop.sqlite3'}"
        if is_on_postgresql():
            url = stack.enter_context(fresh_database("naive"))
        variables = {
            "DATABASE_URL": url,
            "ENFORCED_DEEDS": str(folder / "deeds"),
            "ENFORCED_USE_TZ": "false",
            "ENFORCED_TIME_ZONE": "America/New_York",
        }
        project = Project(variables)
        project.manage("migrate", "--noinput")
        yield project


def assert_is_now(text: str) -> None:
    """Within an hour; New York is further from UTC than that."""
    assert abs(datetime.fromisoformat(text) - datetime.now(UTC)) < timedelta(hours=1)


def test_commands__record_and_show_times_in_utc(project: Project) -> None:
    project.manage("check", "--fail-level", "ERROR")

    project.manage("golive", "lease", "40")
    project.manage("golive", "complete", "--reason", "All parts are here.")
    engaged = project.manage("golive", "engage", "--reason", "Here.")
    assert "engage: " in engaged
    events = json.loads(project.manage("golive", "history", "--json"))["events"]
    assert len(events) >= 3
    for event in events:
        assert_is_now(event["at"])
    assert "0 problems" in project.manage("golive", "history", "--verify")


def test_endpoints__answer_and_stop(project: Project) -> None:
    project.manage("golive", "lease", "50")
    project.manage("golive", "reopen")
    project.manage("golive", "complete", "--reason", "All parts are here.")
    made = project.manage(
        "golive",
        "token",
        "create",
        f"bot-{datetime.now(UTC):%H%M%S%f}",
        "--scope",
        "read",
        "--scope",
        "engage",
        "--expires",
        "90d",
    )
    headers = {"Authorization": f"Bearer {next(word for word in made.split() if word.startswith('vgl_'))}"}

    server = GunicornServer(
        project.variables, workers=1, application="tests.enforced.wsgi:application", health_path="/alive"
    )
    with server:

        def get(path: str) -> dict[str, object]:
            answer = request("GET", server.url(f"/control/{path}"), headers=headers)
            assert answer.status == 200, answer.text
            found: dict[str, object] = answer.json()
            return found

        stop = request("POST", server.url("/control/api/governance/go-live/kill-switch/engage"), headers=headers)
        assert stop.status == 200, stop.text
        assert_is_now(str(get("api/governance/go-live/state")["updated_at"]))
        assert_is_now(str(get("api/system/status")["completed_at"]))
        events = get("api/governance/go-live/history")["events"]
        required = get("api/governance/go-live/checklist")["required"]
        runbook = json.dumps(get("api/governance/runbook/status"))

    assert isinstance(events, list)
    assert_is_now(events[0]["at"])
    assert isinstance(required, dict)
    assert required["events_intact"]["ok"], required["events_intact"]
    assert "could not run" not in runbook


def test_record__written_without_use_tz__reads_the_same_with_it(project: Project) -> None:
    """The same rows for `valhalla` beside it, which has USE_TZ, and the other way round: the chain holds the times."""
    project.manage("golive", "engage")
    without = project.manage("golive", "history", "--json")

    with_zone = {"ENFORCED_USE_TZ": "true", "ENFORCED_TIME_ZONE": "UTC"}
    assert project.manage("golive", "history", "--json", **with_zone) == without
    project.manage("golive", "engage", **with_zone)
    assert "0 problems" in project.manage("golive", "history", "--verify")
    assert "0 problems" in project.manage("golive", "history", "--verify", **with_zone)


@pytest.mark.parametrize("moment", ["2026-11-01 05:30:00.123456+00", "2026-11-01 06:30:00.123456+00"])
@pytest.mark.postgresql
def test_time__in_the_hour_that_comes_twice__keeps_its_meaning(project: Project, moment: str) -> None:
    """05:30 and 06:30 UTC are both 01:30 in New York that night."""
    script = (
        "import django; django.setup()\n"
        "from django.db import connection\n"
        "from golive.state import singletons\n"
        "from golive.models import GoLiveState\n"
        "with connection.cursor() as cursor:\n"
        f"    cursor.execute(\"UPDATE go_live_state SET updated_at = '{moment}'\")\n"
        "print(singletons.read_go_live().updated_at, GoLiveState.objects.get().updated_at, sep='\\n')\n"
    )
    environment = {**clean_environment(project.variables), "DJANGO_SETTINGS_MODULE": "tests.enforced.settings"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.stdout.splitlines() == [f"{moment}:00"] * 2, done.stderr
    project.manage("golive", "reconcile", "--reason", "A test changed a row by SQL.")
