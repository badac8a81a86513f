"""Advice that can be followed: each headline is done, committed and audited again, and none asks for the opposite."""

from __future__ import annotations

import ast
import shlex
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from golive.migration_graph.audit import AuditRequest, audit, run_audit
from golive.migration_graph.discovery.contents import read_layout
from golive.migration_graph.discovery.layouts import find_layout
from golive.migration_graph.model import Action, AppliedRows, Edit, Finding, Graph, Headline, Kind, Report
from golive.migration_graph.readers.written import find_written
from golive.migration_graph.remedies.advice import advise
from tests.migration_graph.examining import examine
from tests.migration_graph.folders import BODY, chain, find, make_alembic, render, write
from tests.migration_graph.git_repository import GitRepository, run_git
from tests.support.profiles import examples

FOLDER = "versions"
Parents = str | Sequence[str] | None


def write_revision(name: str, parents: Parents, *, more: str = "", note: str = "") -> str:
    """A revision file without a docstring, so that nothing but the history speaks. `note` makes its body another."""
    value = tuple(parents) if isinstance(parents, list | tuple) else parents
    return f"revision = {name!r}\ndown_revision = {value!r}\n{more}# {note}{BODY}"


def place(name: str) -> str:
    return f"{FOLDER}/{name}.py"


@dataclass
class Project:
    """A repository of revisions that is audited, mended by its headline, and audited again."""

    made: GitRepository
    merges: int = 0
    headlines: list[Headline] = field(default_factory=list)

    @classmethod
    def begin(cls, folder: Path, **parents: Parents) -> Project:
        project = cls(GitRepository(folder))
        project.commit(**parents)
        return project

    @property
    def folder(self) -> Path:
        return self.made.folder / FOLDER

    def commit(self, **parents: Parents) -> Project:
        """Commit these revisions, each with its parents."""
        self.made.commit({place(name): write_revision(name, value) for name, value in parents.items()}, f"{parents}")
        self.made.write()
        return self

    def commit_files(self, **texts: str | None) -> Project:
        self.made.commit({place(name): text for name, text in texts.items()}, f"Change {', '.join(texts)}")
        self.made.write()
        return self

    def audit(self) -> Report:
        return examine(self.folder, with_history=True)

    def follow(self, headline: Headline) -> None:
        """Do what the headline says, and commit it."""
        self.headlines.append(headline)
        if headline.action is Action.MERGE:
            assert headline.command is not None
            self.merges += 1
            self.commit(**{f"merge{self.merges}": shlex.split(headline.command)[4:]})
            return
        if headline.command is not None:
            for command in headline.command.split(" && "):
                run_git(self.made.folder, *shlex.split(command)[1:])
        for edit in headline.edits:
            apply(self.folder, edit)
        changed = run_git(self.made.folder, "ls-files", "--others", "--modified").split()
        changed += run_git(self.made.folder, "diff", "--name-only", "--cached").split()
        self.made.commit({path: (self.made.folder / path).read_text() for path in changed}, f"{headline.action}")
        self.made.write()


def apply(folder: Path, edit: Edit) -> None:
    """Write `after` where `before` stands."""
    path = folder / edit.file
    lines = path.read_text().splitlines(keepends=True)
    assert edit.before is not None
    assert edit.after is not None
    assert edit.before in lines[edit.line - 1]
    lines[edit.line - 1] = lines[edit.line - 1].replace(edit.before, edit.after)
    path.write_text("".join(lines))


def get_action(report: Report) -> str | None:
    return None if report.headline is None else report.headline.action.value


def get_edits(report: Report) -> list[tuple[str, int, str | None, str | None]]:
    assert report.headline is not None
    return [(edit.file, edit.line, edit.before, edit.after) for edit in report.headline.edits]


# -- histories in which advice once did harm ---------------------------------------------------------------------------


