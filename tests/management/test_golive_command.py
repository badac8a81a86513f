"""`manage.py golive`: what it says, where it says it, and its exit codes."""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import Client

from golive.database import installation
from golive.domain.chain import DRIFT, RECONCILE
from golive.domain.changes import CHANGES
from golive.domain.rows import GO_LIVE_STATE, SYSTEM_METADATA
from golive.management.commands.golive import Command
from golive.models import Event, GoLiveState, SystemMetadata
from golive.readiness import runner
from golive.state import history, singletons
from tests.support.changes import go_live, make_changes, newest
from tests.support.faults import append_only_suspended, database_url, renamed_table, run_sql
from tests.support.patience import ends_within
from tests.support.server import ROOT, clean_environment

pytestmark = pytest.mark.usefixtures("database")

DONE, REFUSED, NOT_APPLIED = 0, 1, 2
# A process may take so long in all: the 5 s that a change may take, and the start of an interpreter on a busy machine.
# A process that starts, asks for at most 5 s and ends, on a machine that may be busy.
PROCESS_SECONDS = 80
ALLOWED, NOT_ALLOWED, UNKNOWN = 0, 1, 2


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code and what it wrote to each stream."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Golive = Callable[..., Outcome]


def where() -> str:
    """The line with which every change says where it worked."""
    return f"Environment: {installation.describe()}"


@pytest.fixture
def golive(capsys: pytest.CaptureFixture[str]) -> Golive:
    """`manage.py golive ARGUMENTS`, in this process but through all that Django does for a command line."""

    def call(*arguments: str) -> Outcome:
        capsys.readouterr()
        code: object = 0
        try:
            Command().run_from_argv(["manage.py", "golive", *arguments])
        except SystemExit as error:
            code = error.code
        written = capsys.readouterr()
        assert isinstance(code, int), code
        return Outcome(code, written.out, written.err)

    return call


def run_golive(*arguments: str | bytes, **values: str) -> Outcome:
    """`manage.py golive ARGUMENTS` as a process of its own, on the database of the tests unless `values` say else."""
    done = subprocess.run(
        [sys.executable, "manage.py", "golive", *arguments],
        cwd=ROOT,
        env=clean_environment({"DATABASE_URL": database_url(), **values}),
        capture_output=True,
        timeout=PROCESS_SECONDS,
        check=False,
    )
    outcome = Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in outcome.err, outcome.err
    return outcome


def count_events() -> int:
    return Event.objects.count()


# -- status ------------------------------------------------------------------------------------------------------------


def test_status__as_seeded__says_why_not_and_exits_1(golive: Golive) -> None:
    outcome = golive("status")

    assert (outcome.code, outcome.err) == (NOT_ALLOWED, "")
    assert outcome.out.startswith("KILL_SWITCH_ENGAGED: The kill switch is engaged. Execution is not allowed.\n")
    assert re.search(r"^go_live_state$", outcome.out, re.MULTILINE)
    assert re.search(r"^  kill_switch_engaged  +True$", outcome.out, re.MULTILINE)
    assert re.search(r"^system_metadata$", outcome.out, re.MULTILINE)
    assert re.search(r"^  completed_at  +-$", outcome.out, re.MULTILINE)


def test_status__go_live_disabled__says_so_and_exits_1(golive: Golive) -> None:
    make_changes("complete", "release")

    outcome = golive("status")

    assert (outcome.code, outcome.err) == (NOT_ALLOWED, "")
    assert outcome.out.startswith("GO_LIVE_DISABLED: ")


def test_status__allowed__exits_0(golive: Golive) -> None:
    go_live()

    outcome = golive("status")

    assert (outcome.code, outcome.err) == (ALLOWED, "")
    assert outcome.out.startswith("ALLOWED: Execution is allowed.\n")


@pytest.mark.parametrize(("is_live", "code"), [(False, NOT_ALLOWED), (True, ALLOWED)])
def test_status__json__is_what_the_api_answers(golive: Golive, client: Client, *, is_live: bool, code: int) -> None:
    if is_live:
        go_live()

    outcome = golive("status", "--json")

    assert (outcome.code, outcome.err) == (code, "")
    assert outcome.json() == client.get("/api/status").json()


