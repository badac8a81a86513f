"""What the history tells of a database: what an upgrade would skip or repeat there, and what was edited since."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from golive.migration_graph.audit import AuditRequest, run_audit
from golive.migration_graph.model import AppliedRows, Kind, Report, Severity
from tests.migration_graph.git_repository import GitRepository, run_git

Files = dict[str, str | None]


def revision(name: str, parents: str = "None", *, work: str | None = "", more: str = "") -> Files:
    """One file; `parents` is Python source. `work`: what it does, by default what its name says; None: nothing."""
    step = "pass" if work is None else f"op.execute({work or name!r})"
    text = (
        f"from alembic import op\n\nrevision = {name!r}\ndown_revision = {parents}\n{more}\n\n"
        f"def upgrade():\n    {step}\n\n\ndef downgrade():\n    op.execute('undo')\n"
    )
    return {f"{name}.py": text}


class Project:
    """A versions folder in a repository. `commit` adds a commit, `edit` changes the working tree."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = GitRepository(folder)
        self.repository.commit({"alembic.ini": "[alembic]\nscript_location = %(here)s/scripts\n", "scripts/env.py": ""})

    def commit(self, *files: Files, parents: tuple[int, ...] | None = None) -> int:
        changed = {f"scripts/versions/{name}": text for each in files for name, text in each.items()}
        return self.repository.commit(changed, parents=parents)

    def edit(self, *files: Files) -> None:
        self.repository.write()
        self.write(*files)

    def write(self, *files: Files) -> None:
        for name, text in (pair for each in files for pair in each.items()):
            path = self.folder / "scripts" / "versions" / name
            if text is None:
                path.unlink()
            else:
                path.write_text(text)

    def audit(self, *databases: tuple[str, ...], kind: Kind = Kind.ALEMBIC) -> Report:
        """Compare with databases that have these rows."""
        if self.repository._stream:
            self.repository.write()
        rows = {f"db{number}": each for number, each in enumerate(databases, 1)}

        def read_applied(url: str, asked: Kind) -> AppliedRows:
            assert asked is kind
            return AppliedRows(url, rows[url])

        return run_audit(str(self.folder), AuditRequest(with_history=True, databases=tuple(rows)), read_applied).report


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


CHAIN = (revision("a"), revision("b", "'a'"), revision("c", "'b'"))


def describe(report: Report) -> dict[str, tuple[str, ...]]:
    """Code -> revisions, of what concerns a database's past."""
    return {each.code: each.revisions for each in report.findings if each.code in ("MG303", "MG304", "MG306")}


def get_message(report: Report, code: str) -> str:
    return next(each.message for each in report.findings if each.code == code)


def get_hint(report: Report, code: str) -> str:
    return next(each.hint for each in report.findings if each.code == code)


def test_history__nothing_edited__finds_nothing(project: Project) -> None:
    project.commit(*CHAIN)
    project.commit(revision("d", "'c'"))

    for row in "abcd":
        report = project.audit((row,))
        assert (describe(report), report.databases[0].ran_from) == ({}, "history")


def test_skipped__put_below_an_applied_revision_and_not_committed__is_certain(project: Project) -> None:
    project.commit(*CHAIN)
    project.edit(revision("x", "'b'"), revision("c", "'x'"))

    report = project.audit(("c",))

    assert describe(report) == {"MG303": ("x",)}
    assert not report.sound
    assert "because c comes after it; it never ran there" in get_message(report, "MG303")
    assert "`alembic stamp --purge b`" not in get_hint(report, "MG303")
    assert describe(project.audit(("b",))) == {}


def test_skipped__put_below_an_applied_revision_and_committed__names_the_commit(project: Project) -> None:
    before = project.commit(*CHAIN)
    project.commit(revision("x", "'b'"), revision("c", "'x'"))

    report = project.audit(("c",))

    assert describe(report) == {"MG303": ("x",)}
    name = project.repository.name(before)
    assert f"if it was last upgraded while the files were as in commit {name[:12]}" in get_message(report, "MG303")
    assert not report.sound


def test_skipped__and_upgraded_since__is_still_found(project: Project) -> None:
    project.commit(*CHAIN)
    project.commit(revision("x", "'b'"), revision("c", "'x'"))
    project.commit(revision("d", "'c'"))

    report = project.audit(("d",))

    assert describe(report) == {"MG303": ("x",)}
    name = project.repository.name(project.repository.count)
    assert f"unless it was made from the files of commit {name[:12]}" in get_message(report, "MG303")
    assert not report.sound