def test_headline__a_loop_that_hid_a_second_head__is_undone_and_then_merged(tmp_path: Path) -> None:
    project = Project.begin(tmp_path, a=None, b="a").commit(c="a").commit(a="c")

    first = project.audit()

    assert get_action(first) == "restore"
    assert get_edits(first) == [("a.py", 2, "'c'", "None")]
    assert first.headline is not None
    assert (first.headline.heads, first.headline.bases, first.headline.is_sound) == (("b", "c"), ("a",), False)
    project.follow(first.headline)
    second = project.audit()
    (heads,) = find(second, "MG201")
    # The commit that put None back did not bring the second head, and is not to be undone.
    assert (get_action(second), heads.edit) == ("merge", None)
    assert heads.introduced_by is not None
    assert heads.introduced_by.commit == project.made.name(2)
    assert second.headline is not None
    assert second.headline.command == "alembic merge -m 'merge heads' b c"
    assert (second.headline.edits, second.headline.heads, second.headline.is_sound) == ((), ("(merge)",), True)
    project.follow(second.headline)
    assert project.audit().sound


def test_headline__heads_split_by_an_edit_below_a_deployed_merge__is_a_merge(tmp_path: Path) -> None:
    """Putting d back would make it an ancestor of a row that databases have beside it."""
    project = Project.begin(tmp_path, a=None, b="a", c="a", d="a", e="d", f=["b", "c", "e"])
    project.commit(e="b").commit(g="f").commit(h="a")

    report = project.audit()

    (heads,) = find(report, "MG201")
    assert heads.revisions == ("d", "g", "h")
    assert (get_action(report), get_edits(report)) == ("merge", [])
    assert heads.hint == ("Merge them with a revision that does nothing else: `alembic merge -m 'merge heads' d g h`.")
    assert "`alembic upgrade head` does not know which one to take" in heads.message


def test_headline__an_edit_that_does_not_stand_any_more__is_offered_nowhere(tmp_path: Path) -> None:
    project = Project.begin(tmp_path, a=None, b="a", c="b", d="c").commit(d="b").commit(e="b").commit(d="c")

    report = project.audit()

    (heads,) = find(report, "MG201")
    assert (get_action(report), heads.edit, heads.line) == ("merge", None, 2)


def test_headline__an_edit_that_stands__is_told_at_the_line_of_the_value(tmp_path: Path) -> None:
    project = Project.begin(tmp_path, a=None, b="a", c="b", d="c").commit(d="b")

    (heads,) = find(project.audit(), "MG201")

    assert heads.edit == Edit("d.py", 2, "'c'", "'b'")


def test_headline__a_value_that_is_none__is_told_at_its_own_line(tmp_path: Path) -> None:
    (heads,) = find(Project.begin(tmp_path, a=None, b="a").commit(b=None).audit(), "MG201")

    assert (heads.file, heads.line, heads.edit) == ("a.py", 2, Edit("b.py", 2, "'a'", "None"))


def write_dated(name: str, parents: str, day: int) -> str:
    return render(name, parents, revises=parents.strip("'").removeprefix("None"), date=f"2025-01-{day:02}")


DATED = {
    "a.py": write_dated("a", "'c'", 1),
    "b.py": write_dated("b", "'a'", 9),
    "c.py": write_dated("c", "'b'", 5),
    "d.py": write_dated("d", "'c'", 4),
}


@pytest.mark.parametrize("last", [5, 10])
def test_headline__only_dates_speak_for_it__is_none_but_the_candidates_are_listed(tmp_path: Path, last: int) -> None:
    """The date tells c from b: one edge, or two. Either may be innocent."""
    report = examine(make_alembic(tmp_path, {**DATED, "c.py": write_dated("c", "'b'", last)}))

    (loop,) = find(report, "MG101")
    assert report.headline is None
    assert len(loop.cuts) == 3
    assert not any("Put back" in finding.hint for finding in report.findings)


def test_headline__a_docstring_disagrees__is_enough_without_the_history(tmp_path: Path) -> None:
    report = examine(make_alembic(tmp_path, {**DATED, "a.py": render("a", "'c'", date="2025-01-01")}))

    assert get_edits(report) == [("alembic/versions/a.py", 11, "'c'", "None")]


def test_headline__only_dates_tell_two_docstrings_apart__is_none(tmp_path: Path) -> None:
    files = {"a.py": render("a", "'c'", date="2025-01-01"), "b.py": render("b", "'a'", date="2025-01-02")}
    report = examine(make_alembic(tmp_path, {**files, "c.py": write_dated("c", "'b'", 3)}))

    (loop,) = find(report, "MG101")
    assert [(cut.rank, cut.restore) for cut in loop.cuts] == [(1, "None"), (2, "None"), (3, None)]
    assert report.headline is None