@pytest.mark.parametrize("model", [GoLiveState, SystemMetadata])
def test_status__missing_row__is_unknown_and_exits_2(
    golive: Golive, model: type[GoLiveState] | type[SystemMetadata]
) -> None:
    model.objects.all().delete()

    outcome = golive("status")

    assert (outcome.code, outcome.out) == (UNKNOWN, "")
    assert outcome.err == (
        f"CommandError: STATE_UNKNOWN: Row 1 of {model._meta.db_table} is missing. Run `manage.py migrate`.\n"
    )


def test_status__missing_row_as_json__is_unknown_in_the_same_shape(golive: Golive) -> None:
    known = golive("status", "--json").json()
    GoLiveState.objects.all().delete()

    outcome = golive("status", "--json")

    assert outcome.code == UNKNOWN
    answer = outcome.json()
    assert set(answer) == set(known)
    assert answer["execution"] == {
        "allowed": False,
        "code": "STATE_UNKNOWN",
        "message": "The go-live state cannot be known. Execution is not allowed.",
    }
    assert (answer["go_live"], answer["system"]) == (None, None)
    assert "STATE_UNKNOWN" in outcome.err


@pytest.mark.sqlite_only
@pytest.mark.parametrize("arguments", [("status",), ("engage",), ("history",), ("history", "--verify")])
def test_golive__tables_missing__exits_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """As when `migrate` was never run."""
    outcome = run_golive(*arguments, DATABASE_URL=f"sqlite:///{tmp_path / 'empty.sqlite3'}")

    assert (outcome.code, outcome.out) == (2, "")
    assert re.match(r"CommandError: (STATE_UNKNOWN|NOT_APPLIED): ", outcome.err)


@pytest.mark.parametrize(
    ("arguments", "table"),
    [(("status",), "go_live_state"), (("engage",), "go_live_state"), (("history",), "golive_event")],
)
def test_golive__a_table_missing__names_the_remedy(golive: Golive, arguments: tuple[str, ...], table: str) -> None:
    with renamed_table(table):
        outcome = golive(*arguments)

    assert (outcome.code, outcome.out) == (2, "")
    assert "Tables or columns are missing. Run `manage.py migrate`.\n" in outcome.err


@pytest.mark.postgresql
@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("engage", "--reason", "Stop."),
        ("release", "--reason", "Go.", "--override", "backend_complete"),
        ("history",),
        ("reconcile", "--reason", "Why."),
    ],
)
def test_golive__database_refuses_connections__exits_2_at_once(arguments: tuple[str, ...]) -> None:
    outcome = run_golive(*arguments, DATABASE_URL="postgresql://u:word-to-keep@127.0.0.1:1/none")

    assert (outcome.code, outcome.out) == (2, "")
    assert re.match(r"CommandError: (STATE_UNKNOWN|NOT_APPLIED): ", outcome.err)
    assert "word-to-keep" not in outcome.err


