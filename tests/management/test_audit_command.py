"""The command, in all the ways in which it is started: whole processes, as people, CI and hooks run it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from golive.migration_graph.reports import FORMATS
from tests.migration_graph.incident import GUILTY_LINE, GUILTY_PATH, GUILTY_SUBJECT, build_incident
from tests.support.server import ROOT, clean_environment

SOUND, BROKEN = {"a": None, "b": "a", "c": "b"}, {"a": "c", "b": "a", "c": "b"}
MANAGE = (sys.executable, str(ROOT / "manage.py"), "audit_migrations")
MODULE = (sys.executable, "-m", "golive.migration_graph")
SCRIPT = (str(ROOT / "golive/migration_graph/__main__.py"),)
Parents = str | list[str] | None
FRONTS = {"manage.py": MANAGE, "-m": MODULE, "script": SCRIPT}


def write_revisions(folder: Path, parents: Mapping[str, Parents]) -> Path:
    """A project of Alembic in the folder; each revision with the parent that it names."""
    versions = folder / "migrations" / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    (folder / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n")
    for name, parent in parents.items():
        (versions / f"{name}.py").write_text(
            f'"""Change {name}"""\nrevision = {name!r}\ndown_revision = {parent!r}\n\n\n'
            "def upgrade():\n    op.execute('')\n\n\ndef downgrade():\n    op.execute('')\n"
        )
    return folder


def run_front(
    front: tuple[str, ...], *arguments: str, cwd: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    path = {"PYTHONPATH": str(ROOT)} if front is MODULE else {}
    return subprocess.run(
        [*front, *arguments],
        cwd=cwd,
        env={**clean_environment(path), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("front", FRONTS.values(), ids=FRONTS)
@pytest.mark.parametrize(("parents", "code", "first"), [(SOUND, 0, "Sound"), (BROKEN, 1, "Not sound: 1 error")])
def test_audit__each_way__answers_by_its_exit_code(
    front: tuple[str, ...], parents: Mapping[str, Parents], code: int, first: str, tmp_path: Path
) -> None:
    done = run_front(front, str(write_revisions(tmp_path, parents)))

    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.startswith(first)


@pytest.mark.parametrize("front", FRONTS.values(), ids=FRONTS)
@pytest.mark.parametrize("arguments", [("nowhere",), ("--lock-file", "nowhere.lock"), ("--output", "nowhere/x")])
def test_audit__unusable_input__is_one_line_and_exit_code_2(
    front: tuple[str, ...], arguments: tuple[str, ...], tmp_path: Path
) -> None:
    folder = write_revisions(tmp_path, SOUND)
    target = () if arguments == ("nowhere",) else (str(folder),)

    done = run_front(front, *target, *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"audit_migrations: .*nowhere.*\n", done.stderr)


@pytest.mark.parametrize("front", [MODULE, SCRIPT], ids=["-m", "script"])
@pytest.mark.parametrize("arguments", [("--format", "pdf"), ("a", "b"), ("--nonsense",)])
def test_audit__wrong_usage__is_one_line_and_exit_code_2(front: tuple[str, ...], arguments: tuple[str, ...]) -> None:
    done = run_front(front, *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"audit_migrations: .*--help lists the arguments\n", done.stderr)


def test_audit__no_path__is_this_project() -> None:
    done = run_front(MANAGE, "--format", "json")

    described = json.loads(done.stdout)
    assert done.returncode == 0
    assert (described["kind"], described["sound"]) == ("django", True)
    assert all(head.startswith("golive.") for head in described["heads"])


@pytest.mark.parametrize("url", ["postgresql://nobody:x@127.0.0.1:1/nothing", "sqlite:////proc/nowhere.sqlite3"])
def test_audit__database_that_is_broken__is_not_asked(url: str, tmp_path: Path) -> None:
    done = run_front(MANAGE, str(write_revisions(tmp_path, SOUND)), DATABASE_URL=url)

    assert (done.returncode, done.stderr) == (0, "")


def test_audit__own_graph_broken__still_answers(tmp_path: Path) -> None:
    """`manage.py` itself must not load the migrations first."""
    project = copy_project(tmp_path)
    first = project / "golive/migrations/0001_initial.py"
    first.write_text(first.read_text().replace("dependencies = []", 'dependencies = [("golive", "0004_api_tokens")]'))

    done = run_front((sys.executable, "manage.py", "audit_migrations"), cwd=project)

    assert done.returncode == 1
    assert "MG101 cycle" in done.stdout


def copy_project(folder: Path) -> Path:
    for name in ("golive", "valhalla"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("manage.py", "migrations.lock"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.mark.parametrize("form", FORMATS)
def test_audit__narrow_encoding__loses_no_report(form: str, tmp_path: Path) -> None:
    folder = write_revisions(tmp_path, BROKEN)
    (folder / "migrations/versions/d.py").write_text('"""Straße 表"""\nrevision = "ü→"\ndown_revision = "c"\n')

    done = run_front(MODULE, str(folder), "--format", form, PYTHONIOENCODING="ascii:strict", PYTHONUTF8="0")

    assert (done.returncode, done.stderr) == (1, "")
    assert len(done.stdout) > 200


def test_audit__output_file__has_the_report_and_the_terminal_nothing(tmp_path: Path) -> None:
    folder = write_revisions(tmp_path, BROKEN)

    done = run_front(MODULE, str(folder), "--format", "html", "--output", str(tmp_path / "report.html"))

    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("front", FRONTS.values(), ids=FRONTS)
def test_audit__reader_that_has_seen_enough__is_no_failure_with_a_traceback(
    front: tuple[str, ...], tmp_path: Path
) -> None:
    names = [f"r{n}" for n in range(200)]
    folder = write_revisions(tmp_path, dict(zip(names, [None, *names], strict=False)))
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)  # less than the report, however much a pipe holds here
    process = subprocess.Popen(
        [*front, str(folder), "--format", "dot"],
        # Unbuffered, Python takes a write that was cut short for a whole one.
        env={**clean_environment({"PYTHONPATH": str(ROOT)}), "PYTHONUNBUFFERED": ""},
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(theirs)
    os.read(ours, 10)
    os.close(ours)

    _, told = process.communicate()

    assert (process.returncode, told) == (141, "")


@pytest.mark.parametrize(
    ("environment", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
@pytest.mark.parametrize("front", FRONTS.values(), ids=FRONTS)
def test_audit__terminal__colours_unless_told_not_to(
    front: tuple[str, ...], environment: dict[str, str], is_coloured: bool, tmp_path: Path
) -> None:
    folder = write_revisions(tmp_path, BROKEN)
    ours, theirs = pty.openpty()
    try:
        settings = {**clean_environment({"PYTHONPATH": str(ROOT)}), "TERM": "xterm", **environment}
        done = subprocess.run([*front, str(folder)], stdout=theirs, stderr=theirs, env=settings, check=False)
        shown = os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)

    assert done.returncode == 1
    assert ("\x1b[31;1mNot sound" in shown) is is_coloured
    assert shown.replace("\x1b[31;1m", "").startswith("Not sound")


def test_audit__audited_folder__is_left_as_it_was_and_nothing_in_it_runs(tmp_path: Path) -> None:
    folder = write_revisions(tmp_path, SOUND)
    (folder / "migrations/env.py").write_text("raise SystemExit('env.py ran')")
    (folder / "migrations/versions/d.py").write_text(
        f"open({str(folder / 'ran')!r}, 'w')\nrevision = 'd'\ndown_revision = 'c'\n"
    )
    before = sorted(path.name for path in folder.rglob("*"))

    done = run_front(MODULE, str(folder), "--format", "json")

    assert json.loads(done.stdout)["heads"] == ["d"]
    assert sorted(path.name for path in folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("file", "is_looked_at"),
    [
        ("migrations/versions/a.py", True),
        ("versions/a.py", True),
        ("backend/alembic.ini", True),
        ("app/migrations/0001_initial.py", True),
        ("migrations.lock", True),
        ("app/models.py", False),
        ("README.md", False),
    ],
)
def test_hook__file_of_a_commit__starts_it_if_it_can_matter(file: str, is_looked_at: bool) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())

    assert bool(re.search(hook["files"], file)) is is_looked_at


@pytest.mark.parametrize("form", FORMATS)
def test_script__without_any_package__writes_each_form(form: str, tmp_path: Path) -> None:
    """In another project's environment nothing of this one is installed: `-S` hides all that is."""
    folder = write_revisions(tmp_path, BROKEN)

    done = run_front((sys.executable, "-S", *SCRIPT), str(folder), "--format", form)

    assert (done.returncode, done.stderr) == (1, "")