def test_headline__dependencies__are_never_held_against_the_docstring(tmp_path: Path) -> None:
    files = {"a.py": render("a", more="depends_on = 'c'\n"), "b.py": render("b", "'a'", revises="a")}
    report = examine(make_alembic(tmp_path, {**files, "c.py": render("c", "'b'", revises="b")}))

    (loop,) = find(report, "MG101")
    assert (report.headline, len({cut.rank for cut in loop.cuts})) == (None, 1)
    assert {cut.restore for cut in loop.cuts} == {None}
    assert not any("Revises" in reason for cut in loop.cuts for reason in cut.because)


def test_headline__heads_beside_what_stops_the_tool__is_no_merge(tmp_path: Path) -> None:
    project = Project.begin(tmp_path, a=None, b="a", c="a")
    project.commit_files(d=write_revision("d", "nowhere"))

    report = project.audit()

    (heads,) = find(report, "MG201")
    assert report.headline is None
    assert heads.hint == "Mend MG102 first: before that, nothing can be merged."


# -- two files of one id -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("newer", ["a0", "z9"])
def test_duplicate__the_newer_file_by_the_history__gets_a_new_id_wherever_it_is_read(
    tmp_path: Path, newer: str
) -> None:
    project = Project.begin(tmp_path, a=None, b="a", c="b")
    project.commit_files(**{newer: write_revision("b", "a", note="x")})

    report = project.audit()

    (found,) = find(report, "MG103")
    read_last = max(f"{newer}.py", "b.py")
    assert (found.file, found.line) == (f"{newer}.py", 1)
    assert f"runs the one that it reads last, which is {read_last}" in found.message
    assert found.hint == f"Give {newer}.py a new id, unless a database has run it: by the history it came later."
    ((file, line, before, after),) = get_edits(report)
    assert (get_action(report), file, line, before) == ("reid", f"{newer}.py", 1, "'b'")
    assert report.headline is not None
    assert set(report.headline.heads) == {"c", ast.literal_eval(after or "")}
    project.follow(report.headline)
    assert get_action(project.audit()) == "merge"


def test_duplicate__that_closes_a_loop__gets_a_new_id_and_nothing_is_cut(tmp_path: Path) -> None:
    project = Project.begin(tmp_path, a=None, b="a", c="b")
    project.commit_files(z=write_revision("a", "c", note="x"))

    report = project.audit()

    assert (get_action(report), find(report, "MG101")) == ("reid", [])
    assert report.headline is not None
    assert report.headline.is_sound
    project.follow(report.headline)
    assert project.audit().sound


def test_duplicate__without_the_history__is_told_with_both_files_and_no_headline(tmp_path: Path) -> None:
    files = {"a.py": render("a"), "b.py": render("b", "'a'", date="2025-01-09"), "b2.py": render("b", "'a'")}

    report = examine(make_alembic(tmp_path, dict(files)))

    (found,) = find(report, "MG103")
    assert report.headline is None
    assert "b.py" in found.message
    assert "b2.py" in found.message
    assert found.hint == "Give the newer one a new id; the history tells which that is."


def test_duplicate__one_of_them_was_released__keeps_its_id_though_it_came_later(tmp_path: Path) -> None:
    project = Project.begin(tmp_path, a=None, b="a").commit_files(b2=write_revision("b", "a", note="x"))
    (project.folder / "b.py").unlink()
    assert run_audit(str(project.folder), AuditRequest(writes_lock=True), refuse_database).refusal is None
    project.made.write()

    ((file, *_),) = get_edits(project.audit())

    assert file == "b.py"


def refuse_database(url: str, kind: Kind) -> AppliedRows:
    raise AssertionError("no database was asked for")


def test_duplicate__a_copy_to_the_byte__is_to_be_deleted_and_gets_no_id(tmp_path: Path) -> None:
    project = Project.begin(tmp_path, a=None, b="a")
    project.commit_files(b2=write_revision("b", "a"))

    report = project.audit()

    (found,) = find(report, "MG103")
    assert (report.headline, found.hint) == (None, "They are the same to the byte: delete all but one.")