@pytest.mark.slow
@pytest.mark.postgresql
@pytest.mark.parametrize("arguments", [("status", "--json"), ("engage",)])
def test_golive__database_takes_connections_and_is_silent__exits_2_in_time(arguments: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        outcome = run_golive(*arguments, DATABASE_URL=f"postgresql://u:p@127.0.0.1:{silent.getsockname()[1]}/none")

    assert outcome.code == 2
    assert re.search(r"^CommandError: (STATE_UNKNOWN|NOT_APPLIED): ", outcome.err, re.MULTILINE)
    if "--json" in arguments:
        assert outcome.json()["execution"]["code"] == "STATE_UNKNOWN"


@pytest.mark.postgresql
def test_release__database_away__is_not_refused_by_a_rule_but_not_applied() -> None:
    outcome = run_golive("release", "--reason", "Go.", DATABASE_URL="postgresql://u:p@127.0.0.1:1/none")

    assert outcome.code == NOT_APPLIED


# -- changes -----------------------------------------------------------------------------------------------------------

PREPARATIONS = {
    "engage": ("complete", "release"),
    "disable": ("complete", "release", "enable"),
    "reopen": ("complete",),
    "release": ("complete",),
    "enable": ("complete",),
    "complete": (),
}
EFFECTS: dict[str, tuple[str, object]] = {
    "engage": ("kill_switch_engaged", True),
    "disable": ("go_live_enabled", False),
    "reopen": ("backend_complete", False),
    "release": ("kill_switch_engaged", False),
    "enable": ("go_live_enabled", True),
    "complete": ("backend_complete", True),
}
DECISIONS = {
    "engage": "KILL_SWITCH_ENGAGED: The kill switch is engaged. Execution is not allowed.",
    "disable": "GO_LIVE_DISABLED: Go-live is disabled. Execution is not allowed.",
    "release": "GO_LIVE_DISABLED: Go-live is disabled. Execution is not allowed.",
    "enable": "KILL_SWITCH_ENGAGED: The kill switch is engaged. Execution is not allowed.",
}
WITHOUT_REASON = ("engage", "disable", "reopen")
WITH_REASON_ONLY = ("release", "enable", "complete")


def read_effect(name: str) -> object:
    column, _ = EFFECTS[name]
    go_live_row, system = singletons.read_both()
    return getattr(go_live_row, column, None) if hasattr(go_live_row, column) else getattr(system, column)


def test_golive__alone__lists_what_there_is_and_exits_2(golive: Golive) -> None:
    outcome = golive()

    assert (outcome.code, outcome.out) == (2, "")
    assert all(re.search(rf"^ +{name} ", outcome.err, re.MULTILINE) for name in ("status", "lease", "token", *EFFECTS))


def test_golive__subcommands__are_those_of_the_contract() -> None:
    parser = Command().create_parser("manage.py", "golive")
    (commands,) = [action for action in parser._actions if action.dest == "subcommand"]

    assert commands.choices is not None
    assert set(commands.choices) == {"status", "history", "reconcile", "lease", "token", *EFFECTS}
    assert set(EFFECTS) == set(CHANGES) - {"edit"}


@pytest.mark.parametrize("name", EFFECTS)
def test_change__with_a_reason__is_made_and_recorded(golive: Golive, name: str) -> None:
    make_changes(*PREPARATIONS[name])
    events = count_events()

    outcome = golive(name, "--reason", "  Because it must be.\n")

    assert (outcome.code, outcome.err) == (DONE, "")
    assert outcome.out.splitlines()[0] == f"{name}: done (event {events + 1})."
    if name in DECISIONS:
        assert outcome.out.splitlines()[1] == DECISIONS[name]
    assert read_effect(name) == EFFECTS[name][1]
    event = newest()
    assert (event.sequence, event.action, event.reason) == (events + 1, name, "Because it must be.")
    assert (event.channel, event.changed, event.override) == ("cli", True, False)
    assert (event.user_id, event.on_behalf_of, event.request_id, event.remote_addr) == (None, None, None, None)


@pytest.mark.parametrize("name", WITHOUT_REASON)
def test_change_toward_safe__without_a_reason__is_made_and_recorded(golive: Golive, name: str) -> None:
    make_changes(*PREPARATIONS[name])

    outcome = golive(name)

    assert (outcome.code, outcome.err) == (DONE, "")
    assert read_effect(name) == EFFECTS[name][1]
    assert (newest().action, newest().reason) == (name, "")


@pytest.mark.parametrize("name", WITH_REASON_ONLY)
@pytest.mark.parametrize("reason", [(), ("--reason", ""), ("--reason", " \t\n"), ("--reason", "x" * 1001)])
def test_change_toward_live__without_a_proper_reason__is_refused(
    golive: Golive, name: str, reason: tuple[str, ...]
) -> None:
    make_changes(*PREPARATIONS[name])
    before, events = read_effect(name), count_events()

    outcome = golive(name, *reason)

    assert (outcome.code, outcome.out) == (REFUSED, "")
    assert outcome.err.startswith("CommandError: INVALID_REQUEST: reason: ")
    assert (read_effect(name), count_events()) == (before, events)


@pytest.mark.parametrize("name", ["release", "enable"])
def test_change_toward_live__failing_checklist__is_refused_naming_the_items(golive: Golive, name: str) -> None:
    events = count_events()

    outcome = golive(name, "--reason", "Go.")

    assert (outcome.code, outcome.out) == (REFUSED, "")
    first, *items = outcome.err.splitlines()
    assert first.startswith("CommandError: CHECKLIST_FAILED: The go-live checklist fails: backend_complete.")
    assert items == ["  backend_complete: Mark the backend complete first.", where()]
    assert count_events() == events


@pytest.mark.parametrize("name", ["release", "enable"])
def test_change_toward_live__override__passes_and_keeps_what_failed(golive: Golive, name: str) -> None:
    outcome = golive(name, "--reason", "It burns.", "--override", "backend_complete")

    assert (outcome.code, outcome.err) == (DONE, "")
    assert read_effect(name) == EFFECTS[name][1]
    event = newest()
    assert (event.action, event.override, event.reason) == (name, True, "It burns.")
    assert event.failed_checks == [{"id": "backend_complete", "detail": "Mark the backend complete first."}]


@pytest.mark.parametrize("name", ["release", "enable"])
def test_override__without_a_reason__is_refused(golive: Golive, name: str) -> None:
    outcome = golive(name, "--override", "backend_complete")

    assert (outcome.code, outcome.out) == (REFUSED, "")
    assert "INVALID_REQUEST: reason: is required" in outcome.err


def test_override__nothing_fails__is_not_recorded_as_one(golive: Golive) -> None:
    make_changes("complete")

    outcome = golive("release", "--reason", "Go.", "--override", "backend_complete")

    assert outcome.code == DONE
    assert (newest().override, newest().failed_checks) == (False, None)


@pytest.mark.parametrize("name", EFFECTS)
def test_change__already_so__is_recorded_and_says_so(golive: Golive, name: str) -> None:
    make_changes(*PREPARATIONS[name], name)
    before, events = singletons.read_both(), count_events()

    outcome = golive(name, "--reason", "Again.")

    assert (outcome.code, outcome.err) == (DONE, "")
    assert outcome.out.startswith(f"{name}: nothing to change; the request is recorded (event {events + 1}).\n")
    assert (newest().changed, newest().reason) == (False, "Again.")
    go_live_row, system = singletons.read_both()
    raised = (go_live_row.revision - before[0].revision, system.revision - before[1].revision)
    assert raised == {"engage": (1, 0), "disable": (1, 0), "reopen": (0, 1)}.get(name, (0, 0))


def test_engage__reason_that_cannot_stay_as_it_is__is_cut_and_told_on_stderr(golive: Golive) -> None:
    outcome = golive("engage", "--reason", "\x1b[31m" + "x" * 1200)

    assert outcome.code == DONE
    notes = outcome.err.splitlines()
    assert len(notes) == 2
    assert all(note.startswith("Note: reason had" if "control" in note else "Note: reason was") for note in notes)
    assert len(newest().reason) == 1000
    assert "\x1b" not in newest().reason


def test_reopen__released_kill_switch__is_engaged_with_it(golive: Golive) -> None:
    go_live()

    outcome = golive("reopen", "--reason", "A fault.")

    assert outcome.code == DONE
    assert "KILL_SWITCH_ENGAGED" in outcome.out
    assert singletons.read_go_live().kill_switch_engaged is True


def test_complete__version_and_notes__are_stored_with_it(golive: Golive) -> None:
    outcome = golive("complete", "--version", "2.1.0", "--notes", "All but mail.", "--reason", "Ready.")

    assert outcome.code == DONE
    row = singletons.read_system()
    assert (row.backend_complete, row.version, row.notes) == (True, "2.1.0", "All but mail.")
    assert row.completed_at is not None


@pytest.mark.parametrize("field", [("--version", ""), ("--version", "1" * 201), ("--notes", "n" * 10_001)])
def test_complete__bad_field__is_refused_naming_it(golive: Golive, field: tuple[str, str]) -> None:
    outcome = golive("complete", *field, "--reason", "Ready.")

    assert (outcome.code, outcome.out) == (REFUSED, "")
    assert f"INVALID_REQUEST: {field[0].removeprefix('--')}: " in outcome.err
    assert singletons.read_system().backend_complete is False


@pytest.mark.parametrize("name", EFFECTS)
def test_change__missing_row__is_not_made_and_exits_2(golive: Golive, name: str) -> None:
    make_changes(*PREPARATIONS[name])
    GoLiveState.objects.all().delete()
    events = count_events()

    outcome = golive(
        name, "--reason", "Because.", *(("--override", "backend_complete") if CHANGES[name].is_guarded else ())
    )

    assert (outcome.code, outcome.out) == (NOT_APPLIED, "")
    assert "STATE_UNKNOWN: Row 1 of go_live_state is missing." in outcome.err
    assert count_events() == events


@pytest.mark.slow
def test_engage__row_held_by_another__is_not_applied_and_exits_2_within_5_seconds(golive: Golive) -> None:
    make_changes("complete", "release")
    events = count_events()

    with row_held_by_another(), ends_within(5):
        outcome = golive("engage", "--reason", "Stop.")

    assert (outcome.code, outcome.out) == (NOT_APPLIED, "")
    assert outcome.err.startswith("CommandError: NOT_APPLIED: ")
    assert "nothing was done" in outcome.err
    assert (count_events(), singletons.read_go_live().kill_switch_engaged) == (events, False)


@contextmanager
def row_held_by_another() -> Iterator[None]:
    """Another session holds the row of go_live_state (SQLite: the database) in a transaction."""
    config = connection.settings_dict
    if connection.vendor == "sqlite":
        with closing(sqlite3.connect(config["NAME"], isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")
    else:
        with psycopg.connect(database_url()) as other_session:
            other_session.execute("SELECT 1 FROM go_live_state WHERE id = 1 FOR UPDATE")
            yield
            other_session.rollback()


# -- who ---------------------------------------------------------------------------------------------------------------


def test_actor__by_default__is_the_user_at_the_host(golive: Golive) -> None:
    golive("engage")

    assert newest().actor == f"{getpass.getuser()}@{socket.gethostname()}"


def test_actor__given__is_taken(golive: Golive) -> None:
    make_changes("complete")

    golive("release", "--reason", "Go.", "--actor", "Ada Lovelace")

    assert (newest().actor, singletons.read_go_live().changed_by) == ("Ada Lovelace", "Ada Lovelace")


def test_actor__blank__is_the_default(golive: Golive) -> None:
    golive("engage", "--actor", "  ")

    assert newest().actor == f"{getpass.getuser()}@{socket.gethostname()}"


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_actor__user_without_a_name__is_unknown_at_the_host(
    golive: Golive, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """As in a container that runs under a number."""

    def fail() -> str:
        raise error("no name")

    monkeypatch.setattr(getpass, "getuser", fail)

    outcome = golive("engage")

    assert outcome.code == DONE
    assert newest().actor == f"unknown@{socket.gethostname()}"


def test_engage__actor_that_is_no_utf8__is_made_all_the_same() -> None:
    outcome = run_golive("engage", "--actor", b"caf\xe9")

    assert outcome.code == DONE
    assert newest().actor.startswith("caf")


def test_engage__actor_with_control_characters__does_not_reach_the_record(golive: Golive) -> None:
    golive("engage", "--actor", "Ada\x1b[2J\r\nEve")

    assert re.fullmatch(r"[ -~]+", newest().actor)


def test_engage__reason_that_is_no_utf8__is_made_all_the_same() -> None:
    outcome = run_golive("engage", "--reason", b"caf\xe9 is on fire")

    assert outcome.code == DONE
    assert newest().reason == "caf is on fire"


# -- usage -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("stop",),
        ("status", "now"),
        ("engage", "--override", "backend_complete"),
        ("engage", "--expected-revision", "1"),
        ("release", "--override"),
        ("release", "--expected-revision", "one"),
        ("complete", "--override", "backend_complete", "--reason", "Ready."),
        ("release", "--version", "2"),
        ("edit", "--reason", "No such subcommand."),
        ("history", "--limit", "many"),
        ("history", "--limit", "0"),
        ("history", "--limit", "-1"),
        ("history", "--limit", "10001"),
        ("reconcile",),
        ("engage", "--reason"),
    ],
)
def test_golive__wrong_usage__exits_2_and_tells_on_stderr(golive: Golive, arguments: tuple[str, ...]) -> None:
    events = count_events()

    outcome = golive(*arguments)

    assert (outcome.code, outcome.out) == (2, "")
    assert "usage: manage.py golive" in outcome.err or "CommandError: " in outcome.err
    assert count_events() == events


@pytest.mark.parametrize("arguments", [("--help",), ("engage", "--help")])
def test_golive__help__exits_0_and_explains_the_exit_codes(golive: Golive, arguments: tuple[str, ...]) -> None:
    outcome = golive(*arguments)

    assert (outcome.code, outcome.err) == (0, "")
    assert "usage: manage.py golive" in outcome.out
    if arguments == ("--help",):
        assert "Exit code of status: 0 allowed, 1 not allowed, 2 unknown" in " ".join(outcome.out.split())


# -- history -----------------------------------------------------------------------------------------------------------


def test_history__text__says_who_when_what_and_why_newest_first(golive: Golive) -> None:
    make_changes("complete")
    golive("enable", "--reason", "Go on.", "--actor", "ada")
    golive("engage", "--reason", "Stop it.", "--actor", "eve")

    outcome = golive("history")

    assert (outcome.code, outcome.err) == (DONE, "")
    lines = outcome.out.splitlines()
    assert [int(line.split()[0]) for line in lines] == [5, 4, 3, 2, 1]
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
    assert re.fullmatch(rf" +5  {moment}  eve via cli  engage go_live_state \(no change\)  Stop it\.", lines[0])
    assert re.fullmatch(rf" +4  {moment}  ada via cli  enable go_live_state  Go on\.", lines[1])
    assert re.fullmatch(rf" +1  {moment}  migrate via migration  seed system_metadata  -", lines[4])


def test_history__override__is_marked(golive: Golive) -> None:
    golive("release", "--reason", "It burns.", "--override", "backend_complete")

    assert " OVERRIDE  It burns." in golive("history").out.splitlines()[0]


def test_history__limit__gives_so_many(golive: Golive) -> None:
    make_changes("complete", "engage")

    outcome = golive("history", "--limit", "1")

    assert [line.split()[0] for line in outcome.out.splitlines()] == ["4"]


def test_history__more_than_the_default__gives_twenty(golive: Golive) -> None:
    make_changes(*["engage"] * 20)

    assert len(golive("history").out.splitlines()) == 20


@pytest.mark.parametrize(("limit", "following"), [(2, "3"), (4, None)])
def test_history__json__is_what_the_api_answers(
    golive: Golive, client: Client, limit: int, following: str | None
) -> None:
    make_changes("complete", "engage")

    outcome = golive("history", "--json", "--limit", str(limit))

    assert (outcome.code, outcome.err) == (DONE, "")
    assert outcome.json() == client.get(f"/api/governance/go-live/history?limit={limit}").json()
    assert outcome.json()["next"] == following


def test_verify__sound__exits_0(golive: Golive) -> None:
    go_live()

    outcome = golive("history", "--verify")

    assert (outcome.code, outcome.out, outcome.err) == (DONE, "5 events checked, 0 problems.\n", "")


def test_verify__sound_as_json__says_so(golive: Golive) -> None:
    outcome = golive("history", "--verify", "--json")

    assert (outcome.code, outcome.json()) == (DONE, {"sound": True, "checked": 2, "problems": []})


def test_verify__altered_event__exits_1_and_names_it(golive: Golive) -> None:
    go_live()
    with append_only_suspended():
        Event.objects.filter(sequence=3).update(reason="Nothing happened.")

    text, values = golive("history", "--verify"), golive("history", "--verify", "--json")

    assert (text.code, values.code) == (1, 1)
    assert re.match(r"hash:3\S*: Event 3 does not match its hash: it was altered\.\n", text.out)
    assert values.json()["sound"] is False
    assert values.json()["problems"][0]["place"] == "3"


def test_verify__missing_event__exits_1_and_names_the_gap(golive: Golive) -> None:
    go_live()
    with append_only_suspended():
        Event.objects.filter(sequence=4).delete()

    outcome = golive("history", "--verify")

    assert outcome.code == 1
    assert re.search(r"^gap:5\S*: Events between 3 and 5 are missing\.$", outcome.out, re.MULTILINE)


def test_verify__cut_off_end__exits_1(golive: Golive) -> None:
    go_live()
    with append_only_suspended():
        Event.objects.filter(sequence=5).delete()

    outcome = golive("history", "--verify")

    assert outcome.code == 1
    assert "event_head is not the hash of the newest event." in outcome.out


def test_verify__row_changed_by_sql__exits_1(golive: Golive) -> None:
    run_sql("UPDATE go_live_state SET kill_switch_engaged = %s", [False])

    outcome = golive("history", "--verify")

    assert outcome.code == 1
    assert "go_live_state was changed behind the controls (kill_switch_engaged)." in outcome.out


# -- reconcile ---------------------------------------------------------------------------------------------------------


def events_intact() -> bool:
    (result,) = [result for result in runner.run_checklist().results if result.id == "events_intact"]
    return result.ok


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        (GO_LIVE_STATE, "go_live_enabled", True),
        (GO_LIVE_STATE, "lease_ms", 0),
        (SYSTEM_METADATA, "version", "6.6.6"),
    ],
)
def test_reconcile__row_changed_by_sql__is_a_blocker_until_it_is_recorded(
    golive: Golive, table: str, column: str, value: object
) -> None:
    make_changes("complete")
    run_sql(f"UPDATE {table} SET {column} = %s", [value])

    refused = golive("release", "--reason", "Go.")
    reconciled = golive("reconcile", "--reason", "A slip in a console.", "--actor", "ada")
    released = golive("release", "--reason", "Go.")

    assert refused.code == REFUSED
    assert f"  events_intact: {table} was changed behind the controls ({column})." in refused.err
    assert (reconciled.code, reconciled.err) == (DONE, "")
    assert reconciled.out == f"Recorded: {table} was changed behind the controls ({column}).\n{where()}\n"
    assert released.code == DONE
    recorded = Event.objects.get(action=RECONCILE)
    assert (recorded.subject, recorded.actor, recorded.reason) == (table, "ada", "A slip in a console.")
    assert recorded.after is not None
    assert recorded.after[column] == value
    assert golive("history", "--verify").code == DONE


