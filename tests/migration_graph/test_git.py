"""Reading a repository: what git can throw at it, and what a repository must not be able to make it do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from golive.migration_graph.history import git
from golive.migration_graph.history.git import HistoryUnavailableError, Repository, _describe
from tests.migration_graph.git_repository import GitRepository, run_git


def read_all(repository: Repository, *pathspecs: str) -> list[git.ChangedCommit]:
    head = repository.find_head()
    assert head is not None
    return list(repository.read_changes(repository.list_commits(head, pathspecs), pathspecs))


def test_changes__commits_that_touch_the_folder__come_parents_first(tmp_path: Path) -> None:
    made = GitRepository(tmp_path)
    first = made.commit({"v/a.py": "1"})
    made.commit({"elsewhere": "1"})
    second = made.commit({"v/a.py": "2", "elsewhere": "2"})
    third = made.commit({"v/a.py": None})
    made.write()

    commits = read_all(Repository(tmp_path), "v")

    assert [one.commit for one in commits] == [made.name(first), made.name(second), made.name(third)]
    assert [one.parents for one in commits] == [(), (made.name(first),), (made.name(second),)]
    assert [[change.path for change in one.changes] for one in commits] == [["v/a.py"]] * 3
    assert [one.changes[0].blob is None for one in commits] == [False, False, True]


def test_changes__a_merge__is_compared_with_its_first_parent(tmp_path: Path) -> None:
    made = GitRepository(tmp_path)
    base = made.commit({"v/a.py": "1"})
    left = made.commit({"v/b.py": "1"}, parents=[base])
    right = made.commit({"v/c.py": "1"}, parents=[base])
    made.commit({"v/c.py": "1", "v/d.py": "evil"}, parents=[left, right])
    made.write()

    merge = read_all(Repository(tmp_path), "v")[-1]

    assert merge.parents == (made.name(left), made.name(right))
    assert [change.path for change in merge.changes] == ["v/c.py", "v/d.py"]


@pytest.mark.parametrize(
    "name", ["a b.py", 'q"uote.py', "line\nbreak.py", "tab\t.py", ":(top)x.py", "é.py", "back\\slash.py"]
)
def test_changes__odd_file_names__are_kept_as_they_are(tmp_path: Path, name: str) -> None:
    made = GitRepository(tmp_path)
    made.commit({f"v/{name}": "content"})
    made.write()

    repository = Repository(tmp_path)
    (change,) = read_all(repository, "v")[0].changes

    assert change.path == f"v/{name}"
    assert dict(repository.read_blobs([str(change.blob)])) == {change.blob: b"content"}


def test_blobs__a_huge_and_a_binary_one__only_the_huge_one_is_left_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git, "MAX_BYTES", 1000)
    monkeypatch.setattr(git, "BYTES_AT_ONCE", 100)
    made = GitRepository(tmp_path)
    contents = {"a.py": b"x" * 1001, "b.py": bytes(range(256)), "c.py": b"", "d.py": b"\n\n"}
    made.commit(contents)
    made.write()
    repository = Repository(tmp_path)
    blobs = {change.blob: change.path for change in read_all(repository, ".")[0].changes}

    read = {blobs[blob]: content for blob, content in repository.read_blobs(map(str, blobs))}

    assert read == {**contents, "a.py": 1001}


def test_changes__more_commits_than_fit_one_process__none_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git, "COMMITS_AT_ONCE", 3)
    made = GitRepository(tmp_path)
    for number in range(10):
        made.commit({"a.py": str(number)})
    made.write()

    commits = read_all(Repository(tmp_path), ".")

    assert len(commits) == 10
    assert all(len(one.changes) == 1 for one in commits)


@pytest.mark.parametrize(
    ("message", "encoding", "subject"),
    [
        (b"One line\n\nand more", None, "One line"),
        ("Füge hinzu".encode("latin-1"), "ISO-8859-1", "Füge hinzu"),
        (b"\xff\xfe", None, "\ufffd\ufffd"),
        (b"Broken \xe9", "no-such-encoding", "Broken \ufffd"),
        (b"Two\nlines", None, "Two lines"),
        (b"", None, ""),
    ],
)
def test_describe__any_bytes_as_message__gives_a_subject(
    tmp_path: Path, message: bytes, encoding: str | None, subject: str
) -> None:
    made = GitRepository(tmp_path)
    mark = made.commit({"a.py": "1"}, message, encoding=encoding)
    made.write()

    (commit,) = Repository(tmp_path).describe([made.name(mark)]).values()

    assert commit.subject == subject
    assert commit.date == "2026-01-01T00:01:00+00:00"
    assert commit.author == "Maria"


def test_repository__not_one__says_so(tmp_path: Path) -> None:
    with pytest.raises(HistoryUnavailableError, match="not in a git repository"):
        Repository(tmp_path)


def test_repository__bare__says_so(tmp_path: Path) -> None:
    run_git(tmp_path, "init", "--quiet", "--bare")

    with pytest.raises(HistoryUnavailableError, match="not in the working tree"):
        Repository(tmp_path)


def test_repository__no_git_on_the_path__says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(HistoryUnavailableError, match="git is not installed"):
        Repository(tmp_path)


def test_repository__of_another_user__says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    GitRepository(tmp_path).write_empty()
    real = git._SETTINGS
    # Git's own switch for its tests; the environment is cleaned of what the caller sets.
    monkeypatch.setattr(git, "_SETTINGS", {**real, "GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"})

    with pytest.raises(HistoryUnavailableError, match="belongs to another user"):
        Repository(tmp_path)


def test_repository__no_commits__has_no_head(tmp_path: Path) -> None:
    GitRepository(tmp_path).write_empty()

    assert Repository(tmp_path).find_head() is None


def test_repository__shallow__is_known(tmp_path: Path) -> None:
    made = GitRepository(tmp_path / "whole")
    made.commit({"a.py": "1"})
    made.commit({"a.py": "2"})
    made.write()
    run_git(tmp_path, "clone", "--quiet", "--depth=1", (tmp_path / "whole").as_uri(), "part")

    repository = Repository(tmp_path / "part")

    assert repository.is_shallow
    assert len(read_all(repository, ".")) == 1
    assert not Repository(tmp_path / "whole").is_shallow


def test_repository__git_that_hangs__is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "git"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    with pytest.raises(HistoryUnavailableError, match=r"longer than 0\.2 seconds"):
        Repository(tmp_path, seconds=0.2)


def test_repository__programs_in_its_configuration__are_never_run(tmp_path: Path) -> None:
    made = GitRepository(tmp_path / "repository")
    made.commit({"a.py": "1", ".gitattributes": "*.py diff=evil filter=evil"})
    made.commit({"a.py": "2"})
    made.write()
    trap = tmp_path / "trap"
    script = tmp_path / "evil"
    script.write_text(f"#!/bin/sh\ntouch {trap}\n")
    script.chmod(0o755)
    for name in ("core.fsmonitor", "core.pager", "diff.external", "diff.evil.command", "diff.evil.textconv"):
        run_git(made.folder, "config", name, str(script))
    for name in ("filter.evil.smudge", "filter.evil.clean", "gpg.program", "core.sshCommand", "core.editor"):
        run_git(made.folder, "config", name, str(script))
    run_git(made.folder, "config", "log.showSignature", "true")
    repository = Repository(made.folder)

    commits = read_all(repository, ".")
    blobs = dict(repository.read_blobs(str(one.changes[-1].blob) for one in commits))
    repository.describe(one.commit for one in commits)

    assert set(blobs.values()) == {b"1", b"2"}
    assert not trap.exists()


def test_repository__git_variables_of_a_hook__do_not_lead_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = GitRepository(tmp_path / "one")
    mark = made.commit({"a.py": "1"})
    made.write()
    other = GitRepository(tmp_path / "other")
    other.commit({"b.py": "1"})
    other.write()
    monkeypatch.setenv("GIT_DIR", str(other.folder / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.folder))

    assert Repository(made.folder).find_head() == made.name(mark)


@pytest.mark.parametrize("encoding", ["idna", "undefined", "utf\08", "no-such-thing"])
def test_describe__encoding_that_decodes_nothing__is_read_as_utf_8(encoding: str) -> None:
    content = f"tree x\nauthor A <a@b> 0 +0000\nencoding {encoding}\n\nÄ subject\n".encode()

    assert _describe("c", content).subject == "Ä subject"


def test_describe__time_of_an_author_that_is_no_number_of_any_clock__is_left_out(tmp_path: Path) -> None:
    made = GitRepository(tmp_path)
    mark = made.commit({"a.py": "1"})
    made.write()
    content = run_git(tmp_path, "cat-file", "commit", made.name(mark)).replace(
        "1767225660 +0000", f"{'9' * 5_000} +0000"
    )
    odd = run_git(tmp_path, "hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=content.encode())

    (commit,) = Repository(tmp_path).describe([odd]).values()

    assert (commit.date, commit.author) == ("", "")


def test_repository__grafts_and_replacements__change_no_history(tmp_path: Path) -> None:
    made = GitRepository(tmp_path)
    first = made.commit({"a.py": "1"})
    second = made.commit({"a.py": "2"})
    made.write()
    (tmp_path / ".git/info").mkdir(exist_ok=True)
    (tmp_path / ".git/info/grafts").write_text(f"{made.name(second)}\n")

    assert [one.commit for one in read_all(Repository(tmp_path), ".")] == [made.name(first), made.name(second)]

    (tmp_path / ".git/info/grafts").unlink()
    run_git(tmp_path, "replace", "--graft", made.name(second))

    assert [one.commit for one in read_all(Repository(tmp_path), ".")] == [made.name(first), made.name(second)]