def test_skipped__two_heads_made_linear__where_a_database_had_one_of_them(project: Project) -> None:
    project.commit(*CHAIN, revision("ours", "'c'"))
    project.commit(revision("theirs", "'c'"))
    project.commit(revision("ours", "'theirs'"))

    assert describe(project.audit(("ours",))) == {"MG303": ("theirs",)}
    # This one never had the other.
    assert describe(project.audit(("theirs",))) == {}
    assert project.audit(("ours", "theirs")).pending is None


def test_skipped__where_a_commit_between_was_not_deployed__is_found_after_the_next_upgrade(project: Project) -> None:
    project.commit(*CHAIN, revision("ours", "'c'"))
    # Whoever was upgraded here was refused by the next one.
    project.commit(revision("theirs", "'c'"))
    project.commit(revision("ours", "'theirs'"))
    project.commit(revision("last", "'ours'"))

    assert describe(project.audit(("last",))) == {"MG303": ("theirs",)}


def test_repeated__cut_below_an_applied_revision(project: Project) -> None:
    project.commit(*CHAIN)
    project.edit(revision("c", "None"))

    report = project.audit(("c",))

    assert [each.revisions for each in report.findings if each.code == "MG304"] == [("a",), ("b",)]
    assert not report.sound


def test_repeated__a_dependency_taken_away__by_which_a_row_had_vanished(project: Project) -> None:
    project.commit(revision("a"), revision("b"), revision("c", "'b'", more="depends_on = 'a'\n"))
    project.edit(revision("c", "'b'"))

    assert describe(project.audit(("c",))) == {"MG304": ("a",)}


def test_repeated__a_new_id__tells_the_rows_that_are_right(project: Project) -> None:
    project.commit(*CHAIN)
    project.edit({"c.py": None}, revision("d", "'b'", work="c"))

    report = project.audit(("b",))
    assert describe(report) == {}

    report = project.audit(("c",))
    assert [each.code for each in report.findings if each.severity is Severity.ERROR] == ["MG301"]


def test_repeated__a_copy_of_an_applied_revision__is_a_warning(project: Project) -> None:
    project.commit(*CHAIN)
    project.commit(revision("again", "'c'", work="c"))

    report = project.audit(("c",))

    assert describe(report) == {"MG304": ("again",)}
    assert report.sound
    assert "(as c)" in get_message(report, "MG304")


def test_repeated__a_copy_of_what_cannot_run_twice__is_an_error(project: Project) -> None:
    create = revision("c", "'b'")["c.py"]
    assert create is not None
    project.commit(*CHAIN[:2], {"c.py": create.replace("op.execute('c')", "op.create_table('c')")})
    copy = revision("again", "'c'", work="c")["again.py"]
    assert copy is not None
    project.commit({"again.py": copy.replace("op.execute('c')", "op.create_table('c')")})

    report = project.audit(("c",))

    assert (describe(report), report.sound) == ({"MG304": ("again",)}, False)


def test_undone__an_edit_that_was_put_back__is_a_warning_for_databases_of_that_time(project: Project) -> None:
    project.commit(*CHAIN)
    project.commit(revision("c", "'a'"), revision("a", work="something else"))
    project.commit(*CHAIN)

    report = project.audit(("c",))

    assert describe(report) == {"MG303": ("b",), "MG306": ("a",)}
    assert report.sound


def test_shallow__clone__knows_nothing_of_databases(project: Project, tmp_path: Path) -> None:
    project.commit(*CHAIN)
    project.commit(revision("x", "'b'"), revision("c", "'x'"))
    project.repository.write()
    clone = tmp_path / "clone"
    run_git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{project.folder}", str(clone))
    project.folder = clone

    report = project.audit(("c",))

    assert (describe(report), report.databases[0].ran_from) == ({}, "assumed")


def test_edited__the_body_of_an_applied_revision(project: Project) -> None:
    project.commit(*CHAIN)
    project.edit(revision("b", "'a'", work="something else"))

    report = project.audit(("c",), ("a",))

    assert describe(report) == {"MG306": ("b",)}
    assert not report.sound
    assert "after the database db1 ran it" in get_message(report, "MG306")


