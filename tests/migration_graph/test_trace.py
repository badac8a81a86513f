"""The history in a report: what it says of findings, and what it says where there is none to be had."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from golive.migration_graph.audit import LOCK_FILE, audit_layout
from golive.migration_graph.discovery.layouts import find_layout
from golive.migration_graph.findings.lock_file import LockedRevision, LockFile, Placement, format_lock
from golive.migration_graph.history.past import Past
from golive.migration_graph.history.trace import trace
from golive.migration_graph.model import Edit, Finding, Report
from golive.migration_graph.readers import syntax
from tests.migration_graph.examining import examine
from tests.migration_graph.git_repository import GitRepository, run_git
from tests.migration_graph.incident import FOLDER, GUILTY, GUILTY_LINE, GUILTY_PATH, name, path, step

CHAIN = {key: text for number in range(1, 6) for key, text in step(number).items()}
LOOP = step(1, 5)
GUILTY_EDIT = Edit(GUILTY_PATH, GUILTY_LINE, "None", "'r005'")


def write_files(folder: Path, files: dict[str, str]) -> Path:
    for key, text in files.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_text(text)
    return folder / FOLDER


def find(report: Report, code: str) -> Finding:
    (finding,) = (finding for finding in report.findings if finding.code == code)
    return finding


@pytest.fixture
def made(tmp_path: Path) -> GitRepository:
    repository = GitRepository(tmp_path / "project")
    repository.commit(CHAIN, "Begin")
    return repository


# -- no history to be had ----------------------------------------------------------------------------------------------


def test_trace__no_repository__says_so_and_ranks_by_the_files(tmp_path: Path) -> None:
    folder = write_files(tmp_path, {**CHAIN, **LOOP})

    report = examine(folder, with_history=True)

    assert report.history_note == "No history: the folder is not in a git repository."
    assert report.episodes is None
    loop = find(report, "MG101")
    assert (loop.introduced_by, loop.edit) == (None, None)
    assert (loop.cuts[0].edges[0].file, loop.cuts[0].restore, loop.cuts[0].is_sound) == (GUILTY_PATH, "None", True)


def test_trace__no_git__says_so(tmp_path: Path, made: GitRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    made.write()
    monkeypatch.setenv("PATH", str(tmp_path))

    assert examine(made.folder / FOLDER, with_history=True).history_note == "No history: git is not installed."


def test_trace__no_commits_yet__says_so(tmp_path: Path) -> None:
    GitRepository(tmp_path).write_empty()
    folder = write_files(tmp_path, CHAIN)

    report = examine(folder, with_history=True)

    assert report.history_note == "No history: the repository has no commits yet."


def test_trace__files_that_git_does_not_know__says_so(tmp_path: Path) -> None:
    made = GitRepository(tmp_path)
    made.commit({"README": "x"})
    made.write()
    folder = write_files(tmp_path, CHAIN)

    assert examine(folder, with_history=True).history_note == "No history: no commit holds these files."


def test_trace__not_asked_for__reads_no_history(made: GitRepository) -> None:
    made.commit(LOOP, "Close the loop")
    made.write()

    report = examine(made.folder / FOLDER)

    assert (report.history_note, report.episodes, find(report, "MG101").introduced_by) == (None, None, None)


def test_trace__shallow_clone__tells_what_it_can_and_what_it_cannot(tmp_path: Path, made: GitRepository) -> None:
    made.commit(LOOP, "Close the loop")
    twins = made.commit({f"{FOLDER}/twin.py": CHAIN[path(3)]}, "Add a twin")
    made.write()
    run_git(tmp_path, "clone", "--quiet", "--depth=2", made.folder.as_uri(), "part")

    report = examine(tmp_path / "part" / FOLDER, with_history=True)

    assert report.history_note is not None
    assert "shallow" in report.history_note
    loop, twin = find(report, "MG101"), find(report, "MG103")
    assert (loop.introduced_by, loop.edit) == (None, None)
    assert twin.introduced_by is not None
    assert twin.introduced_by.commit == made.name(twins)
    assert loop.cuts[0].edges[0].file == GUILTY_PATH
    assert not any("commit" in words for cut in loop.cuts for words in cut.because)


# -- the working tree --------------------------------------------------------------------------------------------------


def test_trace__an_edit_that_is_not_committed__has_no_commit_but_its_value_before(made: GitRepository) -> None:
    made.write()
    write_files(made.folder, LOOP)

    report = examine(made.folder / FOLDER, with_history=True)

    loop = find(report, "MG101")
    assert loop.introduced_by is None
    assert (loop.edit, loop.cuts[0].restore, loop.cuts[0].is_sound) == (GUILTY_EDIT, "None", True)
    assert "a change that is not committed" in loop.cuts[0].because[0]
    assert report.history_note == f"Uncommitted changes: {GUILTY_PATH}."


def test_trace__a_file_that_git_does_not_know_yet__is_part_of_the_graph(made: GitRepository) -> None:
    made.write()
    write_files(made.folder, {path(6): step(6, 4)[path(6)]})

    report = examine(made.folder / FOLDER, with_history=True)

    assert find(report, "MG201").introduced_by is None
    assert report.history_note == "Uncommitted changes: r006_step.py."


def test_trace__mended_but_not_committed__still_stands_in_the_history(made: GitRepository) -> None:
    made.commit(LOOP, "Close the loop")
    made.write()
    write_files(made.folder, step(1))

    report = examine(made.folder / FOLDER, with_history=True)

    assert report.sound
    assert report.episodes is not None
    assert [(episode.code, episode.ended) for episode in report.episodes] == [("MG101", None)]


def test_trace__other_line_ends_in_the_working_tree__are_no_change(made: GitRepository) -> None:
    made.write()
    file = made.folder / path(2)
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))

    assert examine(made.folder / FOLDER, with_history=True).history_note is None


# -- places and files --------------------------------------------------------------------------------------------------


def test_trace__a_linked_worktree_and_a_submodule__are_read_as_any_other(tmp_path: Path, made: GitRepository) -> None:
    guilty = made.commit(LOOP, "Close the loop")
    made.write()
    run_git(made.folder, "worktree", "add", "--quiet", str(tmp_path / "linked"), "HEAD")
    outer = GitRepository(tmp_path / "outer")
    outer.commit({"README": "x"})
    outer.write()
    run_git(
        outer.folder, *("-c", "protocol.file.allow=always"), "submodule", "--quiet", "add", str(made.folder), "inner"
    )

    for folder in (tmp_path / "linked", outer.folder / "inner"):
        loop = find(examine(folder / FOLDER, with_history=True), "MG101")
        assert loop.introduced_by is not None
        assert loop.introduced_by.commit == made.name(guilty)


def test_trace__a_project_by_its_alembic_ini__names_files_from_there(made: GitRepository) -> None:
    made.commit({"alembic.ini": "[alembic]\nscript_location = migrations\n"}, "Configure")
    guilty = made.commit(LOOP, "Close the loop")
    made.write()

    loop = find(examine(made.folder, with_history=True), "MG101")

    assert loop.introduced_by is not None
    assert loop.introduced_by.commit == made.name(guilty)
    assert loop.edit == Edit(f"{FOLDER}/{GUILTY_PATH}", GUILTY_LINE, "None", "'r005'")


@pytest.mark.parametrize("odd", ["a b.py", "tab\t.py", 'quo"te.py', "é.py"])
def test_trace__a_file_of_an_odd_name__is_traced(made: GitRepository, odd: str) -> None:
    made.commit({path(1): None, f"{FOLDER}/{odd}": CHAIN[path(1)]}, "Rename")
    guilty = made.commit({f"{FOLDER}/{odd}": LOOP[path(1)]}, "Close the loop")
    made.write()

    loop = find(examine(made.folder / FOLDER, with_history=True), "MG101")

    assert loop.introduced_by is not None
    assert (loop.introduced_by.commit, loop.edit) == (made.name(guilty), Edit(odd, GUILTY_LINE, "None", "'r005'"))


def test_trace__renamed_and_edited_in_one_commit__still_knows_the_value_before(made: GitRepository) -> None:
    made.commit({path(1): None, f"{FOLDER}/first.py": LOOP[path(1)]}, "Rename and close the loop")
    made.write()

    loop = find(examine(made.folder / FOLDER, with_history=True), "MG101")

    assert loop.edit == Edit("first.py", GUILTY_LINE, "None", "'r005'")


def test_trace__a_folder_of_a_symbolic_link__is_found_where_it_is(tmp_path: Path, made: GitRepository) -> None:
    guilty = made.commit(LOOP, "Close the loop")
    made.write()
    (tmp_path / "link").symlink_to(made.folder / FOLDER)

    loop = find(examine(tmp_path / "link", with_history=True), "MG101")

    assert loop.introduced_by is not None
    assert loop.introduced_by.commit == made.name(guilty)


def test_trace__conflict_markers_for_a_while__do_not_hide_what_stood_before(made: GitRepository) -> None:
    broken = CHAIN[path(1)].replace("down_revision = None", "<<<<<<< a\ndown_revision = None\n=======\nx\n>>>>>>> b")
    made.commit({path(1): broken}, "Leave a conflict")
    guilty = made.commit(LOOP, "Resolve it wrongly")
    made.write()

    report = examine(made.folder / FOLDER, with_history=True)

    loop = find(report, "MG101")
    assert loop.introduced_by is not None
    assert (loop.introduced_by.commit, loop.edit) == (made.name(guilty), GUILTY_EDIT)
    assert report.episodes is not None
    assert {episode.code for episode in report.episodes} == {"MG101", "MG105"}


def test_trace__huge_and_binary_versions_in_the_past__are_episodes_and_no_more(
    made: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("golive.migration_graph.history.git.MAX_BYTES", 10_000)
    monkeypatch.setattr(syntax, "MAX_BYTES", 10_000)
    made.commit({path(5): CHAIN[path(5)] + "#" * 20_000}, "Blow it up")
    made.commit({path(5): b"\0\xff\xfe" * 100}, "Break it")
    made.commit(step(5), "Mend it")
    made.write()

    report = examine(made.folder / FOLDER, with_history=True)

    assert report.sound
    assert report.episodes is not None
    assert {(episode.code, episode.ended is None) for episode in report.episodes} == {("MG105", False)}


def test_trace__too_little_time__says_so(made: GitRepository) -> None:
    made.write()
    layout = find_layout(made.folder / FOLDER)

    report, past = trace(audit_layout(layout.root, layout), layout, seconds=0)

    assert report.history_note is not None
    assert past == Past()
    assert "longer than 0 seconds" in report.history_note


def test_trace__two_edits_that_close_two_loops__are_both_to_be_undone(made: GitRepository) -> None:
    made.commit(step(1, 5), "Close a loop")
    second = CHAIN[path(3)].replace("down_revision = 'r002'", "down_revision = ('r002', 'r004')")
    made.commit({path(3): second}, "Close another")
    made.write()

    loop = find(examine(made.folder / FOLDER, with_history=True), "MG101")

    (best,) = [cut for cut in loop.cuts if cut.rank == 1]
    assert {(edit.file, edit.before) for edit in best.edits} == {
        (GUILTY_PATH, "None"),
        ("r003_step.py", "'r002'"),
    }
    assert best.is_sound


def test_trace__a_dangling_parent__is_traced_to_the_edit(made: GitRepository) -> None:
    guilty = made.commit({path(3): CHAIN[path(3)].replace("'r002'", "'r0002'")}, "Mistype")
    made.write()

    dangling = find(examine(made.folder / FOLDER, with_history=True), "MG102")

    assert dangling.introduced_by is not None
    assert dangling.introduced_by.commit == made.name(guilty)
    assert dangling.edit == Edit("r003_step.py", GUILTY_LINE, "'r002'", "'r0002'")


def test_trace__a_parent_that_was_deleted__is_traced_to_the_deletion(made: GitRepository) -> None:
    guilty = made.commit({path(2): None}, "Tidy up")
    made.write()

    dangling = find(examine(made.folder / FOLDER, with_history=True), "MG102")

    assert dangling.introduced_by is not None
    assert (dangling.introduced_by.commit, dangling.edit) == (made.name(guilty), None)


def test_trace__django__names_the_dependencies_that_stood_before(tmp_path: Path) -> None:
    def migration(*dependencies: tuple[str, str]) -> str:
        return f"class Migration:\n    dependencies = {list(dependencies)!r}\n    operations = []\n"

    made = GitRepository(tmp_path)
    folder = "shop/migrations"
    made.commit({"manage.py": "", f"{folder}/__init__.py": "", f"{folder}/0001_initial.py": migration()}, "Begin")
    made.commit({f"{folder}/0002_next.py": migration(("shop", "0001_initial"))}, "Go on")
    guilty = made.commit({f"{folder}/0001_initial.py": migration(("shop", "0002_next"))}, "Close the loop")
    made.write()

    report = examine(tmp_path, with_history=True)

    loop = find(report, "MG101")
    assert loop.introduced_by is not None
    assert loop.introduced_by.commit == made.name(guilty)
    assert loop.edit == Edit(f"{folder}/0001_initial.py", 2, "[]", "[('shop', '0002_next')]")
    assert (loop.cuts[0].restore, loop.cuts[0].is_sound) == ("[]", True)


# -- the lock file as evidence -----------------------------------------------------------------------------------------


def test_ranking__a_revision_that_was_released_otherwise__comes_first_without_history(tmp_path: Path) -> None:
    # Its docstring agrees with the edit, so that nothing but the lock file speaks.
    edited = GUILTY[path(1)].replace("'r108'", "'r005'").replace("Revises: ", "Revises: r005")
    folder = write_files(tmp_path, {**CHAIN, path(1): edited})
    parents = {name(number): (name(number - 1),) if number > 1 else () for number in range(1, 5)}
    lock = {key: LockedRevision(Placement(value), "1", "2") for key, value in parents.items()}

    (folder / LOCK_FILE).write_text(format_lock(LockFile(lock)))

    loop = find(examine(folder), "MG101")

    (best,) = [cut for cut in loop.cuts if cut.rank == 1]
    # The other files still differ from what the lock file has.
    assert (best.edges[0].file, best.restore, best.is_sound) == (GUILTY_PATH, "None", False)
    assert "was released with None" in best.because[0]
    assert loop.cuts[1].edges[0].file == "r005_step.py"


def test_trace__environment_of_a_hook__is_no_obstacle(made: GitRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    made.commit(LOOP, "Close the loop")
    made.write()
    monkeypatch.setenv("GIT_INDEX_FILE", os.devnull)

    assert find(examine(made.folder / FOLDER, with_history=True), "MG101").introduced_by is not None
