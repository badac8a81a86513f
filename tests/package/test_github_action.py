"""The GitHub Action, run as a runner runs it, with an API that the test makes up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from action.report import MAX_LENGTH, describe, quote
from tests.migration_graph.folders import chain, make_alembic, render, write
from tests.migration_graph.incident import FOLDER, GUILTY_SUBJECT, build_incident
from tests.support.server import ROOT

ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
TOKEN = "ghs_secret"


class FakeGitHub(ThreadingHTTPServer):
    """Keeps the comments of one pull request; `refusal`: the status with which it refuses to write."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.comments: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.refusal: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, body: str, kind: str = "Bot") -> None:
        self.comments.append({"id": len(self.comments) + 1, "body": body, "user": {"type": kind}})


class _Handler(BaseHTTPRequestHandler):
    server: FakeGitHub

    def do_GET(self) -> None:
        page = int(self.path.rpartition("page=")[2])
        self._answer(200, self.server.comments[100 * (page - 1) : 100 * page])

    def do_POST(self) -> None:
        self._write(self.server.add)

    def do_PATCH(self) -> None:
        number = int(self.path.rpartition("/")[2])
        self._write(lambda body: self.server.comments[number - 1].update(body=body))

    def _write(self, apply: Any) -> None:
        text = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["body"]
        if self.server.refusal is None:
            apply(text)
        self._answer(self.server.refusal or 200, {})

    def _answer(self, status: int, body: object) -> None:
        assert self.headers["Authorization"] == f"Bearer {TOKEN}"
        self.server.asked.append(f"{self.command} {self.path}")
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    with serving(FakeGitHub()) as server:
        yield server


@contextmanager
def serving(server: FakeGitHub) -> Iterator[FakeGitHub]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def run_action(
    workspace: Path, github: FakeGitHub, *, event: dict[str, Any] | None = None, **inputs: str
) -> subprocess.CompletedProcess[str]:
    """The step of action.yml, with the defaults of its inputs, in a workspace."""
    (step,) = ACTION["runs"]["steps"]
    values = {name: str(described["default"]) for name, described in ACTION["inputs"].items()}
    values |= {"token": TOKEN, "python": sys.executable, **inputs}
    assert step["env"] == {f"AUDIT_{name.upper()}": f"${{{{ inputs.{name} }}}}" for name in values}
    runner = workspace.parent / "runner"
    runner.mkdir(exist_ok=True)
    (runner / "event.json").write_text(json.dumps(event or {"pull_request": {"number": 7}}))
    (runner / "summary.md").unlink(missing_ok=True)
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],
        cwd=workspace,
        env={
            "PATH": os.environ["PATH"],
            "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_API_URL": github.url,
            "GITHUB_REPOSITORY": "owner/shop",
            "GITHUB_EVENT_PATH": str(runner / "event.json"),
            "GITHUB_STEP_SUMMARY": str(runner / "summary.md"),
            **{f"AUDIT_{name.upper()}": value for name, value in values.items()},
        },
        capture_output=True,
        text=True,
        check=False,
    )


def read_summary(workspace: Path) -> str:
    return (workspace.parent / "runner/summary.md").read_text()


def test_action__of_a_broken_graph__annotates_and_writes_one_comment_that_it_keeps(
    tmp_path: Path, github: FakeGitHub
) -> None:
    incident = build_incident(tmp_path / "workspace")
    workspace, path = incident.repository.folder, FOLDER
    github.add("A word of somebody else")

    first = run_action(workspace, github, path=path)
    second = run_action(workspace, github, path=path)

    assert (first.returncode, second.returncode) == (1, 1), first.stderr
    assert first.stdout.startswith("::error file=")
    assert len(github.comments) == 2
    assert github.comments[1]["body"].endswith(read_summary(workspace))
    assert "MG101 cycle" in github.comments[1]["body"]
    assert GUILTY_SUBJECT in github.comments[1]["body"]
    assert [line.split()[0] for line in github.asked] == ["GET", "POST", "GET", "PATCH"]


def test_action__of_a_graph_that_was_mended__says_so_in_the_same_comment(tmp_path: Path, github: FakeGitHub) -> None:
    workspace = make_alembic(tmp_path / "workspace", chain(a="'b'", b="'a'"))
    run_action(workspace, github)
    make_alembic(workspace, chain(a=None, b="'a'"))

    done = run_action(workspace, github)

    assert done.returncode == 0
    assert [comment["body"].split("\n")[1] for comment in github.comments] == ["### Migrations in `.`: sound"]


def test_action__of_a_sound_graph__begins_no_comment(tmp_path: Path, github: FakeGitHub) -> None:
    workspace = make_alembic(tmp_path / "workspace", chain(a=None))

    done = run_action(workspace, github)

    assert (done.returncode, github.comments) == (0, [])
    assert read_summary(workspace) == "### Migrations in `.`: sound\n"


def test_action__of_two_trees__has_a_comment_for_each(tmp_path: Path, github: FakeGitHub) -> None:
    workspace = tmp_path / "workspace"
    for name in ("one", "two"):
        make_alembic(workspace / name, chain(a="'b'", b="'a'"))

    for name in ("one", "two", "one"):
        run_action(workspace, github, path=name)

    assert len(github.comments) == 2


def test_action__where_the_comment_is_on_a_later_page__finds_it(tmp_path: Path, github: FakeGitHub) -> None:
    workspace = make_alembic(tmp_path / "workspace", chain(a="'b'", b="'a'"))
    for _ in range(150):
        github.add("A word of somebody else")

    for _ in range(2):
        run_action(workspace, github)

    assert len(github.comments) == 151