def test_edited__before_it_can_have_run__is_no_concern(project: Project) -> None:
    project.commit(*CHAIN)
    project.commit(revision("d", "'c'"))
    project.commit(revision("d", "'c'", work="corrected"))
    project.commit(revision("e", "'d'"))

    assert describe(project.audit(("c",))) == {}


def test_edited__long_before_the_rows__is_a_warning_for_all_of_them(project: Project) -> None:
    project.commit(*CHAIN)
    project.commit(revision("b", "'a'", work="corrected"), revision("a", work="corrected too"))
    project.commit(revision("d", "'c'"))

    report = project.audit(("d",))

    assert describe(report) == {"MG306": ("a", "b")}
    assert report.sound


def test_edited__on_a_branch_that_was_merged_later__is_no_concern(project: Project) -> None:
    base = project.commit(*CHAIN)
    first = project.commit(revision("d", "'c'"), parents=(base,))
    second = project.commit(revision("d", "'c'", work="corrected"), parents=(first,))
    project.commit(revision("d", "'c'", work="corrected"), parents=(base, second))

    assert describe(project.audit(("d",))) == {}


def test_edited__comments_and_formatting__are_no_concern(project: Project) -> None:
    project.commit(*CHAIN)
    (name, text), *_ = CHAIN[1].items()
    assert text is not None
    project.edit({name: f'"""A licence."""\n# {text}'.replace("# from", "from").replace("'b'", '"b"')})

    assert describe(project.audit(("c",))) == {}


def test_databases__each_is_named_and_has_its_own_plan(project: Project) -> None:
    project.commit(*CHAIN)

    report = project.audit(("a",), ("c",), ("gone",))

    assert [(each.name, each.rows, each.pending) for each in report.databases] == [
        ("db1", ("a",), ("b", "c")),
        ("db2", ("c",), ()),
        ("db3", ("gone",), None),
    ]
    assert report.pending is None
    assert "the database db3 has run gone" in get_message(report, "MG301")


def test_assumed__without_a_history(project: Project, tmp_path: Path) -> None:
    project.commit(*CHAIN)
    project.repository.write()
    (project.folder / ".git").rename(tmp_path / "git")

    def read_applied(url: str, kind: Kind) -> AppliedRows:
        return AppliedRows(url, ("c",))

    report = run_audit(str(project.folder), AuditRequest(databases=("x",)), read_applied).report

    assert (describe(report), report.databases[0].ran_from) == ({}, "assumed")


def write_lock(project: Project) -> None:
    def refuse(url: str, kind: Kind) -> AppliedRows:
        raise AssertionError(url)

    project.repository.write()
    assert run_audit(str(project.folder), AuditRequest(writes_lock=True), refuse).refusal is None


def test_lock__written_later__does_not_hide_what_the_history_knows(project: Project) -> None:
    project.commit(*CHAIN)
    project.commit(revision("x", "'b'"), revision("c", "'x'"))
    before = project.audit(("c",))
    write_lock(project)

    assert describe(before) == describe(project.audit(("c",))) == {"MG303": ("x",)}


def test_lock__without_a_history__tells_what_was_released(project: Project, tmp_path: Path) -> None:
    project.commit(*CHAIN)
    write_lock(project)
    (project.folder / ".git").rename(tmp_path / "git")
    assert project.audit(("c",)).databases[0].ran_from == "lock file"
    project.write(revision("x", "'b'"), revision("c", "'x'"), revision("a", work="something else"))

    report = project.audit(("c",))

    assert report.databases[0].ran_from == "lock file"

    assert describe(report) == {"MG303": ("x",), "MG306": ("a",)}
    assert "it never ran there" in get_message(report, "MG303")
    assert "if it was" not in get_message(report, "MG303")


def test_lock__without_the_rows_of_the_database__leaves_it_to_the_history(project: Project) -> None:
    project.commit(*CHAIN)
    write_lock(project)
    project.commit(revision("d", "'c'"))

    assert project.audit(("d",)).databases[0].ran_from == "history"


def test_lock__of_an_older_form__leaves_it_to_the_history(project: Project) -> None:
    project.commit(*CHAIN)
    write_lock(project)
    lock = project.folder / "migrations.lock"
    lock.write_text(re.sub(r', body = "\w+"', "", lock.read_text()))

    assert project.audit(("c",)).databases[0].ran_from == "history"


