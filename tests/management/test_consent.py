"""Toward live from a shell: what is shown, what is asked, and whose stop was undone. And which database it was."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings

from golive.database import installation
from golive.models import Event
from golive.state import singletons
from tests.management.test_golive_command import DONE, REFUSED, run_golive
from tests.support.changes import make_change
from tests.support.faults import database_url
from tests.support.server import ROOT, clean_environment

pytestmark = pytest.mark.usefixtures("database")

STOPS = {"release": "engage", "enable": "disable", "complete": "reopen"}


def stop_before(name: str) -> int:
    """Bring about a stop by ann that this change undoes; returns the revision of its row."""
    if name == "complete":
        make_change("complete", actor="li")
    else:
        for each in ("complete", "release", "enable"):
            make_change(each, actor="li")
    make_change(STOPS[name], actor="ann", reason="A leak.")
    return revision_of(name)


def revision_of(name: str) -> int:
    go_live_row, system = singletons.read_both()
    return system.revision if name == "complete" else go_live_row.revision


def newest() -> Event:
    event = Event.objects.order_by("-sequence").first()
    assert event is not None
    return event


def at_a_terminal(*arguments: str, answer: str, **values: str) -> tuple[int, str]:
    """`manage.py golive ARGUMENTS` at a terminal of its own, where somebody types `answer` before it asks."""
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode())
    with subprocess.Popen(
        [sys.executable, "manage.py", "golive", *arguments],
        cwd=ROOT,
        env=clean_environment({"DATABASE_URL": database_url(), **values}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65_536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            shown += piece
        code = process.wait(60)
    os.close(ours)
    return code, shown.decode().replace("\r\n", "\n")


# -- at a terminal -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STOPS)
def test_terminal__yes__shows_the_stop_and_does_it(name: str) -> None:
    revision = stop_before(name)

    code, shown = at_a_terminal(name, "--reason", "Mended.", answer="yes\n", GOLIVE_ENVIRONMENT="berlin")

    assert code == DONE, shown
    assert "Environment: berlin (" in shown
    assert f"Stopped by ann ({STOPS[name]}) at 20" in shown
    assert "A leak." in shown
    assert f"Revision {revision}, by ann" in shown
    assert "Type yes: " in shown
    assert (newest().action, newest().changed) == (name, True)


@pytest.mark.parametrize("answer", ["\n", "y\n", "YES\n", "no\n", "\x04"], ids=["nothing", "y", "YES", "no", "end"])
def test_terminal__anything_but_yes__does_nothing_and_exits_1(answer: str) -> None:
    stop_before("release")
    before = Event.objects.count()

    code, shown = at_a_terminal("release", "--reason", "Mended.", answer=answer)

    assert code == REFUSED
    assert "Nothing was done: you did not type yes." in shown
    assert Event.objects.count() == before


def test_terminal__with_the_revision__is_not_asked() -> None:
    revision = stop_before("release")

    code, shown = at_a_terminal("release", "--reason", "Mended.", "--expected-revision", str(revision), answer="no\n")

    assert code == DONE, shown
    assert "Type yes" not in shown


@pytest.mark.parametrize("name", ["engage", "disable", "reopen"])
def test_terminal__a_stop__is_never_asked_about(name: str) -> None:
    code, shown = at_a_terminal(name, answer="no\n")

    assert code == DONE, shown
    assert "Type yes" not in shown
    assert newest().action == name


def test_ask__somebody_stops_while_it_asks__is_refused_and_names_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The revision that was shown is the one that counts."""
    from golive.management.commands import golive as command
    from golive.management.shell import consent

    stop_before("release")

    def read_line() -> str:
        make_change("engage", actor="bea", reason="A second leak.")
        return "yes\n"

    monkeypatch.setattr(consent, "is_terminal", lambda output: True)
    monkeypatch.setattr(command, "_read_line", read_line)

    with pytest.raises(SystemExit) as ended:
        command.Command().run_from_argv(["manage.py", "golive", "release", "--reason", "Mended."])

    told = capsys.readouterr().err
    assert ended.value.code == REFUSED
    assert "REVISION_MISMATCH" in told
    assert all(word in told for word in ("bea", "engage", "A second leak."))
    assert singletons.read_go_live().kill_switch_engaged is True


# -- in a script -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STOPS)
def test_script__without_the_revision__says_whose_stop_was_undone(name: str) -> None:
    stop_before(name)

    outcome = run_golive(name, "--reason", "Mended.")

    assert outcome.code == DONE
    assert f"Stopped by ann ({STOPS[name]}) at 20" in outcome.out
    assert "A leak." in outcome.out