@pytest.mark.parametrize(
    "options",
    [
        "version_locations = %(here)s/zz:%(here)s/aa\npath_separator = os\n",
        "version_locations = %(here)s/aa:%(here)s/zz\npath_separator = os\n",
        "version_locations = %(here)s/aa\npath_separator = os\nrecursive_version_locations = true\n",
    ],
)
def test_duplicate__what_alembic_reads_last__is_what_the_finding_says(tmp_path: Path, options: str) -> None:
    root = make_alembic(tmp_path, {}, options=options)
    for folder in ("zz", "aa", "aa/x"):
        write(
            root / folder, {"b.py": render("b", more=f"# {folder}\n"), "a.py": render("b", more=f"# also {folder}\n")}
        )
    (root / "alembic" / "env.py").touch()

    (found,) = find(audit(root), "MG103")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = ScriptDirectory.from_config(Config(str(root / "alembic.ini")))
        revision = script.get_revision("b")
    assert revision is not None
    assert f"reads last, which is {Path(revision.path).relative_to(root)}," in found.message


# -- missing parents ---------------------------------------------------------------------------------------------------


def test_missing__deleted_files__are_brought_back_together(tmp_path: Path) -> None:
    project = Project.begin(tmp_path, a=None, b="a", c="b", d="c").commit_files(b=None, c=None)

    report = project.audit()

    (found,) = find(report, "MG102")
    deleted = project.made.name(2)
    assert found.hint == f'Its file c.py was deleted in commit {deleted[:12]} "Change b, c": bring it back.'
    assert report.headline is not None
    assert (get_action(report), report.headline.is_sound, report.headline.edits) == ("bring-back", True, ())
    assert report.headline.command == f"git -C {project.folder} checkout '{deleted}~' -- b.py c.py"
    project.follow(report.headline)
    assert project.audit().sound


def test_missing__deleted_and_not_committed__is_brought_back_from_the_last_commit(tmp_path: Path) -> None:
    project = Project.begin(tmp_path, a=None, b="a", c="b")
    (project.folder / "b.py").unlink()

    report = project.audit()

    assert report.headline is not None
    assert report.headline.command == f"git -C {project.folder} checkout HEAD -- b.py"
    assert "by a change that is not committed" in find(report, "MG102")[0].hint


def test_missing__deleted_below_a_revision_that_was_moved_before__is_not_moved_again(tmp_path: Path) -> None:
    project = Project.begin(tmp_path, a=None, b="a", c="a").commit(c="b").commit_files(b=None)

    assert get_action(project.audit()) == "bring-back"


@pytest.mark.parametrize("keeps_file", [True, False])
def test_missing__renamed__is_told_with_its_new_id_and_no_headline(tmp_path: Path, keeps_file: bool) -> None:
    made = GitRepository(tmp_path)
    made.commit({place("a"): render("a"), place("b"): render("b", "'a'"), place("c"): render("c", "'b'")}, "Begin")
    renamed = render("b2", "'a'").replace("add b2", "add b")
    made.commit({place("b"): renamed} if keeps_file else {place("b"): None, place("b2"): renamed}, "Rename")
    made.write()

    report = examine(tmp_path / FOLDER, with_history=True)

    (found,) = find(report, "MG102")
    assert report.headline is None
    assert found.hint.startswith(f'It was renamed to b2 in commit {made.name(2)[:12]} "Rename": name that, or')


def test_missing__a_reference_edited_twice__gets_the_last_value_that_works(tmp_path: Path) -> None:
    project = Project.begin(tmp_path, a=None, b="a", c="b").commit(c="b1").commit(c="b2")

    report = project.audit()

    assert find(report, "MG102")[0].edit is None
    assert get_edits(report) == [("c.py", 2, "'b2'", "'b'")]


def test_missing__two_edits_that_hide_each_other__are_undone_together(tmp_path: Path) -> None:
    project = Project.begin(tmp_path, a=None, b="a", c="b").commit(c="lost").commit(a="c")

    report = project.audit()

    assert sorted(get_edits(report)) == [("a.py", 2, "'c'", "None"), ("c.py", 2, "'lost'", "'b'")]
    assert report.headline is not None
    assert report.headline.is_sound


def test_missing__undone_together__is_what_stood_there_last_and_not_first(tmp_path: Path) -> None:
    project = Project.begin(tmp_path, a=None, b="a", c="a").commit(c="b").commit(c="lost").commit(a="c")

    assert sorted(get_edits(project.audit())) == [("a.py", 2, "'c'", "None"), ("c.py", 2, "'lost'", "'b'")]