def test_reconcile__altered_event__is_acknowledged_and_no_longer_a_blocker(golive: Golive) -> None:
    make_changes("complete")
    with append_only_suspended():
        Event.objects.filter(sequence=3).update(actor="somebody else")
    assert not events_intact()

    outcome = golive("reconcile", "--reason", "Restored from a backup.")

    assert (outcome.code, outcome.out) == (
        DONE,
        f"Recorded: Event 3 does not match its hash: it was altered.\n{where()}\n",
    )
    assert events_intact()


def test_reconcile__drift_that_a_stop_found__is_recorded_twice_and_ends(golive: Golive) -> None:
    """The stop is not held up by the drift; it records it, and the blocker stays until somebody explains it."""
    run_sql("UPDATE go_live_state SET go_live_enabled = %s", [True])

    stopped = golive("engage")
    was_intact = events_intact()
    reconciled = golive("reconcile", "--reason", "A slip in a console.")

    assert (stopped.code, reconciled.code) == (DONE, DONE)
    assert not was_intact
    assert events_intact()
    actions = list(Event.objects.filter(sequence__gt=2).order_by("sequence").values_list("action", flat=True))
    assert actions == [DRIFT, "engage", RECONCILE]


def test_reconcile__all_agree__says_so_and_writes_nothing(golive: Golive) -> None:
    events = count_events()

    outcome = golive("reconcile", "--reason", "To be sure.")

    assert (outcome.code, outcome.err) == (DONE, "")
    assert outcome.out == f"Nothing to reconcile: chain, event_head and rows agree.\n{where()}\n"
    assert count_events() == events