def test_headline__that_a_database_would_refuse__is_not_given(project: Project) -> None:
    project.commit(revision("a"), revision("b", "'a'"), revision("c", "'a'"))
    project.commit(revision("c", "'b'"))
    project.commit(revision("c", "'lost'"))

    linear = project.audit().headline
    assert linear is not None
    assert [edit.after for edit in linear.edits] == ["'b'"]

    # It was upgraded while there were two heads.
    headline = project.audit(("b", "c")).headline

    assert headline is None or [edit.after for edit in headline.edits] == ["'a'"]
    assert project.audit(("a",)).headline == linear


# -- Django ------------------------------------------------------------------------------------------------------------

APP = {"manage.py": "", "shop/__init__.py": "", "shop/models.py": "", "shop/migrations/__init__.py": ""}


def migration(name: str, parent: str | None, *, work: str | None = None, more: str = "") -> Files:
    dependencies = f"[('shop', {parent!r})]" if parent else "[]"
    text = (
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
        f"    dependencies = {dependencies}\n    {more}\n"
        f"    operations = [migrations.RunSQL({work or name!r}, migrations.RunSQL.noop)]\n"
    )
    return {f"shop/migrations/{name}.py": text}


class DjangoProject(Project):
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = GitRepository(folder)
        self.repository.commit(APP)

    def commit(self, *files: Files, parents: tuple[int, ...] | None = None) -> int:
        return self.repository.commit({name: text for each in files for name, text in each.items()}, parents=parents)

    def audit(self, *databases: tuple[str, ...], kind: Kind = Kind.DJANGO) -> Report:
        return super().audit(*(tuple(f"shop.{row}" for row in each) for each in databases), kind=kind)


@pytest.fixture
def site(tmp_path: Path) -> DjangoProject:
    made = DjangoProject(tmp_path / "site")
    made.commit(migration("0001_initial", None), migration("0002_more", "0001_initial"))
    return made


BOTH = ("0001_initial", "0002_more")


def test_django__nothing_edited__finds_nothing(site: DjangoProject) -> None:
    site.commit(migration("0003_last", "0002_more"))

    for rows in (BOTH[:1], BOTH, (*BOTH, "0003_last")):
        report = site.audit(rows)
        assert (describe(report), report.databases[0].ran_from) == ({}, "history")


def test_django__an_applied_migration_that_was_renamed__would_run_twice(site: DjangoProject) -> None:
    site.commit({"shop/migrations/0002_more.py": None}, migration("0002_better", "0001_initial", work="0002_more"))

    report = site.audit(BOTH)

    assert describe(report) == {"MG304": ("shop.0002_better",)}
    assert "(as shop.0002_more)" in get_message(report, "MG304")
    assert "--fake shop 0002_better" in get_hint(report, "MG304")


def test_django__an_applied_migration_that_was_edited(site: DjangoProject) -> None:
    site.commit(migration("0002_more", "0001_initial", work="corrected"))

    assert describe(site.audit(BOTH)) == {"MG306": ("shop.0002_more",)}
    assert describe(site.audit(BOTH[:1])) == {}


def test_django__a_squashed_migration_whose_old_files_are_gone__has_run(site: DjangoProject) -> None:
    old: Mapping[str, str | None] = {f"shop/migrations/{name}.py": None for name in BOTH}
    replaces = f"replaces = [('shop', {BOTH[0]!r}), ('shop', {BOTH[1]!r})]"
    site.commit(dict(old), migration("0001_squashed", None, more=replaces))

    assert describe(site.audit((*BOTH, "0001_squashed"))) == {}
    assert describe(site.audit(BOTH)) == {}


def test_django__the_whole_procedure_of_squashing__as_its_documentation_has_it(site: DjangoProject) -> None:
    replaces = f"replaces = [('shop', {BOTH[0]!r}), ('shop', {BOTH[1]!r})]"
    site.commit(migration("0001_squashed", None, more=replaces))
    site.commit({f"shop/migrations/{name}.py": None for name in BOTH}, migration("0001_squashed", None))

    report = site.audit((*BOTH, "0001_squashed"))

    assert (describe(report), report.sound, report.pending) == ({}, True, ())