def test_missing__deleted_on_a_side_line__is_blamed_on_the_commit_and_not_on_the_merge(tmp_path: Path) -> None:
    made = GitRepository(tmp_path)
    files = {place("a"): None, place("b"): "a", place("c"): "b"}
    base = made.commit({path: write_revision(Path(path).stem, parent) for path, parent in files.items()}, "Begin")
    side = made.commit({place("b"): None}, "Tidy up", parents=[base])
    main = made.commit({place("a"): write_revision("a", None, note="x")}, "Elsewhere", parents=[base])
    made.commit({place("b"): None}, "Merge", parents=[main, side])
    made.write()

    (found,) = find(examine(tmp_path / FOLDER, with_history=True), "MG102")

    assert found.hint == f'Its file b.py was deleted in commit {made.name(side)[:12]} "Tidy up": bring it back.'


@pytest.mark.parametrize(
    ("parents", "hint"),
    [
        ("'aaaa' 'bbbb'", "Probably aaaa and bbbb were meant: between two strings a comma is missing."),
        ("'BBBB'", "Probably bbbb was meant: ids are case-sensitive."),
        ("''", "Write None if it is the first revision: '' is the name of a revision with an empty id."),
        # The nearest id is its own, and the next one comes after it.
        ("'mmmn'", "Restore the missing file from git, or name the revision that took its place."),
    ],
)
def test_missing__a_name_that_shows_what_was_meant__is_said(tmp_path: Path, parents: str, hint: str) -> None:
    more = {"m.py": render("mmmm", parents), "n.py": render("mmnn", "'mmmm'")}
    report = audit(make_alembic(tmp_path, {**chain(aaaa=None, bbbb="'aaaa'"), **more}))

    (found,) = find(report, "MG102")
    assert found.hint == hint


def test_missing__django__another_app_with_that_name__is_suggested(tmp_path: Path) -> None:
    def migration(*dependencies: tuple[str, str]) -> str:
        return f"class Migration:\n    dependencies = {list(dependencies)!r}\n    operations = []\n"

    shop, stock = migration(("shop", "0001_prices")), migration()
    write(tmp_path, {"manage.py": "", "shop/migrations/__init__.py": "", "shop/migrations/0001_initial.py": shop})
    write(tmp_path, {"stock/migrations/__init__.py": "", "stock/migrations/0001_prices.py": stock})

    (found,) = find(audit(tmp_path), "MG102")

    assert found.hint == "Probably stock.0001_prices was meant: the app stock has a migration of that name."


# -- what a headline must not do ---------------------------------------------------------------------------------------


def test_headline__a_value_before_that_would_split_the_graph__is_not_put_back_alone(tmp_path: Path) -> None:
    """When the loop began, c had another child, which was moved since: c would be a head that it never was."""
    project = Project.begin(tmp_path, a=None, b="a", c="b", d="c").commit(a="c").commit(d="b")

    report = project.audit()

    (loop,) = find(report, "MG101")
    assert [(edit.file, edit.before) for edit in loop.cuts[0].edits] == [("a.py", "None")]
    assert loop.cuts[0].heads == ("c", "d")
    # Nothing could be deployed since the loop began, so that both edits can be undone.
    assert get_edits(report) == [("a.py", 2, "'c'", "None"), ("d.py", 2, "'b'", "'c'")]


def test_headline__an_edit_that_could_be_deployed__is_not_undone_with_another(tmp_path: Path) -> None:
    """As above, but the tool could load what the move of d left."""
    project = Project.begin(tmp_path, a=None, b="a", c="b", d="c").commit(d="b").commit(c="lost").commit(a="c")

    report = project.audit()

    assert sorted(edit[0] for edit in get_edits(report)) == ["a.py", "c.py"]


def test_headline__refused_for_a_database__is_none(tmp_path: Path) -> None:
    """Where a comparison with databases will have its say: it is asked about the graph that would come of it."""
    root = make_alembic(tmp_path, {**DATED, "a.py": render("a", "'c'", date="2025-01-01")})
    report, layout = audit(root), find_layout(root)
    files, _ = read_layout(layout)
    assert advise(report, files, layout.project).headline is not None
    asked: list[Graph] = []

    def refuse(graph: Graph) -> str | None:
        asked.append(graph)
        return "it would run a twice"

    assert advise(report, files, layout.project, refuse=refuse).headline is None
    assert ("d",) in {graph.heads for graph in asked}


