"""The lock file: what it looks like, what is an edit of a released revision, and when it is not written."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.migration_graph.findings.lock_file import (
    LockedRevision,
    LockFile,
    Placement,
    find_locked_parents,
    format_lock,
    read_lock,
)
from golive.migration_graph.model import Finding, Node, Report, Severity, UnusableInputError
from golive.migration_graph.readers.alembic import hash_content
from tests.migration_graph.examining import examine, lock
from tests.migration_graph.folders import chain, find, make_alembic, render, write
from tests.migration_graph.git_repository import GitRepository, run_git

NAME = "migrations.lock"
CHAIN = chain(a=None, b="'a'", c="'b'")
# `d` depends on `c` beside its parent.
DIAMOND = {**CHAIN, "d.py": render("d", "'b'", "depends_on = 'c'\n"), "e.py": render("e", "('c', 'd')")}
LICENCE = "# Copyright of somebody\n# Licence: some\n\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three revisions, and the lock file of all three."""
    make_alembic(tmp_path, CHAIN)
    assert lock(tmp_path).refusal is None
    return tmp_path


def change(folder: Path, **files: str | None) -> None:
    """Write revision files by id; None removes one."""
    for name, content in files.items():
        path = folder / "alembic" / "versions" / f"{name}.py"
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content)


def list_errors(report: Report) -> list[tuple[str, tuple[str, ...]]]:
    return [(finding.code, finding.revisions) for finding in report.findings if finding.is_new_error]


def get_edit(folder: Path) -> Finding:
    (finding,) = find(examine(folder), "MG401")
    return finding


def drop_bodies(path: Path) -> None:
    """Make it a lock file of format 1."""
    locked = read_lock(path).revisions
    lines = [
        f'"{name}" = {{ parents = {list(each.parents)!r}, sha256 = "{each.sha256}" }}\n'
        for name, each in locked.items()
    ]
    path.write_text("format = 1\n\n[revisions]\n" + "".join(lines))


# -- the file ----------------------------------------------------------------------------------------------------------


def test_write__a_sound_graph__holds_what_each_revision_follows_and_does(folder: Path) -> None:
    content = render("b", "'a'").encode()

    locked = read_lock(folder / NAME).revisions["b"]

    assert (locked.placement, locked.sha256) == (Placement(("a",)), hash_content(content))
    assert locked.body not in ("", locked.sha256, None)
    assert list_errors(examine(folder)) == []


def test_write__something_new__only_adds_lines(folder: Path) -> None:
    before = (folder / NAME).read_text().splitlines()
    change(folder, aa=render("aa", "'c'"))

    assert lock(folder).refusal is None

    after = (folder / NAME).read_text().splitlines()
    assert [line for line in after if line in before] == before
    assert len(after) == len(before) + 1


def test_write__nothing_new__leaves_the_file_alone(folder: Path) -> None:
    before = (folder / NAME).stat()

    lock(folder)

    assert (folder / NAME).stat().st_ino == before.st_ino


def test_write__whatever_the_order__gives_the_same_file(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = make_alembic(tmp_path_factory.mktemp("bit by bit"), {"a.py": CHAIN["a.py"]})
    lock(other)
    write(other / "alembic" / "versions", CHAIN)
    lock(other)

    assert (other / NAME).read_bytes() == (folder / NAME).read_bytes()


def test_write__all_that_a_revision_follows__is_kept_in_its_line(tmp_path: Path) -> None:
    make_alembic(tmp_path / "backend", DIAMOND)
    write_django(tmp_path / "site", "0001_a", "[]")
    write_django(tmp_path / "site", "0002_b", "[('app', '0001_a'), ('other', '0001_x')]", run_before="[('z', '0001')]")
    lock(tmp_path / "backend")
    lock(tmp_path / "site")

    assert read_lock(tmp_path / "backend" / NAME).revisions["d"].placement == Placement(("b",), ("c",))
    assert read_lock(tmp_path / "site" / NAME).revisions["app.0002_b"].placement == Placement(
        ("app.0001_a", "other.0001_x"), run_before=("z.0001",)
    )


def test_write__a_merge__has_an_empty_body(folder: Path) -> None:
    merge = "revision = 'm'\ndown_revision = ('c', 'd')\n\n\ndef upgrade():\n    pass\n"
    change(folder, d=render("d", "'b'"), m=merge)

    lock(folder)

    assert read_lock(folder / NAME).revisions["m"].body == ""


def test_write__the_disk_fails__leaves_the_old_file_and_no_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change(folder, d=render("d", "'c'"))
    before, names = (folder / NAME).read_bytes(), sorted(folder.iterdir())

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UnusableInputError, match="No space"):
        lock(folder)

    assert (folder / NAME).read_bytes() == before
    assert sorted(folder.iterdir()) == names


