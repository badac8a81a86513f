"""The incident of January 2026, rebuilt: who is guilty comes first, and what to put back."""

from __future__ import annotations

from pathlib import Path

import pytest

from golive.migration_graph.model import Cut, Edit, Episode, Finding, Report
from tests.migration_graph.examining import examine
from tests.migration_graph.git_repository import GitRepository
from tests.migration_graph.incident import (
    FIX_SUBJECT,
    FOLDER,
    GUILTY,
    GUILTY_LINE,
    GUILTY_PATH,
    GUILTY_SUBJECT,
    LOOP,
    REORDER,
    REORDER_SUBJECT,
    build_incident,
    name,
    path,
    step,
)
from tests.support.patience import ends_within

GUILTY_EDIT = Edit(GUILTY_PATH, GUILTY_LINE, "None", "'r108'")


def find(report: Report, code: str) -> Finding:
    (finding,) = (finding for finding in report.findings if finding.code == code)
    return finding


def get_best(report: Report) -> list[Cut]:
    return [cut for cut in find(report, "MG101").cuts if cut.rank == 1]


def list_episodes(report: Report, code: str) -> list[Episode]:
    assert report.episodes is not None
    return [episode for episode in report.episodes if episode.code == code]


@pytest.mark.parametrize("reorder_first", [True, False])
def test_incident__with_its_history__names_commit_file_line_and_value(tmp_path: Path, reorder_first: bool) -> None:
    incident = build_incident(tmp_path, reorder_first=reorder_first)

    with ends_within(2):
        report = examine(incident.folder, with_history=True)

    assert report.revisions == 115
    loop = report.findings[0]
    assert (loop.code, len(loop.revisions), len(loop.cuts)) == ("MG101", LOOP, LOOP)
    assert loop.introduced_by is not None
    assert (loop.introduced_by.commit, loop.introduced_by.subject) == (incident.guilty, GUILTY_SUBJECT)
    assert (loop.file, loop.line, loop.edit) == (GUILTY_PATH, GUILTY_LINE, GUILTY_EDIT)
    (best,) = get_best(report)
    assert [(edge.child, edge.parent, edge.file, edge.line) for edge in best.edges] == [
        ("r001", "r108", GUILTY_PATH, GUILTY_LINE)
    ]
    assert (best.restore, best.edits) == ("None", (GUILTY_EDIT,))
    assert (best.heads, best.bases, best.is_sound) == (("r109", "r111", "r113", "r114"), ("r001",), False)
    assert "Put back None in r001_step.py:13" in loop.hint


def test_incident__its_other_defects__are_each_traced_to_their_commit(tmp_path: Path) -> None:
    incident = build_incident(tmp_path)

    report = examine(incident.folder, with_history=True)

    heads, twins = find(report, "MG201"), find(report, "MG103")
    assert heads.introduced_by is not None
    assert heads.introduced_by.commit == incident.fix
    assert heads.revisions == ("r109", "r111", "r113", "r114")
    assert twins.introduced_by is not None
    assert (twins.introduced_by.subject, twins.revisions) == ("Add a step again", ("r111",))
    (episode,) = list_episodes(report, "MG201")
    assert [(edit.file, edit.before) for edit in episode.edits] == [
        ("r110_step.py", "'r109'"),
        ("r112_step.py", "'r111'"),
        ("r114_step.py", "'r113'"),
    ]


def test_incident__mended__is_told_as_what_came_and_went(tmp_path: Path) -> None:
    incident = build_incident(tmp_path)
    made = incident.repository
    twin = f"{FOLDER}/{name(111)}_twin.py"
    mended = made.commit({**step(1), twin: None, **step(110), **step(112), **step(114)}, "Put it back")
    made.write()

    report = examine(incident.folder, with_history=True)

    assert report.sound
    assert report.episodes is not None
    assert [episode.code for episode in report.episodes] == ["MG201", "MG103", "MG101"]
    assert [episode.began.subject for episode in report.episodes] == [FIX_SUBJECT, "Add a step again", GUILTY_SUBJECT]
    assert {episode.ended.commit for episode in report.episodes if episode.ended} == {made.name(mended)}


def test_incident__without_history__the_files_speak_and_ties_are_ties(tmp_path: Path) -> None:
    incident = build_incident(tmp_path)

    report = examine(incident.folder)

    best = get_best(report)
    assert report.episodes is None
    assert GUILTY_PATH in {edge.file for cut in best for edge in cut.edges}
    # The docstrings of those that were reordered disagree just as much, but for the one that moved down.
    assert len(best) == 3
    assert find(report, "MG101").introduced_by is None
    assert {cut.restore for cut in best if cut.edges[0].file == GUILTY_PATH} == {"None"}


