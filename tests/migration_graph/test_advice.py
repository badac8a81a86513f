"""Advice that can be followed: each headline is applied, committed and audited again, none asks for the opposite."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from golive.migration_graph.model import Action, Edit, Finding, Headline, Report
from tests.migration_graph.examining import examine
from tests.migration_graph.folders import BODY
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
    assert mend(tell(story, tmp_path_factory.mktemp("one")), 1) == "sound"


@settings(max_examples=examples(60), suppress_health_check=list(HealthCheck))
@given(st.integers(2, 3).flatmap(stories))
def test_advice__several_defects__are_mended_without_ever_asking_for_the_opposite(
    tmp_path_factory: pytest.TempPathFactory, story: Story
) -> None:
    event(mend(tell(story, tmp_path_factory.mktemp("several")), len(story.damaged)))