# -- edits of what was released ----------------------------------------------------------------------------------------


def test_check__other_parents__names_the_value_to_put_back(folder: Path) -> None:
    change(folder, b=render("b", "None"), a=render("a", "'b'"))

    finding = next(each for each in find(examine(folder), "MG401") if each.revisions == ("a",))

    assert (finding.name, finding.severity) == ("changed-after-lock", Severity.ERROR)
    assert (finding.file, finding.line) == ("alembic/versions/a.py", 11)
    assert "its down_revision is 'b', released was None" in finding.message
    assert "Put None back in alembic/versions/a.py" in finding.hint


def test_check__another_dependency__is_an_error(folder: Path) -> None:
    change(folder, d=render("d", "'a'", "depends_on = 'b'\n"), e=render("e", "('c', 'd')"))
    lock(folder)
    change(folder, d=render("d", "'a'", "depends_on = 'c'\n"))

    finding = get_edit(folder)

    assert finding.severity is Severity.ERROR
    assert "its depends_on is 'c', released was 'b'" in finding.message


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda text: LICENCE + text, id="a licence header"),
        pytest.param(lambda text: text.replace("'", '"'), id="a formatter's quotes"),
        pytest.param(lambda text: text.replace("('SELECT 1')", "(\n        'SELECT 1',\n    )"), id="its line breaks"),
        pytest.param(lambda text: text.replace("add b", "add the b"), id="the docstring"),
        pytest.param(lambda text: text + "# the end\n", id="a comment"),
    ],
)
def test_check__what_changes_nothing__is_a_note(folder: Path, edit: object) -> None:
    assert callable(edit)
    edited = edit(render("b", "'a'"))
    assert edited != render("b", "'a'")
    change(folder, b=edited)

    finding = get_edit(folder)

    assert (finding.severity, finding.revisions) == (Severity.INFO, ("b",))
    assert "what it does and follows is the same" in finding.message
    assert examine(folder).sound
    # It can be written on, and the line stays.
    before = (folder / NAME).read_bytes()
    assert lock(folder).refusal is None
    assert (folder / NAME).read_bytes() == before


def test_check__what_it_does_differs__is_an_error_that_names_the_normal_way(folder: Path) -> None:
    change(folder, b=LICENCE + render("b", "'a'").replace("SELECT 1", "SELECT 3"))

    finding = get_edit(folder)

    assert finding.severity is Severity.ERROR
    assert "what it does is not the same" in finding.message
    assert "Make the change in a new migration" in finding.hint


def test_check__line_ends__are_no_edit(folder: Path) -> None:
    path = folder / "alembic" / "versions" / "b.py"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))

    assert examine(folder).findings == ()


def test_check__a_computed_value__cannot_be_judged_and_is_an_error(folder: Path) -> None:
    change(folder, b=render("b", "find_parent()"))

    finding = get_edit(folder)

    assert finding.severity is Severity.ERROR
    assert "cannot be told" in finding.message


def test_check__was_computed_when_locked__is_held_by_its_content(folder: Path) -> None:
    change(folder, d=render("d", "find_parent()"))
    lock(folder)
    assert read_lock(folder / NAME).revisions["d"].is_opaque
    assert list_errors(examine(folder)) == []

    change(folder, d=render("d", "'b'"))

    assert "cannot be told" in get_edit(folder).message