def test_audit__lock_file__freezes_what_was_released(tmp_path: Path) -> None:
    folder = write_revisions(tmp_path, SOUND)
    assert run_front(MODULE, str(folder), "--write-lock").returncode == 0
    assert (folder / "migrations.lock").exists()

    write_revisions(tmp_path, {"a": None, "b": "a", "c": "a", "d": ["b", "c"]})
    done = run_front(MODULE, str(folder), "--format", "json")

    (finding,) = json.loads(done.stdout)["findings"]
    assert done.returncode == 1
    assert (finding["code"], finding["file"]) == ("MG401", "migrations/versions/c.py")


def test_audit__write_lock_of_a_broken_graph__is_refused_and_told(tmp_path: Path) -> None:
    folder = write_revisions(tmp_path, BROKEN)

    done = run_front(MODULE, str(folder), "--write-lock", "--lock-file", str(tmp_path / "own.lock"))

    assert done.returncode == 1
    assert "own.lock was not written" in done.stderr
    assert not (tmp_path / "own.lock").exists()


def test_audit__known__freezes_an_incident_and_lets_it_pass(tmp_path: Path) -> None:
    folder = write_revisions(tmp_path, BROKEN)
    assert run_front(MODULE, str(folder)).returncode == 1

    frozen = run_front(MODULE, str(folder), "--write-lock", "--known")
    again = run_front(MODULE, str(folder))

    assert (frozen.returncode, frozen.stderr, again.returncode) == (0, "", 0)
    assert frozen.stdout.startswith("Not sound: 1 known error\n")
    assert again.stdout == frozen.stdout