def test_incident__only_the_commit_of_four_edits_in_a_loop__is_undone_as_a_whole(tmp_path: Path) -> None:
    made = GitRepository(tmp_path)
    for number in range(30, 50):
        made.commit(step(number, 0 if number == 30 else None), f"Add {name(number)}")
    # 43 goes below 42 and 42 below 41 again, but 40 goes below 43: one loop, four edits.
    loop = {**step(40, 43), **step(43, 42, note=" x"), **step(42, 41, note=" x"), **step(41, 40, note=" x")}
    made.commit({**REORDER}, REORDER_SUBJECT)
    guilty = made.commit(loop, "Run the price tables last")
    made.write()

    report = examine(tmp_path / FOLDER, with_history=True)

    found = find(report, "MG101")
    assert found.introduced_by is not None
    assert found.introduced_by.commit == made.name(guilty)
    first, *others = found.cuts
    assert {(edit.file, edit.before) for edit in first.edits} == {
        ("r040_step.py", "'r041'"),
        ("r041_step.py", "'r042'"),
        ("r042_step.py", "'r039'"),
        ("r043_step.py", "'r040'"),
    }
    assert (first.rank, first.is_sound, first.heads, first.bases) == (1, True, ("r049",), ("r030",))
    # One at a time no value mends it; of these, only r040's docstring disagrees too.
    assert [(cut.rank, cut.edges[0].child) for cut in others] == [(2, "r040"), (3, "r041"), (3, "r042"), (3, "r043")]
    assert not any(cut.is_sound for cut in others)


def test_incident__the_loop_is_closed_in_a_merge_by_hand__blames_the_merge(tmp_path: Path) -> None:
    made = GitRepository(tmp_path)
    made.commit({key: text for number in range(1, 21) for key, text in step(number).items()}, "Add twenty")
    left = made.commit(step(21), "Add one")
    right = made.commit({"README": "x"}, "Elsewhere", parents=[1])
    right = made.commit({path(22): step(22)[path(22)].replace("'r021'", "'r020'")}, "Add another", parents=[right])
    merge = made.commit({**step(22), **step(1, 20)}, "Merge", parents=[left, right])
    made.write()

    report = examine(tmp_path / FOLDER, with_history=True)

    loop = find(report, "MG101")
    assert loop.introduced_by is not None
    assert loop.introduced_by.commit == made.name(merge)
    (best,) = get_best(report)
    assert (best.edges[0].file, best.restore, best.is_sound) == (GUILTY_PATH, "None", True)


def test_incident__two_sound_branches_close_a_loop_together__shows_both_edits_as_a_tie(tmp_path: Path) -> None:
    made = GitRepository(tmp_path)
    # Two lines, 1 <- 2 and 3 <- 4: one branch puts 1 on top of 4, the other one 3 on top of 2.
    base = made.commit({**step(1, 0), **step(2, 1), **step(3, 0), **step(4, 3)}, "Begin")
    left = made.commit(step(1, 4), "Put the first line on top of the second", parents=[base])
    right = made.commit(step(3, 2), "Put the second line on top of the first", parents=[base])
    merge = made.commit(step(3, 2), "Merge", parents=[left, right])
    made.write()

    report = examine(tmp_path / FOLDER, with_history=True)

    loop = find(report, "MG101")
    assert loop.introduced_by is not None
    assert loop.introduced_by.commit == made.name(merge)
    assert {(cut.edges[0].file, cut.restore) for cut in loop.cuts[:2]} == {
        ("r001_step.py", "None"),
        ("r003_step.py", "None"),
    }
    assert all(cut.is_sound for cut in loop.cuts[:2])


def test_incident__came_went_and_came_again__begins_with_the_second_time(tmp_path: Path) -> None:
    incident = build_incident(tmp_path)
    made = incident.repository
    mended = made.commit(step(1), "Put it back")
    again = made.commit(GUILTY, "Chain it again")
    made.write()

    report = examine(incident.folder, with_history=True)

    loop = find(report, "MG101")
    assert loop.introduced_by is not None
    assert (loop.introduced_by.commit, loop.edit) == (made.name(again), GUILTY_EDIT)
    second, first = list_episodes(report, "MG101")
    assert (second.began.commit, second.ended) == (made.name(again), None)
    assert first.ended is not None
    assert (first.began.commit, first.ended.commit) == (incident.guilty, made.name(mended))


def test_incident__the_file_is_renamed_and_the_folder_moved_afterwards__is_traced_through_both(tmp_path: Path) -> None:
    incident = build_incident(tmp_path)
    made = incident.repository
    old, renamed = path(1), f"{FOLDER}/r001_first.py"
    made.commit({old: None, renamed: GUILTY[old]}, "Rename a file")
    names = [file.name for file in incident.folder.iterdir() if file.name != GUILTY_PATH]
    texts = {name: (incident.folder / name).read_text() for name in names} | {"r001_first.py": GUILTY[old]}
    moved: dict[str, str | None] = {f"db/versions/{name}": text for name, text in texts.items()}
    made.commit(moved | {f"{FOLDER}/{name}": None for name in texts}, "Move the folder")
    made.write()

    report = examine(tmp_path / "db/versions", with_history=True)

    loop = find(report, "MG101")
    assert loop.introduced_by is not None
    assert loop.introduced_by.commit == incident.guilty
    assert loop.edit == Edit("r001_first.py", GUILTY_LINE, "None", "'r108'")
    assert len(list_episodes(report, "MG101")) == 1


def test_incident__the_guilty_reference_is_pointed_elsewhere_later__keeps_its_guilt_and_its_value(
    tmp_path: Path,
) -> None:
    incident = build_incident(tmp_path)
    incident.repository.commit(step(1, 107), "Try another")
    incident.repository.write()

    report = examine(incident.folder, with_history=True)

    (best,) = get_best(report)
    assert (best.edges[0].child, best.edges[0].parent, best.restore) == ("r001", "r107", "None")
    assert find(report, "MG101").edit == Edit(GUILTY_PATH, GUILTY_LINE, "None", "'r107'")
