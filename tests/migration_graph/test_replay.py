"""The replay against the plain way: a full audit of every commit's tree. And the guilty edit of random histories."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from golive.migration_graph.catalogue import make_finding
from golive.migration_graph.findings.defects import find_defects
from golive.migration_graph.graph.build import build_graph
from golive.migration_graph.history.replay import Replay
from golive.migration_graph.history.states import Defect, State, name_defect
from golive.migration_graph.history.versions import Shape
from golive.migration_graph.model import Finding, Kind, Node, ParsedFile, Reference, Role
from tests.migration_graph.examining import examine
from tests.migration_graph.git_repository import GitRepository
from tests.migration_graph.incident import revision
from tests.support.profiles import examples

Tree = dict[str, ParsedFile]


@dataclass(frozen=True)
class Made:
    """One commit: numbers of its parents, and its whole tree."""

    parents: tuple[int, ...]
    tree: Tree


def make_file(path: str, name: str, references: Iterable[tuple[str, Role]], date: int, **more: Any) -> ParsedFile:
    listed = tuple(Reference(other, 3, role) for other, role in references)
    return ParsedFile(path, Node(path, name, 1, listed, create_date=f"2026-01-{date:02}", **more))


def make_broken(path: str) -> ParsedFile:
    return ParsedFile(path, None, (make_finding("MG105", f"{path} is broken", "", file=path, line=1),))


PATHS = [f"f{number}.py" for number in range(8)]


@st.composite
def files(draw: st.DrawFn, kind: Kind, tree: Tree) -> dict[str, ParsedFile | None]:
    """What one commit does: mostly it grows on top of what is there, sometimes it does anything at all."""
    names = sorted({file.node.name for file in tree.values() if file.node})
    pool = ["a.1", "a.2", "a.3", "b.1", "b.2"] if kind is Kind.DJANGO else ["n1", "n2", "n3", "n4", "n5"]
    choice = draw(st.integers(0, 9))
    path = draw(st.sampled_from(PATHS))
    if choice == 0:
        return {path: None}
    if choice == 1:
        return {path: make_broken(path)}
    roles = st.sampled_from([Role.PARENT] * 5 + [Role.DEPENDENCY] * (kind is Kind.ALEMBIC))
    date, more = draw(st.integers(1, 28)), {"is_reversible": draw(st.sampled_from([None, None, True, False]))}
    if choice <= 4 or not names:
        others = draw(st.lists(st.tuples(st.sampled_from(pool), roles), max_size=2, unique_by=lambda pair: pair[0]))
        return {path: make_file(path, draw(st.sampled_from(pool)), others, date, **more)}
    # Growth: one or two new files, one on top of the other.
    grown: dict[str, ParsedFile | None] = {}
    below = draw(st.sampled_from(names))
    for _ in range(draw(st.integers(1, 2))):
        name = (
            f"{below.partition('.')[0]}.g{len(tree) + len(grown)}"
            if kind is Kind.DJANGO
            else f"g{len(tree)}{len(grown)}"
        )
        new = f"{name}.py"
        grown[new] = make_file(new, name, [(below, Role.PARENT)], date, **more)
        below = name
    return grown


@st.composite
def histories(draw: st.DrawFn) -> tuple[Kind, list[Made]]:
    """Commits with branches and merges; a merge takes any files of its second parent, and may do more."""
    kind = draw(st.sampled_from([Kind.ALEMBIC, Kind.ALEMBIC, Kind.DJANGO]))
    commits: list[Made] = []
    for number in range(draw(st.integers(2, 14))):
        shape = draw(st.integers(0, 5)) if number else -1
        parents: tuple[int, ...] = ()
        if shape == 0:
            parents = (draw(st.integers(0, number - 1)),)
        elif shape == 1 and number > 1:
            parents = tuple(draw(st.lists(st.integers(0, number - 1), min_size=2, max_size=2, unique=True)))
        elif number:
            parents = (number - 1,)
        tree = dict(commits[parents[0]].tree) if parents else {}
        for other in parents[1:]:
            theirs = commits[other].tree
            taken = draw(st.sets(st.sampled_from(sorted(theirs)))) if theirs else set()
            tree |= {path: theirs[path] for path in taken}
        for path, file in draw(files(kind, tree)).items() if len(parents) < 2 or draw(st.booleans()) else ():
            if file is None:
                tree.pop(path, None)
            else:
                tree[path] = file
        commits.append(Made(parents, tree))
    return kind, commits


def audit(kind: Kind, files: Iterable[ParsedFile]) -> Sequence[Finding]:
    listed = list(files)
    return find_defects(build_graph(kind, listed), listed)


def replay_all(kind: Kind, commits: Sequence[Made]) -> tuple[Replay, list[set[Defect]], int]:
    """The replay, what stands after each commit, and how many whole folders were audited."""
    sizes: list[int] = []

    def count(files: Iterable[ParsedFile]) -> Sequence[Finding]:
        listed = list(files)
        sizes.append(len(listed))
        return audit(kind, listed)

    replay = Replay(kind, count)
    states: list[State] = []
    standing = []
    for number, one in enumerate(commits):
        parents = [states[parent].copy() for parent in one.parents]
        before = commits[one.parents[0]].tree if one.parents else {}
        changed = {
            path: None if path not in one.tree else (repr(one.tree[path]), one.tree[path]) for path in before | one.tree
        }
        changed = {path: told for path, told in changed.items() if before.get(path) != one.tree.get(path)}
        states.append(replay.step(number, parents, changed))
        standing.append(set(states[-1].defects))
    return replay, standing, sum(size > 3 for size in sizes)


@settings(max_examples=examples(120), suppress_health_check=list(HealthCheck))
@given(histories())
def test_replay__any_history__equals_a_full_audit_at_every_commit(history: tuple[Kind, list[Made]]) -> None:
    kind, commits = history

    replay, standing, _ = replay_all(kind, commits)

    naive = [{name_defect(finding, kind) for finding in audit(kind, one.tree.values())} for one in commits]
    assert standing == naive
    for span in replay.spans:
        defect = name_defect(span.finding, kind)
        assert defect in naive[span.began]
        assert not any(defect.is_same(other) for parent in commits[span.began].parents for other in naive[parent])
        if span.ended is not None:
            assert not any(defect == other for other in naive[span.ended])
    begun = {span.began for span in replay.spans}
    for number, one in enumerate(commits):
        old = [other for parent in one.parents for other in naive[parent]]
        if any(not any(defect.is_same(other) for other in old) for defect in naive[number]):
            assert number in begun


def test_replay__plain_growth__looks_at_new_files_only() -> None:
    tree: dict[str, ParsedFile] = {}
    commits = []
    for number in range(50):
        path = f"r{number}.py"
        tree = {**tree, path: make_file(path, f"r{number}", [(f"r{number - 1}", Role.PARENT)] if number else [], 1)}
        commits.append(Made((number - 1,) if number else (), tree))

    _, standing, audits = replay_all(Kind.ALEMBIC, commits)

    assert audits == 0
    assert standing == [set()] * 50


def make_tree(*listed: ParsedFile) -> Tree:
    return {file.key: file for file in listed}


def test_replay__a_new_file_that_an_older_one_named_already__is_no_plain_growth() -> None:
    unread = ParsedFile("u.py", None, (make_finding("MG105", "broken", "", file="u.py", line=1),), guesses=("g1",))
    base, child = make_file("b.py", "b1", [], 1), make_file("c.py", "c1", [("g1", Role.PARENT)], 1)
    before = make_tree(unread, base, child)
    after = {**before, "g.py": make_file("g.py", "g1", [("b1", Role.PARENT)], 1)}

    _, standing, _ = replay_all(Kind.ALEMBIC, [Made((), before), Made((0,), after)])

    assert [any(defect.code == "MG201" for defect in defects) for defects in standing] == [True, False]


def test_replay__a_new_head_that_a_misspelt_reference_meant__is_no_plain_growth() -> None:
    base = make_file("a.py", "aaaa11110000", [], 1)
    middle = make_file("b.py", "bbbb22220000", [("aaaa11110000", Role.PARENT)], 1)
    lost = make_file("x.py", "dddd44440000", [("cccc33330001", Role.PARENT)], 1)
    before = make_tree(base, middle, lost)
    after = {**before, "c.py": make_file("c.py", "cccc33330000", [("bbbb22220000", Role.PARENT)], 1)}

    _, standing, _ = replay_all(Kind.ALEMBIC, [Made((), before), Made((0,), after)])

    assert [any(defect.code == "MG201" for defect in defects) for defects in standing] == [True, False]


def test_shape__counted_in_and_out__is_as_before() -> None:
    shape = Shape(Kind.ALEMBIC)
    nodes = [file.node for file in (make_file("a.py", "a", [], 1), make_file("b.py", "b", [("a", Role.PARENT)], 1))]
    shape.count(nodes)

    shape.count(nodes, -1)

    assert not any((+shape.names, +shape.children, +shape.referenced))


# -- the guilty edit of a random history -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plot:
    """Edits in order: (revision, its new parents). `guilty` is the number of the one that closes a loop."""

    edits: tuple[tuple[str, tuple[str, ...]], ...]
    guilty: int
    before: tuple[str, ...]


@st.composite
def plots(draw: st.DrawFn) -> Plot:
    """A sound graph that grows and is edited soundly, one edit that closes a loop, and growth after it."""
    parents: dict[str, tuple[str, ...]] = {}
    edits: list[tuple[str, tuple[str, ...]]] = []

    def list_below(name: str) -> set[str]:
        found, todo = set(), [name]
        while todo:
            one = todo.pop()
            if one not in found:
                found.add(one)
                todo += parents[one]
        return found

    def grow() -> None:
        name = f"r{len(parents):02}"
        chosen = (
            draw(st.lists(st.sampled_from(sorted(parents)), min_size=1, max_size=2, unique=True)) if parents else []
        )
        edits.append((name, tuple(chosen)))
        parents[name] = tuple(chosen)

    for _ in range(draw(st.integers(3, 9))):
        grow()
    for _ in range(draw(st.integers(0, 5))):
        name = draw(st.sampled_from(sorted(parents)))
        free = [other for other in sorted(parents) if name not in list_below(other)]
        if free:
            parents[name] = (draw(st.sampled_from(free)),)
            edits.append((name, parents[name]))
    pairs = [(child, own) for child in sorted(parents) for own in sorted(list_below(child) - {child})]
    if not pairs:
        grow()
        newest = max(parents)
        pairs = [(newest, own) for own in sorted(list_below(newest) - {newest})]
    above, child = draw(st.sampled_from(pairs))
    before, guilty = parents[child], len(edits)
    parents[child] = (*(before if draw(st.booleans()) else ()), above)
    edits.append((child, parents[child]))
    for _ in range(draw(st.integers(0, 3))):
        grow()
    return Plot(tuple(edits), guilty, before)


@settings(max_examples=examples(12), suppress_health_check=list(HealthCheck))
@given(plots())
def test_ranking__the_edit_that_closed_a_loop__is_always_in_the_first_rank(
    tmp_path_factory: pytest.TempPathFactory, plot: Plot
) -> None:
    made = GitRepository(tmp_path_factory.mktemp("plot"))
    for name, parents in plot.edits:
        made.commit({f"versions/{name}.py": revision(name, parents or None)}, f"{name} on {parents}")
    made.write()
    child, (*_, above) = plot.edits[plot.guilty]

    report = examine(made.folder / "versions", with_history=True)

    loop = report.findings[0]
    assert loop.code == "MG101"
    assert loop.introduced_by is not None
    assert loop.introduced_by.commit == made.name(plot.guilty + 1)
    best = [(cut.edges, cut.restore) for cut in loop.cuts if cut.rank == 1]
    value = {0: "None", 1: repr(plot.before[0]) if plot.before else ""}.get(len(plot.before), repr(plot.before))
    assert ([(edge.child, edge.parent) for edge in best[0][0]], best[0][1]) == ([(child, above)], value)
    assert len(best) == 1