@pytest.mark.parametrize("front", FRONTS.values(), ids=FRONTS)
def test_audit__known_without_write_lock__is_refused_in_one_line(front: tuple[str, ...], tmp_path: Path) -> None:
    folder = write_revisions(tmp_path, SOUND)

    done = run_front(front, str(folder), "--known")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "audit_migrations: --known needs --write-lock: it keeps today's errors in the lock file\n"


@pytest.mark.parametrize(("applied", "code", "pending"), [("a", 0, ["b", "c"]), ("c", 0, []), ("elsewhere", 1, None)])
def test_audit__database__tells_what_an_upgrade_would_run(
    applied: str, code: int, pending: list[str] | None, tmp_path: Path
) -> None:
    folder = write_revisions(tmp_path, SOUND)
    with closing(sqlite3.connect(tmp_path / "db.sqlite3")) as connection, connection:
        connection.execute("CREATE TABLE alembic_version (version_num text)")
        connection.execute("INSERT INTO alembic_version VALUES (?)", [applied])

    done = run_front(MANAGE, str(folder), "--format", "json", "--database", f"sqlite:///{tmp_path}/db.sqlite3")

    assert (done.returncode, json.loads(done.stdout).get("pending")) == (code, pending)


def test_audit__database_without_the_drivers__says_what_to_use(tmp_path: Path) -> None:
    done = run_front(MODULE, str(write_revisions(tmp_path, SOUND)), "--database", "sqlite:////tmp/x")

    assert done.returncode == 2
    assert "manage.py audit_migrations" in done.stderr


def test_audit__the_incident__names_commit_file_line_and_value(tmp_path: Path) -> None:
    incident = build_incident(tmp_path)

    done = run_front(MANAGE, str(incident.folder), "--format", "json")

    described = json.loads(done.stdout)
    finding = described["findings"][0]
    assert (done.returncode, described["revisions"], len(described["heads"])) == (1, 115, 4)
    assert (finding["code"], finding["affected"]) == ("MG101", 115)
    assert finding["introduced_by"]["commit"] == incident.guilty
    assert finding["introduced_by"]["subject"] == GUILTY_SUBJECT
    best = finding["cuts"][0]
    assert [(edge["file"], edge["line"]) for edge in best["edges"]] == [(GUILTY_PATH, GUILTY_LINE)]
    assert (best["restore"], best["rank"]) == ("None", 1)
    assert all("introduced_by" in other for other in described["findings"])


@pytest.mark.parametrize("front", FRONTS.values(), ids=FRONTS)
@pytest.mark.parametrize(("options", "is_read"), [((), True), (("--history",), True), (("--no-history",), False)])
def test_audit__the_history__is_read_by_default_in_a_repository(
    front: tuple[str, ...], options: tuple[str, ...], is_read: bool, tmp_path: Path
) -> None:
    incident = build_incident(tmp_path)

    done = run_front(front, str(incident.folder), "--format", "json", *options)

    described = json.loads(done.stdout)
    assert (done.returncode, "episodes" in described, described["last_sound"] is not None) == (1, is_read, is_read)
    # Without it three edges are equally suspect.
    assert (described["headline"] is not None) is is_read


def test_audit__no_repository__says_so_only_if_the_history_was_asked_for(tmp_path: Path) -> None:
    folder = str(write_revisions(tmp_path, SOUND))

    assert "history:" not in run_front(MODULE, folder).stdout
    assert (
        "history: No history: the folder is not in a git repository." in run_front(MODULE, folder, "--history").stdout
    )


def test_audit__the_incident__is_answered_in_the_first_lines(tmp_path: Path) -> None:
    incident = build_incident(tmp_path)

    done = run_front(SCRIPT, str(incident.folder))

    lines = done.stdout.splitlines()
    assert lines[0].startswith("Not sound: 3 errors")
    assert lines[3] == f"{GUILTY_PATH}:{GUILTY_LINE}: put back None in place of 'r108'"
    assert f"{incident.guilty[:12]} " in lines[4]
    assert GUILTY_SUBJECT in lines[4]
    assert "last sound: " in done.stdout
    assert len(lines) < 80