def test_check__unreadable_file__is_not_gone_and_is_an_error(folder: Path) -> None:
    change(folder, c="<<<<<<< HEAD\n" + render("c", "'b'"))

    assert list_errors(examine(folder)) == [("MG105", ()), ("MG401", ("c",))]
    assert "whether it still does the same cannot be told" in get_edit(folder).message


def test_check__file_without_an_id__is_not_told_as_gone(folder: Path) -> None:
    change(folder, c="revision = (\n")

    assert list_errors(examine(folder)) == [("MG105", ())]


def test_check__a_locked_revision_is_gone__is_an_error(folder: Path) -> None:
    change(folder, c=None)

    (finding,) = find(examine(folder), "MG402")

    assert (finding.name, finding.revisions, finding.severity) == ("removed-after-lock", ("c",), Severity.ERROR)


def test_check__a_renamed_file__is_no_edit(folder: Path) -> None:
    versions = folder / "alembic" / "versions"
    (versions / "c.py").rename(versions / "other.py")

    assert examine(folder).findings == ()


def test_check__a_second_file_with_the_id_of_a_released_one__does_not_blame_the_released_one(folder: Path) -> None:
    change(folder, a_twin=render("b", "'a'") + "\n\nprint()\n")

    assert list_errors(examine(folder)) == [("MG103", ("b",))]


def test_check__of_two_files_with_an_id__the_one_that_does_the_same_is_the_released_one(folder: Path) -> None:
    change(folder, a_twin=render("b", "'a'") + "\n\nprint()\n", b=LICENCE + render("b", "'a'"))

    assert list_errors(examine(folder)) == [("MG103", ("b",))]
    assert get_edit(folder).severity is Severity.INFO


def write_django(root: Path, name: str, dependencies: str, *, sql: str = "SELECT 1", **lists: str) -> None:
    folder = root / "app" / "migrations"
    folder.mkdir(parents=True, exist_ok=True)
    for path in (root / "manage.py", folder.parent / "__init__.py", folder / "__init__.py"):
        path.touch()
    more = "".join(f"    {key} = {value}\n" for key, value in lists.items())
    (folder / f"{name}.py").write_text(
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
        f"    dependencies = {dependencies}\n{more}    operations = [migrations.RunSQL({sql!r}, 'SELECT 0')]\n"
    )


@pytest.mark.parametrize(
    ("dependencies", "lists", "told"),
    [
        ("[('app', '0001_a'), ('other', '0002_y')]", {}, "its dependencies is"),
        ("[('app', '0001_a')]", {"run_before": "[('other', '0001_x')]"}, "its run_before is"),
        ("[('app', '0001_a')]", {"replaces": "[('app', '0000_z')]"}, "its replaces is"),
        ("[('app', '0001_a')]", {"sql": "SELECT 2"}, "what it does is not the same"),
    ],
)
def test_check__django__all_that_is_followed_counts(
    dependencies: str, lists: dict[str, str], told: str, tmp_path: Path
) -> None:
    write_django(tmp_path, "0001_a", "[]")
    write_django(tmp_path, "0002_b", "[('app', '0001_a')]")
    lock(tmp_path)
    write_django(tmp_path, "0002_b", dependencies, **lists)

    finding = get_edit(tmp_path)

    assert (finding.severity, finding.revisions) == (Severity.ERROR, ("app.0002_b",))
    assert told in finding.message


def test_check__django_squashed__the_old_files_may_go(tmp_path: Path) -> None:
    write_django(tmp_path, "0001_a", "[]")
    write_django(tmp_path, "0002_b", "[('app', '0001_a')]")
    lock(tmp_path)
    squashed = "[('app', '0001_a'), ('app', '0002_b')]"
    write_django(tmp_path, "0001_squashed", "[]", replaces=squashed)
    assert list_errors(lock(tmp_path).report) == []

    for name in ("0001_a", "0002_b"):
        (tmp_path / "app" / "migrations" / f"{name}.py").unlink()

    assert list_errors(examine(tmp_path)) == []


# -- when it is not written --------------------------------------------------------------------------------------------