def test_action__comment_of_a_person_that_looks_like_ours__is_left_alone(tmp_path: Path, github: FakeGitHub) -> None:
    workspace = make_alembic(tmp_path / "workspace", chain(a="'b'", b="'a'"))
    run_action(workspace, github)
    copied = github.comments.pop()["body"]
    github.add(copied, "User")

    run_action(workspace, github)

    assert [comment["user"]["type"] for comment in github.comments] == ["User", "Bot"]


@pytest.mark.parametrize(
    ("refusal", "event", "inputs"),
    [
        (403, None, {}),
        (500, None, {}),
        (None, None, {"token": ""}),
        (None, None, {"comment": "false"}),
        (None, {"ref": "refs/heads/main"}, {}),
    ],
    ids=["fork", "failure", "no token", "not wanted", "push"],
)
def test_action__that_may_not_comment__has_the_summary(
    tmp_path: Path, github: FakeGitHub, refusal: int | None, event: dict[str, Any] | None, inputs: dict[str, str]
) -> None:
    workspace = make_alembic(tmp_path / "workspace", chain(a="'b'", b="'a'"))
    github.refusal = refusal

    done = run_action(workspace, github, event=event, **inputs)

    assert (done.returncode, done.stderr, github.comments) == (1, "", [])
    assert "MG101 cycle" in read_summary(workspace)


def test_action__of_nothing_that_can_be_audited__fails_and_says_why(tmp_path: Path, github: FakeGitHub) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()

    done = run_action(workspace, github, path="no%where")

    assert done.returncode == 2
    assert "::error::audit_migrations: no%25where does not exist\n" in done.stdout
    assert "`audit_migrations: no%where does not exist`" in read_summary(workspace)


def test_action__in_a_repository_of_somebody_hostile__runs_nothing_of_it(tmp_path: Path, github: FakeGitHub) -> None:
    workspace = make_alembic(tmp_path / "workspace", chain(a="'b'", b="'a'"))
    trap = tmp_path / "trap"
    modules = ("golive/__init__.py", "json.py", "urllib/__init__.py", "sitecustomize.py", "action/report.py", "python3")
    write(workspace, {name: f"#!/bin/sh\nopen({str(trap)!r}, 'w')\n" for name in modules})

    done = run_action(workspace, github, path=".", arguments="--name 'alembic'")

    assert done.returncode == 1, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert not trap.exists()


def test_action__input_that_a_shell_would_run__is_an_argument(tmp_path: Path, github: FakeGitHub) -> None:
    workspace = make_alembic(tmp_path / "workspace", chain(a=None))

    done = run_action(workspace, github, path="$(touch ran); `touch ran`")

    assert done.returncode == 2
    assert not (workspace / "ran").exists()


def test_comment__of_files_with_names_that_are_markup__shows_them_as_they_are(
    tmp_path: Path, github: FakeGitHub
) -> None:
    name = "`@everyone` ![x](http://evil.example) <img src=x>\r# Heading.py"
    files: dict[str, str | bytes] = {"a.py": render("a"), name.replace("/", "_"): render("b", "'``gone'")}
    workspace = make_alembic(tmp_path / "workspace", files)

    done = run_action(workspace, github)

    assert (done.returncode, done.stderr) == (1, "")
    (comment,) = github.comments
    assert (
        "`` alembic/versions/`@everyone` ![x](http:__evil.example) <img src=x>\ufffd# Heading.py:11 ``"
        in comment["body"]
    )
    assert quote("x ``` y") == "```` x ``` y ````"
    assert quote("a\nb\u202e") == "`a\ufffdb\ufffd`"


def make_report(**more: Any) -> dict[str, Any]:
    finding = {"code": "MG102", "name": "dangling-parent", "severity": "error", "message": "m", "hint": "Do this."}
    return {"sound": False, "findings": [{**finding, "file": "a.py", "line": 3}], **more}


def test_comment__with_a_headline__names_the_edit_and_the_command() -> None:
    edit = {"file": "versions/b.py", "line": 5, "before": "'x'", "after": "'a'"}
    headline = {"edits": [edit, {**edit, "before": None, "after": None}], "command": "alembic merge heads"}

    lines = list(describe(make_report(headline=headline), "."))

    assert lines[2:5] == [
        "**Edit** `versions/b.py:5`: write `'a'` in place of `'x'`.",
        "**Edit** `versions/b.py:5`: write `None`.",
        "**Run** `alembic merge heads`",
    ]


@pytest.mark.parametrize("headline", [{}, {"headline": None}])
def test_comment__without_a_headline__names_what_to_do_about_the_first_error(headline: dict[str, None]) -> None:
    lines = list(describe(make_report(**headline, history_note="It is shallow."), "."))

    assert lines[2] == "**Next**: `a.py:3`: `Do this.`"
    assert lines[-1] == "The history was not read in full: `It is shallow.`"


def test_comment__of_very_many_errors__is_short_enough_for_github(tmp_path: Path, github: FakeGitHub) -> None:
    files: dict[str, str | bytes] = {
        f"r{number}.py": render(f"r{number}", f"'{'gone' * 3_000}{number}'") for number in range(30)
    }
    workspace = make_alembic(tmp_path / "workspace", files)

    run_action(workspace, github)

    (comment,) = github.comments
    assert MAX_LENGTH - 1_000 < len(comment["body"]) < 65_536
