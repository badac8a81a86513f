"""The lock file: what is an edit of a released revision, what the file looks like, and when it is not written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.migration_graph.findings.lock_file import (
    LockedRevision,
    LockRefusedError,
    check_lock,
    format_lock,
    read_lock,
    write_lock,
)
from golive.migration_graph.model import Finding, Graph, Kind, Node, Reference, Report, Severity, UnusableInputError
from tests.migration_graph.git_repository import GitRepository, run_git


def node(name: str, *parents: str, content: str = "") -> Node:
    references = tuple(Reference(parent, 10) for parent in parents)
    return Node(f"{name}.py", name, 9, references, content_hash=content or f"hash of {name}")


def report(nodes: Iterable[Node], *findings: Finding) -> Report:
    graph = Graph(Kind.ALEMBIC, {one.key: one for one in nodes}, {}, {}, (), ())
    return Report("here", graph, findings, 0, 0)


CHAIN = [node("a"), node("b", "a"), node("c", "b")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "migrations.lock"


def codes(found: Report) -> list[tuple[str, tuple[str, ...]]]:
    return [(finding.code, finding.revisions) for finding in found.findings]


def test_write__a_sound_graph__is_read_back_and_finds_nothing(path: Path) -> None:
    added = write_lock(report(CHAIN), path)

    assert added == ("a", "b", "c")
    assert read_lock(path)["b"] == LockedRevision(("a",), "hash of b")
    assert codes(check_lock(report(CHAIN), read_lock(path))) == []


def test_write__something_new__only_adds_lines(path: Path) -> None:
    write_lock(report([node("b", "a"), node("a")]), path)
    before = path.read_text().splitlines()

    added = write_lock(report([*CHAIN, node("aa", "c")]), path)

    after = path.read_text().splitlines()
    assert added == ("aa", "c")
    assert [line for line in after if line in before] == before
    assert len(after) == len(before) + 2


def test_write__nothing_new__leaves_the_file_alone(path: Path) -> None:
    write_lock(report(CHAIN), path)
    before = path.stat()

    assert write_lock(report(CHAIN), path) == ()
    assert path.stat().st_ino == before.st_ino


def test_write__whatever_the_order__gives_the_same_file(tmp_path: Path) -> None:
    write_lock(report(CHAIN), tmp_path / "at once")
    write_lock(report(CHAIN[:1]), tmp_path / "bit by bit")
    write_lock(report(CHAIN[::-1]), tmp_path / "bit by bit")

    assert (tmp_path / "at once").read_bytes() == (tmp_path / "bit by bit").read_bytes()


def test_check__other_parents__names_the_value_to_put_back(path: Path) -> None:
    write_lock(report(CHAIN), path)

    found = check_lock(report([node("a", "c", content="edited"), *CHAIN[1:]]), read_lock(path))

    (finding,) = found.findings
    assert (finding.code, finding.name, finding.severity) == ("MG401", "changed-after-lock", Severity.ERROR)
    assert (finding.file, finding.line, finding.revisions) == ("a.py", 10, ("a",))
    assert "its parents are 'c', released were None" in finding.message
    assert "Put None back in a.py" in finding.hint


def test_check__only_other_content__says_that_the_parents_are_the_same(path: Path) -> None:
    write_lock(report(CHAIN), path)

    (finding,) = check_lock(report([CHAIN[0], node("b", "a", content="a comment"), CHAIN[2]]), read_lock(path)).findings

    assert finding.code == "MG401"
    assert "its parents are the same" in finding.message


def test_check__a_locked_revision_is_gone__is_an_error(path: Path) -> None:
    write_lock(report(CHAIN), path)

    (finding,) = check_lock(report(CHAIN[:2]), read_lock(path)).findings

    assert (finding.code, finding.name, finding.revisions) == ("MG402", "removed-after-lock", ("c",))
    assert finding.severity is Severity.ERROR


def test_check__a_renamed_file__is_no_edit(path: Path) -> None:
    write_lock(report(CHAIN), path)

    found = check_lock(report([replace(one, key=f"moved/{one.key}") for one in CHAIN]), read_lock(path))

    assert codes(found) == []


def test_check__a_second_file_with_the_id_of_a_released_one__does_not_blame_the_released_one(path: Path) -> None:
    write_lock(report(CHAIN), path)
    twin = replace(node("b", "a", content="other"), key="a_twin.py")

    assert codes(check_lock(report([twin, *CHAIN]), read_lock(path))) == []


def test_write__an_edit_of_a_released_revision__is_refused_and_changes_nothing(path: Path) -> None:
    write_lock(report(CHAIN), path)
    before = path.read_bytes()

    with pytest.raises(LockRefusedError, match="MG401"):
        write_lock(report([node("a", "c", content="edited"), *CHAIN[1:], node("d", "c")]), path)

    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_write__a_graph_with_errors__is_refused(path: Path) -> None:
    cycle = Finding("MG101", "cycle", Severity.ERROR, "a loop", "cut it")

    with pytest.raises(LockRefusedError, match="MG101"):
        write_lock(report(CHAIN, cycle), path)

    assert not path.exists()


def test_write__only_warnings__is_written(path: Path) -> None:
    warning = Finding("MG204", "irreversible", Severity.WARNING, "no way back", "")

    assert write_lock(report(CHAIN, warning), path) == ("a", "b", "c")


def test_write__the_disk_fails__leaves_the_old_file_and_no_other(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lock(report(CHAIN), path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_lock(report([*CHAIN, node("d", "c")]), path)

    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


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
        ("format = 1\nrevisions = 3\n", "is not a table"),
        ("format = 2\n[revisions]\n", "format 1"),
        ("", "format 1"),
        ("\ud800", "not UTF-8"),
    ],
)
def test_read__a_broken_file__is_unusable_and_says_where(path: Path, text: str, message: str) -> None:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))

    with pytest.raises(UnusableInputError, match=message) as caught:
        read_lock(path)

    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_read__no_such_file__is_unusable(path: Path) -> None:
    with pytest.raises(UnusableInputError, match="No such file"):
        read_lock(path)


def test_read__windows_line_ends_and_a_mark__are_the_same_file(path: Path) -> None:
    write_lock(report(CHAIN), path)
    lock = read_lock(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))

    assert read_lock(path) == lock


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
HASHES = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(st.dictionaries(NAMES, st.builds(LockedRevision, st.lists(NAMES, max_size=3).map(tuple), HASHES), max_size=6))
def test_format__any_names__are_read_back(
    tmp_path_factory: pytest.TempPathFactory, lock: dict[str, LockedRevision]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.lock"
    path.write_text(format_lock(lock), encoding="utf-8", newline="")

    assert read_lock(path) == lock


def test_merge__two_branches_lock_different_revisions__git_merges_without_a_conflict(tmp_path: Path) -> None:
    ids = ["10ab", "33cd", "58ef", "77aa", "93bb", "c0de", "d1ce", "f00d"]
    base = [node(name) for name in ids]
    made = GitRepository(tmp_path)
    texts: list[str] = []
    for extra in ((), ("2222",), ("e111",)):
        file = tmp_path / f"lock{len(texts)}"
        write_lock(report([*base, *map(node, extra)]), file)
        texts.append(file.read_text())
        file.unlink()
    first = made.commit({"migrations.lock": texts[0]})
    made.commit({"migrations.lock": texts[1]}, parents=[first])
    right = made.commit({"migrations.lock": texts[2]}, parents=[first])
    made.write()
    run_git(tmp_path, "reset", "--quiet", "--hard", made.name(right))

    done = subprocess.run(
        ["git", "-c", "user.name=x", "-c", "user.email=x@example.com", "merge", "--quiet", made.name(2)],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert len(read_lock(tmp_path / "migrations.lock")) == len(ids) + 2