def test_write__an_edit_of_a_released_revision__is_refused_and_changes_nothing(folder: Path) -> None:
    before = (folder / NAME).read_bytes()
    change(folder, b=render("b", "'a'", "x = 1\n"), d=render("d", "'c'"))

    result = lock(folder)

    assert result.refusal is not None
    assert "MG401" in result.refusal
    assert (folder / NAME).read_bytes() == before


def test_write__a_graph_with_errors__is_refused_and_tells_the_way(tmp_path: Path) -> None:
    make_alembic(tmp_path, chain(a="'c'", b="'a'", c="'b'"))

    result = lock(tmp_path)

    assert result.refusal == f"{tmp_path / NAME} was not written: there are errors (MG101); --known keeps them as known"
    assert not (tmp_path / NAME).exists()


def test_write__only_warnings__is_written(tmp_path: Path) -> None:
    make_alembic(tmp_path, {"a.py": "revision = 'a'\ndown_revision = None\n\n\ndef upgrade():\n    run()\n"})

    result = lock(tmp_path)

    assert [finding.code for finding in result.report.findings] == ["MG204"]
    assert list(read_lock(tmp_path / NAME).revisions) == ["a"]


# -- format 1 ----------------------------------------------------------------------------------------------------------


def test_format_1__unchanged_files__are_no_edit_and_the_lines_are_completed(folder: Path) -> None:
    complete = (folder / NAME).read_bytes()
    drop_bodies(folder / NAME)
    assert examine(folder).findings == ()

    assert lock(folder).refusal is None

    assert (folder / NAME).read_bytes() == complete


def test_format_1__other_content__cannot_be_judged_and_says_how_to_complete_the_lines(folder: Path) -> None:
    drop_bodies(folder / NAME)
    change(folder, b=LICENCE + render("b", "'a'"))

    finding = get_edit(folder)

    assert finding.severity is Severity.ERROR
    assert "whether it still does the same cannot be told" in finding.message
    assert "check the release out and write the lock there" in finding.hint


def test_format_1__other_parents__are_named(folder: Path) -> None:
    drop_bodies(folder / NAME)
    change(folder, c=render("c", "'a'"))

    assert "its down_revision is 'a', released was 'b'" in get_edit(folder).message


def test_format_1__a_dependency_that_it_could_not_hold__is_no_edit(tmp_path: Path) -> None:
    make_alembic(tmp_path, DIAMOND)
    lock(tmp_path)
    drop_bodies(tmp_path / NAME)
    assert examine(tmp_path).findings == ()

    change(tmp_path, d=LICENCE + render("d", "'b'", "depends_on = 'c'\n"))

    assert "cannot be told" in get_edit(tmp_path).message


def test_format_1__an_edited_file__does_not_complete_its_line(folder: Path) -> None:
    drop_bodies(folder / NAME)
    before = read_lock(folder / NAME).revisions["b"]
    change(folder, b=render("b", "'a'", "x = 1\n"))

    assert lock(folder, keeps_known=True).refusal is None

    after = read_lock(folder / NAME).revisions
    assert after["b"] == before
    assert after["a"].body is not None


def test_locked_parents__of_one_whose_values_were_computed__are_not_known() -> None:
    opaque = LockedRevision(Placement(("x",)), "1", "1")

    assert find_locked_parents({"a": opaque}, Node("a.py", "a", 1)) is None
    assert find_locked_parents({"a": replace(opaque, body="2")}, Node("a.py", "a", 1)) == ("x",)