def test_reconcile__blank_reason__is_refused(golive: Golive) -> None:
    run_sql("UPDATE system_metadata SET version = %s", ["6.6.6"])
    events = count_events()

    outcome = golive("reconcile", "--reason", "  ")

    assert (outcome.code, outcome.out) == (REFUSED, "")
    assert outcome.err.startswith("CommandError: INVALID_REQUEST: reason: is required")
    assert count_events() == events


def test_reconcile__missing_row__exits_2(golive: Golive) -> None:
    GoLiveState.objects.all().delete()

    outcome = golive("reconcile", "--reason", "Why.")

    assert (outcome.code, outcome.out) == (NOT_APPLIED, "")
    assert "STATE_UNKNOWN" in outcome.err


@pytest.mark.slow
@pytest.mark.postgresql
def test_reconcile__record_locked_by_another__is_not_applied_in_time() -> None:
    """As when somebody alters the table."""
    with psycopg.connect(database_url()) as other:
        other.execute("LOCK TABLE golive_event IN ACCESS EXCLUSIVE MODE")
        outcome = run_golive("reconcile", "--reason", "Why.")

    assert outcome.code == NOT_APPLIED


# -- as a process ------------------------------------------------------------------------------------------------------


def test_process__the_whole_story__has_the_right_exit_codes() -> None:
    codes = [
        run_golive(*arguments).code
        for arguments in (
            ("enable", "--reason", "Too early."),
            ("complete", "--version", "2.0.0", "--reason", "Ready."),
            ("release", "--reason", "Go."),
            ("enable", "--reason", "Go."),
            ("status",),
            ("engage", "--reason", "Stop."),
            ("status", "--json"),
            ("stop",),
        )
    ]

    assert codes == [REFUSED, DONE, DONE, DONE, ALLOWED, DONE, NOT_ALLOWED, 2]
    assert [event["action"] for event in history.read_page(limit=4, before=None)[0]] == [
        "engage",
        "enable",
        "release",
        "complete",
    ]