@pytest.mark.parametrize(
    ("written", "after"),
    [('"c"', "None"), ("('c',)", "None"), ("(\n    'c',\n)", "None"), ("Union[str, None]", None)],
)
def test_headline__a_value_in_another_style__is_quoted_as_it_stands(
    tmp_path: Path, written: str, after: str | None
) -> None:
    project = Project.begin(tmp_path, a=None, b="a", c="b")
    source = f"down_revision = {written}" if after else 'down_revision: Union[str, None] = "c"'
    project.commit_files(a=write_revision("a", None).replace("down_revision = None", source))

    ((file, line, before, now),) = get_edits(project.audit())

    assert (file, line, before, now) == ("a.py", 2, written if after else '"c"', "None")


@pytest.mark.parametrize("more", ["down_revision = 'b'\n", "if True:\n    down_revision = 'b'\n", "x = = 1\n"])
def test_written__not_the_only_assignment__is_none(more: str) -> None:
    source = "down_revision = 'a'\n"
    assert find_written(Kind.ALEMBIC, source.encode(), "down_revision") == ("'a'", 1)

    assert find_written(Kind.ALEMBIC, (source + more).encode(), "down_revision") is None


def test_headline__quotes_of_the_file__are_kept(tmp_path: Path) -> None:
    project = Project.begin(tmp_path, a=None, b="a", c="b", d="c")
    project.commit_files(b=write_revision("b", "d").replace("'", '"'))

    assert get_edits(project.audit()) == [("b.py", 2, '"d"', '"a"')]


def test_headline__django__is_a_value_that_can_be_written_as_it_is(tmp_path: Path) -> None:
    def migration(dependencies: str) -> str:
        return f"class Migration(migrations.Migration):\n    dependencies = {dependencies}\n    operations = []\n"

    before = "[migrations.swappable_dependency(settings.AUTH_USER_MODEL), ('shop', '0001_initial')]"
    folder = "shop/migrations"
    made = GitRepository(tmp_path)
    files = {"manage.py": "", f"{folder}/__init__.py": "", f"{folder}/0001_initial.py": migration("[]")}
    made.commit({**files, f"{folder}/0002_next.py": migration(before)}, "Begin")
    made.commit({f"{folder}/0002_next.py": migration("[('shop', '0001_initail')]")}, "Mistype")
    made.write()

    assert get_edits(examine(tmp_path, with_history=True)) == [
        (f"{folder}/0002_next.py", 2, "[('shop', '0001_initail')]", before)
    ]


def test_headline__django__several_heads__is_one_merge_for_all_apps(tmp_path: Path) -> None:
    def migration(*names: str) -> str:
        return f"class Migration:\n    dependencies = {[('shop', name) for name in names]!r}\n    operations = []\n"

    files = {"manage.py": "", "shop/migrations/__init__.py": "", "shop/migrations/0001_a.py": migration()}
    for name in ("0002_b", "0002_c"):
        files[f"shop/migrations/{name}.py"] = migration("0001_a")
    write(tmp_path, dict(files))

    report = examine(tmp_path)

    assert report.headline is not None
    assert (report.headline.command, report.headline.heads) == (
        "python manage.py makemigrations --merge",
        ("shop.(merge)",),
    )


# -- the last sound commit ---------------------------------------------------------------------------------------------


def get_last_sound(report: Report) -> str | None:
    return report.last_sound.commit if report.last_sound else None


def test_last_sound__other_commits_in_between__is_the_newest_before_the_damage(tmp_path: Path) -> None:
    project = Project.begin(tmp_path, a=None, b="a")
    readme = project.made.commit({"README": "x"}, "Write about it")
    project.commit(a="b").commit(c="b")

    assert get_last_sound(project.audit()) == project.made.name(readme)


def test_last_sound__a_merge_that_brought_the_damage__is_the_commit_before_it(tmp_path: Path) -> None:
    made = GitRepository(tmp_path)
    base = made.commit({place("a"): write_revision("a", None), place("b"): write_revision("b", "a")}, "Begin")
    side = made.commit({place("c"): write_revision("c", "b")}, "Add on a side line", parents=[base])
    side = made.commit({place("a"): write_revision("a", "c")}, "Close a loop", parents=[side])
    main = made.commit({"README": "x"}, "Elsewhere", parents=[base])
    made.commit(
        {place("c"): write_revision("c", "b"), place("a"): write_revision("a", "c")}, "Merge", parents=[main, side]
    )
    made.write()

    assert get_last_sound(examine(tmp_path / FOLDER, with_history=True)) == made.name(main)