# -- reading -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("format = 1\n\n[revisions]\n<<<<<<< HEAD\n", ":4: a merge conflict"),
        ("format = 1\n\n[revisions]\na = \n", r":4: "),
        (
            'format = 1\n[revisions]\n"a" = { parents = [], sha256 = "1" }\n"a" = { parents = [], sha256 = "2" }\n',
            ":4: ",
        ),
        ('format = 1\n[revisions]\n"a" = { parents = [] }\n', ":3: .*sha256"),
        ('format = 1\n[revisions]\n"a" = { parents = [1], sha256 = "1" }\n', ":3: .*parents"),
        ('format = 2\n[revisions]\n"a" = { parents = [], sha256 = "1", body = 2 }\n', ":3: .*body"),
        ('format = 2\n[revisions]\n"a" = { sha256 = "1", body = "2" }\n', ":3: .*parents"),
        ('format = 2\n[revisions]\n"a" = { parents = [], run_before = "b", sha256 = "1" }\n', ":3: "),
        ("format = 1\nrevisions = 3\n", "is not a table"),
        ("format = 2\nknown = 3\n", "`known` is not a table"),
        ('format = 2\n[known]\nMG101 = ["a"]\n', "`known` is not a table"),
        ("format = 2\n[known]\nMG101 = [[1]]\n", "`known` is not a table"),
        ("format = 3\n[revisions]\n", "format that this version reads"),
        ("format = true\n[revisions]\n", "format that this version reads"),
        ("", "format that this version reads"),
        ("\ud800", "not UTF-8"),
    ],
)
def test_read__a_broken_file__is_unusable_and_says_where(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / NAME
    path.write_bytes(text.encode("utf-8", "surrogatepass"))

    with pytest.raises(UnusableInputError, match=message) as caught:
        read_lock(path)

    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_read__no_such_file__is_unusable(tmp_path: Path) -> None:
    with pytest.raises(UnusableInputError, match="No such file"):
        read_lock(tmp_path / NAME)


@pytest.mark.parametrize("target", ["nowhere", "/proc/self/environ"])
def test_read__a_link_that_leads_nowhere_or_out__does_not_pass_for_no_lock_file(folder: Path, target: str) -> None:
    (folder / NAME).unlink()
    (folder / NAME).symlink_to(target)

    with pytest.raises(UnusableInputError, match=r"migrations\.lock"):
        examine(folder)


def test_read__windows_line_ends_and_a_mark__are_the_same_file(folder: Path) -> None:
    path = folder / NAME
    before = read_lock(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))

    assert read_lock(path) == before


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
LISTS = st.lists(NAMES, max_size=3).map(tuple)
HASHES = st.text("0123456789abcdef", min_size=64, max_size=64)
PLACEMENTS = st.builds(Placement, LISTS, LISTS, LISTS, LISTS)
REVISIONS = st.one_of(
    st.builds(LockedRevision, PLACEMENTS, HASHES, st.none() | st.just("") | HASHES),
    st.builds(LockedRevision, st.none(), st.none(), HASHES),
)
KNOWN = st.dictionaries(NAMES, st.lists(LISTS, min_size=1, max_size=2).map(tuple), max_size=2)


@given(st.builds(LockFile, st.dictionaries(NAMES, REVISIONS, max_size=6), KNOWN))
def test_format__any_names__are_read_back(tmp_path_factory: pytest.TempPathFactory, written: LockFile) -> None:
    path = tmp_path_factory.getbasetemp() / "any.lock"
    path.write_text(format_lock(written), encoding="utf-8", newline="")

    assert read_lock(path) == written


def test_merge__two_branches_lock_different_revisions__git_merges_without_a_conflict(tmp_path: Path) -> None:
    ids = ["10ab", "33cd", "58ef", "77aa", "93bb", "c0de", "d1ce", "f00d"]
    made = GitRepository(tmp_path)
    texts: list[str] = []
    for extra in ([], ["2222"], ["e111"]):
        revisions = dict.fromkeys([*ids, *extra], LockedRevision(Placement(), "1" * 64, "2" * 64))
        texts.append(format_lock(LockFile(revisions)))
    first = made.commit({NAME: texts[0]})
    made.commit({NAME: texts[1]}, parents=[first])
    right = made.commit({NAME: texts[2]}, parents=[first])
    made.write()
    run_git(tmp_path, "reset", "--quiet", "--hard", made.name(right))

    done = subprocess.run(
        ["git", "-c", "user.name=x", "-c", "user.email=x@example.com", "merge", "--quiet", made.name(2)],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert len(read_lock(tmp_path / NAME).revisions) == len(ids) + 2