def test_script__nobody_stopped__says_so() -> None:
    make_change("complete")

    assert "Stopped since installation" in run_golive("release", "--reason", "First time.").out


@pytest.mark.parametrize("name", STOPS)
@pytest.mark.parametrize("offset", [-1, 1])
def test_script__another_revision__is_refused_and_says_who_when_what_and_why(name: str, offset: int) -> None:
    revision = stop_before(name)
    before = Event.objects.count()

    outcome = run_golive(name, "--reason", "Mended.", "--expected-revision", str(revision + offset))

    assert (outcome.code, outcome.out) == (REFUSED, "")
    assert "REVISION_MISMATCH: Changed by ann since you looked: revision" in outcome.err
    assert f"({STOPS[name]} at 20" in outcome.err
    assert '"A leak."' in outcome.err
    assert Event.objects.count() == before


def test_script__the_revision_that_stands__is_done_and_names_nobody() -> None:
    revision = stop_before("release")

    outcome = run_golive("release", "--reason", "Mended.", "--expected-revision", str(revision))

    assert outcome.code == DONE
    assert "Stopped" not in outcome.out


def test_script__reason_of_the_stop_with_lines_and_marks__is_shown_in_one_line() -> None:
    for each in ("complete", "release"):
        make_change(each)
    make_change("engage", actor="ann", reason="A leak.\nGO_LIVE: all is well\u202e")

    out = run_golive("release", "--reason", "Mended.").out

    assert "A leak.\\nGO_LIVE: all is well\\u202e" in out


def test_script__a_second_stop_before_a_blind_release__is_the_one_that_is_named() -> None:
    stop_before("release")
    make_change("engage", actor="bea", reason="A second leak.")

    out = run_golive("release", "--reason", "Mended.").out

    assert "Stopped by bea (engage)" in out
    assert "A second leak." in out


# -- which environment and database ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("engage",),
        ("disable",),
        ("reopen",),
        ("complete", "--reason", "Ready."),
        ("release", "--reason", "Refused."),
        ("lease", "100"),
        ("reconcile", "--reason", "Seen."),
        ("token", "create", "pager", "--scope", "engage"),
        ("status",),
    ],
    ids=lambda arguments: arguments[0],
)
def test_each_command__done_or_refused__says_where_and_nothing_secret(arguments: tuple[str, ...]) -> None:
    outcome = run_golive(*arguments, GOLIVE_ENVIRONMENT="berlin")

    told = outcome.out + outcome.err
    name = connection.settings_dict["NAME"]
    assert f"Environment: berlin ({name}" in told
    password = connection.settings_dict["PASSWORD"]
    assert not password or password not in told


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"NAME": "valhalla", "HOST": "db.example.com", "PORT": ""}, "valhalla on db.example.com"),
        ({"NAME": "valhalla", "HOST": "db.example.com", "PORT": 6432}, "valhalla on db.example.com:6432"),
        ({"NAME": "valhalla", "HOST": "", "PORT": ""}, "valhalla on the local socket"),
        ({"NAME": "valhalla", "HOST": "", "OPTIONS": {"host": "/run/pg"}}, "valhalla on /run/pg"),
        ({"NAME": "", "HOST": "", "OPTIONS": {"service": "main"}}, "the default database on main"),
        ({"NAME": "postgresql://u:secret@h/db", "HOST": ""}, "a database named by a connection string"),
        ({"NAME": "dbname=x password=secret", "HOST": "h"}, "a database named by a connection string"),
    ],
)
def test_database_name__each_form__names_it_without_credentials(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], expected: str
) -> None:
    class Fake:
        vendor = "postgresql"
        settings_dict = {"USER": "u", "PASSWORD": "secret", "OPTIONS": {}, **values}

    monkeypatch.setattr(installation, "connections", {"default": Fake()})

    found = installation.database_name()

    assert found == expected
    assert "secret" not in found


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"GOLIVE_ENVIRONMENT": "berlin", "APP_ENV": "development"}, "berlin"),
        ({"GOLIVE_ENVIRONMENT": None, "APP_ENV": "development"}, "development"),
        ({"GOLIVE_ENVIRONMENT": "", "APP_ENV": ""}, "production"),
    ],
)
def test_environment_name__each_setting__is_the_first_that_is_set(settings: dict[str, Any], expected: str) -> None:
    with override_settings(**settings):
        assert installation.environment_name() == expected