@pytest.mark.postgresql
def test_process__production_without_hosts_and_web_tier__works() -> None:
    values = {"APP_ENV": "production", "ALLOWED_HOSTS": "", "RENDER_EXTERNAL_HOSTNAME": ""}

    status, engaged = run_golive("status", **values), run_golive("engage", "--reason", "Stop.", **values)

    assert (status.code, status.err) == (NOT_ALLOWED, "")
    assert (engaged.code, engaged.err) == (DONE, "")
    assert newest().action == "engage"


def test_process__terminal_without_unicode__does_not_fail() -> None:
    run_golive("engage", "--reason", "Überall Rauch 🔥")

    outcome = run_golive("history", "--limit", "1", PYTHONIOENCODING="ascii", LC_ALL="C", PYTHONUTF8="0")

    assert outcome.code == DONE
    assert "engage go_live_state" in outcome.out


def test_process__reader_that_goes_away__leaves_no_traceback() -> None:
    """As in `manage.py golive history | head -1`."""
    make_changes(*["engage"] * 30)
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "manage.py", "golive", "history", "--limit", "30"],
            cwd=ROOT,
            env=clean_environment({"DATABASE_URL": database_url()}),
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)

    assert "Traceback" not in done.stderr


# -- the lease ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lease_ms", [0, 250, 5000])
def test_lease__within_the_limits__is_set_and_recorded(golive: Golive, lease_ms: int) -> None:
    outcome = golive("lease", str(lease_ms), "--reason", "Quicker stops", "--actor", "ann")

    assert outcome.code == DONE, outcome.err
    assert singletons.read_go_live().lease_ms == lease_ms
    event = newest()
    assert (event.action, event.actor, event.reason, event.channel) == ("lease", "ann", "Quicker stops", "cli")
    assert event.changed is (lease_ms != 250)


@pytest.mark.parametrize("value", ["-1", "5001", "99999", "0.5", "1e3", "", "\u0661", "ten"])
def test_lease__that_is_none__is_wrong_usage_and_names_the_limits(golive: Golive, value: str) -> None:
    events = count_events()

    outcome = golive("lease", value)

    assert outcome.code == NOT_APPLIED
    assert "0 to 5000" in outcome.err
    assert (count_events(), singletons.read_go_live().lease_ms) == (events, 250)