def test_last_sound__a_merge_that_brought_what_is_sound__is_that_merge(tmp_path: Path) -> None:
    made = GitRepository(tmp_path)
    base = made.commit({place("a"): write_revision("a", None)}, "Begin")
    side = made.commit({place("b"): write_revision("b", "a")}, "Add on a side line", parents=[base])
    main = made.commit({"README": "x"}, "Elsewhere", parents=[base])
    merge = made.commit({place("b"): write_revision("b", "a")}, "Merge", parents=[main, side])
    made.commit({place("a"): write_revision("a", "b")}, "Close a loop")
    made.write()

    assert get_last_sound(examine(tmp_path / FOLDER, with_history=True)) == made.name(merge)


def test_last_sound__sound_today__is_what_is_checked_out(tmp_path: Path) -> None:
    project = Project.begin(tmp_path, a=None).commit(b="a")

    assert get_last_sound(project.audit()) == project.made.name(2)


def test_last_sound__damage_that_is_not_committed__is_what_is_checked_out(tmp_path: Path) -> None:
    project = Project.begin(tmp_path, a=None, b="a")
    (project.folder / "a.py").write_text(write_revision("a", "b"))

    assert get_last_sound(project.audit()) == project.made.name(1)


def test_last_sound__no_files_for_a_while__is_not_sound(tmp_path: Path) -> None:
    project = Project.begin(tmp_path, a=None).commit_files(a=None).commit(a="b", b="a")

    assert get_last_sound(project.audit()) == project.made.name(1)


def test_last_sound__never__is_none(tmp_path: Path) -> None:
    assert get_last_sound(Project.begin(tmp_path, a="b", b="a").audit()) is None


# -- when the history is read ------------------------------------------------------------------------------------------


def test_history__not_chosen__is_read_where_there_is_a_repository(tmp_path: Path) -> None:
    project = Project.begin(tmp_path, a=None, b="a").commit(a="b")

    assert examine(project.folder, with_history=None).last_sound is not None
    assert examine(project.folder, with_history=False).last_sound is None


def test_history__not_chosen_and_no_repository__starts_no_git_and_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object, **options: object) -> None:
        raise AssertionError("git was started")

    monkeypatch.setattr("golive.migration_graph.history.git.subprocess.run", refuse)

    report = examine(make_alembic(tmp_path, chain(a=None)), with_history=None)

    assert (report.history_note, report.episodes) == (None, None)


def test_history__not_chosen_and_no_commits__says_nothing(tmp_path: Path) -> None:
    GitRepository(tmp_path).write_empty()

    report = examine(make_alembic(tmp_path, chain(a=None)), with_history=None)

    assert (report.history_note, report.sound) == (None, True)


# -- any damage of any history -----------------------------------------------------------------------------------------

Tree = dict[str, tuple[str, tuple[str, ...]]]  # file name -> id and parents


@dataclass(frozen=True)
class Story:
    """The trees of a sound history, one for each commit, and of those that each damage it."""

    sound: tuple[Tree, ...]
    damaged: tuple[Tree, ...]


def list_below(tree: Tree, name: str) -> set[str]:
    """The revision and all before it."""
    found: set[str] = set()
    pending = [name]
    while pending:
        one = pending.pop()
        if one not in found:
            found.add(one)
            pending += [parent for own, parents in tree.values() for parent in parents if own == one]
    return found


@st.composite
def stories(draw: st.DrawFn, defects: int) -> Story:
    """A line of revisions with a branch and its merge here and there; then that many defects."""
    tree: Tree = {"r0": ("r0", ())}
    sound = [dict(tree)]
    head = "r0"
    for _ in range(draw(st.integers(2, 5))):
        number = len(tree)
        if draw(st.integers(0, 3)):
            tree[f"r{number}"] = (f"r{number}", (head,))
        else:
            fork = draw(st.sampled_from(sorted(list_below(tree, head))))
            tree[f"r{number}"] = (f"r{number}", (fork,))
            if fork != head:
                tree[f"r{number + 1}"] = (f"r{number + 1}", (head, f"r{number}"))
        head = max(tree, key=lambda name: int(name[1:]))
        sound.append(dict(tree))
    damaged = []
    for number in range(defects):
        damage(draw, tree, number)
        damaged.append(dict(tree))
    return Story(tuple(sound), tuple(damaged))


