"""Errors that the lock file keeps as known: an incident can be frozen, and only what is new fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from golive.migration_graph.findings.known import list_known, mark_known
from golive.migration_graph.findings.lock_file import read_lock
from golive.migration_graph.model import Kind, Report, Severity
from golive.migration_graph.reports import render
from tests.migration_graph.examining import examine, lock
from tests.migration_graph.folders import chain, make_alembic
from tests.migration_graph.folders import render as revision
from tests.migration_graph.incident import build_incident
from tests.migration_graph.reports import make_finding, make_graph, make_report

NAME = "migrations.lock"
# A loop of three, and a revision on top of it.
LOOP = chain(a="'c'", b="'a'", c="'b'", d="'c'")


def freeze(folder: Path) -> Report:
    result = lock(folder, keeps_known=True)
    assert result.refusal is None
    return result.report


def change(folder: Path, **files: str | None) -> None:
    for name, content in files.items():
        path = folder / "alembic" / "versions" / f"{name}.py"
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content)


def list_errors(report: Report) -> list[tuple[str, bool]]:
    return [(finding.code, finding.is_known) for finding in report.findings if finding.severity is Severity.ERROR]


def test_freeze__a_broken_graph__is_not_sound_and_does_not_fail(tmp_path: Path) -> None:
    make_alembic(tmp_path, LOOP)

    report = freeze(tmp_path)

    assert (report.sound, report.has_new_errors) == (False, False)
    assert render(report, "text").splitlines()[0] == "Not sound: 1 known error"
    assert "MG101 cycle (known error)" in render(report, "text")
    assert list_errors(examine(tmp_path)) == [("MG101", True)]
    assert read_lock(tmp_path / NAME).known == {"MG101": (("a", "b", "c"),)}


def test_freeze__the_incident__fails_only_on_what_is_new(tmp_path: Path) -> None:
    incident = build_incident(tmp_path)
    freeze(incident.folder)
    path = next(incident.folder.glob("r114*"))
    lines = "\n\n\n" + path.read_text()
    path.write_text(lines)
    assert not examine(incident.folder, with_history=True).has_new_errors

    path.write_text(lines.replace("down_revision = 'r108'", "down_revision = 'r999'"))

    new = [finding.code for finding in examine(incident.folder).findings if finding.is_new_error]
    assert new == ["MG102", "MG401"]


@pytest.mark.parametrize(
    ("change_", "code"),
    [
        pytest.param({"e": revision("e", "'nobody'")}, "MG102", id="another error"),
        pytest.param({"d": revision("d", "'c'", "x = 1\n")}, "MG401", id="an edit of what was released"),
        pytest.param({"c": revision("c", "'b'", "x = 1\n")}, "MG401", id="an edit of what a member of the loop does"),
        pytest.param({"d": None}, "MG402", id="a revision removed"),
        pytest.param({"e": revision("e", "'f'"), "f": revision("f", "'e'")}, "MG101", id="another loop"),
        pytest.param({"a": revision("a", "'e'"), "e": revision("e", "'c'")}, "MG101", id="a longer loop"),
    ],
)
def test_known__something_new__fails(tmp_path: Path, change_: dict[str, str | None], code: str) -> None:
    make_alembic(tmp_path, LOOP)
    freeze(tmp_path)

    change(tmp_path, **change_)

    report = examine(tmp_path)
    assert code in [finding.code for finding in report.findings if finding.is_new_error]
    assert lock(tmp_path).refusal is not None


def test_known__repairing_it__is_no_edit_of_what_was_released(tmp_path: Path) -> None:
    make_alembic(tmp_path, LOOP)
    freeze(tmp_path)
    assert read_lock(tmp_path / NAME).revisions["a"].placement is None
    assert read_lock(tmp_path / NAME).revisions["d"].placement is not None

    change(tmp_path, a=revision("a", "None"))

    assert examine(tmp_path).findings == ()
    # What is gone is no longer known, and what was left open is completed.
    assert lock(tmp_path).refusal is None
    again = read_lock(tmp_path / NAME)
    assert again.known == {}
    assert again.revisions["a"].placement is not None
    change(tmp_path, a=revision("a", "'c'"))
    assert list_errors(examine(tmp_path)) == [("MG101", False), ("MG401", False)]


def test_known__while_it_stands__its_revisions_stay_open(tmp_path: Path) -> None:
    make_alembic(tmp_path, LOOP)
    freeze(tmp_path)
    change(tmp_path, e=revision("e", "'d'"))

    assert lock(tmp_path).refusal is None

    assert read_lock(tmp_path / NAME).revisions["a"].placement is None
    change(tmp_path, a=revision("a", "None"))
    assert examine(tmp_path).findings == ()


def test_known__repaired_together_with_what_it_does__stays_as_it_was_locked(tmp_path: Path) -> None:
    make_alembic(tmp_path, LOOP)
    freeze(tmp_path)
    before = read_lock(tmp_path / NAME).revisions["a"]
    change(tmp_path, a=revision("a", "None", "x = 1\n"))
    assert list_errors(examine(tmp_path)) == [("MG401", False)]

    freeze(tmp_path)

    assert read_lock(tmp_path / NAME).revisions["a"] == before


def test_known__file_that_cannot_be_read__is_not_locked(tmp_path: Path) -> None:
    computed = revision("d", "find_parent()", "depends_on = 'nobody'\n")
    make_alembic(
        tmp_path, {**chain(a=None, b="'a'"), "c.py": f"<<<<<<< ours\n{revision('c', repr('b'))}", "d.py": computed}
    )

    report = freeze(tmp_path)

    assert list_errors(report) == [("MG105", True), ("MG107", True)]
    assert list(read_lock(tmp_path / NAME).revisions) == ["a", "b"]


def test_known__errors_of_a_database__are_never_kept() -> None:
    finding = make_finding("MG301", "database-revision-unknown", revisions=("x",))
    report = make_report(make_graph({"a": []}), finding)

    assert list_known(report) == {}
    assert not mark_known(report, {"MG301": (("x",),)}).findings[0].is_known


def test_known__heads_of_one_app__are_not_those_of_another() -> None:
    graph = make_graph({name: [] for name in ("app.a", "app.b", "other.a", "other.b")}, kind=Kind.DJANGO)
    report = make_report(graph, make_finding(revisions=("other.a", "other.b")))

    assert not mark_known(report, {"MG201": (("app.a", "app.b"),)}).findings[0].is_known
    assert mark_known(report, {"MG201": (("other.x", "other.y"),)}).findings[0].is_known


def test_known__several_heads__may_move_on_but_not_become_more(tmp_path: Path) -> None:
    make_alembic(tmp_path, chain(a=None, b="'a'", c="'a'"))
    freeze(tmp_path)

    change(tmp_path, d=revision("d", "'c'"))
    assert list_errors(examine(tmp_path)) == [("MG201", True)]
    assert lock(tmp_path).refusal is None

    change(tmp_path, e=revision("e", "'a'"))
    assert list_errors(examine(tmp_path)) == [("MG201", False)]


def test_known__two_errors_alike__need_two_entries(tmp_path: Path) -> None:
    make_alembic(tmp_path, chain(a=None, b="('a', 'x')"))
    freeze(tmp_path)

    change(tmp_path, b=revision("b", "('a', 'x', 'y')"))

    assert list_errors(examine(tmp_path)) == [("MG102", False), ("MG102", True)]


def test_known__edit_of_a_released_revision__is_known_as_it_is_now_alone(tmp_path: Path) -> None:
    make_alembic(tmp_path, chain(a=None, b="'a'"))
    lock(tmp_path)
    before = read_lock(tmp_path / NAME).revisions
    change(tmp_path, a=revision("a", "None", "x = 1\n"))

    assert freeze(tmp_path).has_new_errors is False

    assert read_lock(tmp_path / NAME).revisions == before
    change(tmp_path, a=revision("a", "None", "x = 2\n"))
    assert list_errors(examine(tmp_path)) == [("MG401", False)]


def test_known__an_id_of_two_files__is_not_locked_until_it_is_one(tmp_path: Path) -> None:
    make_alembic(tmp_path, chain(a=None, b="'a'"))
    change(tmp_path, b_twin=revision("b", "'a'", "x = 1\n"))
    freeze(tmp_path)
    assert list(read_lock(tmp_path / NAME).revisions) == ["a"]

    change(tmp_path, b=None)
    lock(tmp_path)

    assert list(read_lock(tmp_path / NAME).revisions) == ["a", "b"]