def damage(draw: st.DrawFn, tree: Tree, number: int) -> None:
    """A wrong parent, a loop, a deleted file, a file with another one's id, or a second head."""
    kind = draw(st.sampled_from(["lost", "moved", "loop", "deleted", "duplicate", "head"]))
    key = draw(st.sampled_from(sorted(tree)))
    name, _ = tree[key]
    others = sorted({own for own, _ in tree.values() if own != name})
    if kind == "lost":
        tree[key] = (name, (f"lost{number}",))
    elif kind == "moved":
        free = [other for other in others if name not in list_below(tree, other)]
        tree[key] = (name, (draw(st.sampled_from(free)),)) if free else (name, ())
    elif kind == "loop":
        later = [other for other in [*others, name] if name in list_below(tree, other)]
        tree[key] = (name, (draw(st.sampled_from(later)),))
    elif kind == "deleted":
        named = sorted(own for own, (other, _) in tree.items() if any(other in one for _, one in tree.values()))
        if named:
            del tree[draw(st.sampled_from(named))]
    elif kind == "duplicate":
        tree[f"{draw(st.sampled_from('az'))}{number}"] = (name, (draw(st.sampled_from([*others, name])),))
    else:
        tree[f"s{number}"] = (f"s{number}", (name,))


def tell(story: Story, folder: Path) -> Project:
    """Write the repository, one commit for each tree."""
    project = Project(GitRepository(folder))
    before: Tree = {}
    for tree in (*story.sound, *story.damaged):
        texts = {key: write_revision(*tree[key], note=key) for key in tree if before.get(key) != tree[key]}
        gone: dict[str, str | None] = {place(key): None for key in before if key not in tree}
        project.made.commit({**{place(key): text for key, text in texts.items()}, **gone})
        before = tree
    project.made.write()
    return project


def mend(project: Project, most: int) -> str:
    """Follow the headlines to the end: "sound", or "unknown" where the audit names none."""
    done: set[tuple[str, str | None, str | None]] = set()
    report = project.audit()
    while not report.sound:
        headline = report.headline
        if headline is None:
            return "unknown"
        assert len(project.headlines) < most or headline.action is Action.MERGE
        assert not done & {(edit.file, edit.after, edit.before) for edit in headline.edits}
        done |= {(edit.file, edit.before, edit.after) for edit in headline.edits}
        errors = [name_error(one) for one in report.findings if one.severity == "error"]
        project.follow(headline)
        report = project.audit()
        assert report.sound is headline.is_sound
        if headline.action is Action.MERGE:
            assert report.sound
        else:
            assert (report.graph.heads, report.graph.bases) == (headline.heads, headline.bases)
            left = [name_error(one) for one in report.findings if one.severity == "error"]
            assert {code for code, _ in left} - {code for code, _ in errors} <= {"MG201"}
    return "sound"


def name_error(finding: Finding) -> tuple[str, tuple[str, ...]]:
    return finding.code, finding.revisions


@settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))
@given(stories(1))
def test_advice__any_single_defect__is_mended_in_one_step_and_a_merge(
    tmp_path_factory: pytest.TempPathFactory, story: Story
) -> None:
    project = tell(story, tmp_path_factory.mktemp("one"))

    assert mend(project, 1) == "sound"
    # Alembic itself finds what the audit promised.
    script = ScriptDirectory(str(project.made.folder))
    assert len(list(script.walk_revisions())) == len(list(project.folder.glob("*.py")))
    assert script.get_current_head() is not None


@settings(max_examples=examples(60), suppress_health_check=list(HealthCheck))
@given(st.integers(2, 3).flatmap(stories))
def test_advice__several_defects__are_mended_without_ever_asking_for_the_opposite(
    tmp_path_factory: pytest.TempPathFactory, story: Story
) -> None:
    event(mend(tell(story, tmp_path_factory.mktemp("several")), len(story.damaged)))
