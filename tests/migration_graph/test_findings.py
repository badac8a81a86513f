"""What is found in a graph, who is named for it, and what is offered."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golive.migration_graph.audit import audit
from golive.migration_graph.findings.suggestions import count_edits
from golive.migration_graph.graph.components import find_components, has_cycle
from golive.migration_graph.graph.cuts import find_cycle, find_minimum_cut, find_single_cuts, fold
from golive.migration_graph.model import Report, Severity
from tests.migration_graph.folders import chain, find, get_codes, make_alembic, render, write

Edges = dict[str, list[str]]


def without(edges: Edges, gone: set[tuple[str, str]]) -> Edges:
    return {child: [parent for parent in parents if (child, parent) not in gone] for child, parents in edges.items()}


@st.composite
def draw_edges(draw: st.DrawFn) -> Edges:
    names = "abcdefg"[: draw(st.integers(2, 7))]
    pairs = draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names)), max_size=14, unique=True))
    return {name: [parent for child, parent in pairs if child == name and parent != name] for name in names}


@given(edges=draw_edges())
def test_cuts__small_graph__are_those_of_brute_force(edges: Edges) -> None:
    """Over all graphs of up to seven nodes that are drawn: components, cycle, single cuts and least set."""
    for component in find_components(edges):
        inner = {node: [parent for parent in edges[node] if parent in component] for node in component}
        arcs = [(child, parent) for child, parents in inner.items() for parent in parents]
        folded = fold(component, edges)

        cycle = find_cycle(folded)
        singles = find_single_cuts(folded)
        minimum, is_minimal = find_minimum_cut(folded)

        steps = list(zip(cycle, (*cycle[1:], cycle[0]), strict=True))
        assert set(steps) <= set(arcs)
        assert len(cycle) == min(shortest_from(inner, node) for node in component)
        assert sorted(singles) == sorted(arc for arc in arcs if not has_cycle(without(inner, {arc})))
        assert is_minimal
        assert not has_cycle(without(inner, set(minimum)))
        fewer = combinations(arcs, len(minimum) - 1)
        assert all(has_cycle(without(inner, set(chosen))) for chosen in fewer)


def shortest_from(edges: Edges, start: str) -> int:
    seen, layer, steps = {start}, [start], 0
    while layer:
        steps += 1
        layer = [parent for node in layer for parent in edges[node]]
        if start in layer:
            return steps
        layer = [node for node in dict.fromkeys(layer) if node not in seen]
        seen.update(layer)
    return 1_000


def test_cuts__dear_edges__are_left_in() -> None:
    edges = {"a": ["b", "c"], "b": ["a"], "c": ["a"]}

    minimum, is_minimal = find_minimum_cut(fold("abc", edges), lambda arc: 5.0 if arc[0] == "a" else 1.0)

    assert (minimum, is_minimal) == ((("b", "a"), ("c", "a")), True)


def test_cuts__large_dense_tangle__is_cut_though_not_proven_minimal() -> None:
    names = [f"n{number:02}" for number in range(40)]
    edges = {name: [other for other in names if other != name] for name in names}

    minimum, is_minimal = find_minimum_cut(fold(names, edges))

    assert is_minimal is False
    assert not has_cycle(without(edges, set(minimum)))


def make_incident(root: Path) -> Report:
    """115 revisions in a line; the root's parent has been turned from None into the 108th."""
    names = [f"{number:04}aa" for number in range(115)]
    files: dict[str, str | bytes] = {}
    for number, name in enumerate(names):
        said = names[number - 1] if number else ""
        parent = names[107] if number == 0 else said
        date = f"2025-{number // 28 + 1:02}-{number % 28 + 1:02} 12:00:00"
        files[f"{name}_x.py"] = render(name, repr(parent), revises=said, date=date)
    return audit(make_alembic(root, files))


def test_cycle__root_pointed_at_a_late_revision__offers_the_root_first(tmp_path: Path) -> None:
    report = make_incident(tmp_path)

    (finding,) = find(report, "MG101")
    first = finding.cuts[0]
    assert {found.code for found in report.findings} == {"MG101", "MG203"}
    assert len(finding.revisions) == 108
    assert (len(finding.cuts), finding.affected, finding.is_minimal) == (108, 115, True)
    assert [(edge.child, edge.parent) for edge in first.edges] == [("0000aa", "0107aa")]
    assert (first.edges[0].file, first.edges[0].line) == ("alembic/versions/0000aa_x.py", 11)
    assert (first.rank, first.heads, first.bases) == (1, ("0114aa",), ("0000aa",))
    assert len(first.because) == 2
    assert {cut.rank for cut in finding.cuts[1:]} == {2}
    assert finding.hint.startswith("Put back None in alembic/versions/0000aa_x.py:11.")


def test_cycle__nothing_to_tell_the_edges_apart__is_a_tie(tmp_path: Path) -> None:
    files = {f"{name}.py": f"revision = {name!r}\ndown_revision = {parent!r}\n" for name, parent in ("ab", "bc", "ca")}
    make_alembic(tmp_path, dict(files))

    (finding,) = find(audit(tmp_path), "MG101")

    assert [cut.rank for cut in finding.cuts] == [1, 1, 1]
    assert "any one of 3 edges" in finding.hint


def test_cycle__only_over_dependencies__is_found(tmp_path: Path) -> None:
    files = {"a.py": render("a", more="depends_on = 'c'\n"), "b.py": render("b", "'a'"), "c.py": render("c", "'b'")}
    make_alembic(tmp_path, dict(files))

    (finding,) = find(audit(tmp_path), "MG101")

    assert finding.cycle is not None
    assert sorted(finding.cycle) == ["a", "b", "c"]
    assert ("a", "c") in {(cut.edges[0].child, cut.edges[0].parent) for cut in finding.cuts}


@pytest.mark.parametrize(
    ("name", "meant", "words"),
    [
        ("abcdef12345", "abcdef123456", "beginning"),
        ("abcdef123465", "abcdef123456", "differs by 1 character"),
        ("abcdef123456_add_users", "abcdef123456", "named so"),
        ("add_users", "abcdef123456", "slug"),
        ("users_branch", "abcdef123456", "branch label"),
    ],
)
def test_dangling__name_near_another__says_what_was_meant_and_blames_no_head(
    tmp_path: Path, name: str, meant: str, words: str
) -> None:
    more = "branch_labels = 'users_branch'\n"
    files = {"abcdef123456_add_users.py": render("abcdef123456", more=more), "b.py": render("b", repr(name))}
    make_alembic(tmp_path, dict(files))

    report = audit(tmp_path)

    (finding,) = find(report, "MG102")
    assert (finding.file, finding.line, finding.revisions) == ("alembic/versions/b.py", 11, ("b",))
    assert finding.hint.startswith(f"Probably {meant} was meant: ")
    assert words in finding.hint
    assert find(report, "MG201") == []


@pytest.mark.parametrize("folder", ["alembic/versions/old", "alembic/archive"])
def test_dangling__id_in_a_folder_that_is_not_configured__names_the_file(tmp_path: Path, folder: str) -> None:
    make_alembic(tmp_path, chain(b="'a'"))
    write(tmp_path / folder, chain(a=None))

    (finding,) = find(audit(tmp_path), "MG102")

    assert f"{folder}/a.py" in finding.hint
    assert "version_locations" in finding.hint


@pytest.mark.parametrize(
    ("first", "second", "edits"),
    [("abc", "abc", 0), ("abc", "acb", 1), ("abc", "ab", 1), ("abc", "xbz", 2), ("abc", "xyz", None)],
)
def test_edits__two_ids__are_counted(first: str, second: str, edits: int | None) -> None:
    assert count_edits(first, second, 2) == edits


def test_heads__two_and_two_bases__are_an_error_and_a_warning(tmp_path: Path) -> None:
    make_alembic(tmp_path, chain(a=None, b=None))

    report = audit(tmp_path)

    assert [(found.code, found.severity, found.revisions) for found in report.findings] == [
        ("MG201", Severity.ERROR, ("a", "b")),
        ("MG202", Severity.WARNING, ("a", "b")),
    ]


def test_value__that_needs_execution__is_named_with_line_and_no_head_is_blamed(tmp_path: Path) -> None:
    files = {"a.py": render("a"), "b.py": render("b", "compute()"), "c.py": render("c", "'b'")}
    make_alembic(tmp_path, dict(files))

    report = audit(tmp_path)

    assert [(found.code, found.file, found.line) for found in report.findings] == [
        ("MG106", "alembic/versions/b.py", 11)
    ]
    assert report.sound


@pytest.mark.parametrize(
    ("body", "is_irreversible"),
    [
        ("def upgrade():\n    op.f()\n\ndef downgrade():\n    pass\n", True),
        ("def upgrade():\n    op.f()\n\ndef downgrade():\n    '''No.'''\n", True),
        ("def upgrade():\n    op.f()\n\ndef downgrade():\n    raise NotImplementedError\n", True),
        ("def upgrade():\n    op.f()\n", True),
        ("def upgrade():\n    op.f()\n\ndef downgrade():\n    op.g()\n", False),
        ("def upgrade():\n    pass\n\ndef downgrade():\n    pass\n", False),
        ("from base import downgrade\n\ndef upgrade():\n    op.f()\n", False),
    ],
)
def test_downgrade__that_does_nothing__is_irreversible(tmp_path: Path, body: str, *, is_irreversible: bool) -> None:
    make_alembic(tmp_path, {"a.py": f"revision = 'a'\ndown_revision = None\n\n{body}"})

    assert get_codes(tmp_path) == (["MG204"] if is_irreversible else [])


@pytest.mark.parametrize(
    "options",
    [
        "version_locations = %(here)s/one:%(here)s/two\npath_separator = os\n",
        "version_locations = one two\n",
        "version_locations = one, two\n",
        "version_locations =\n    one\n    two\npath_separator = newline\n",
        "version_locations = %(here)s/both\nrecursive_version_locations = true\npath_separator = os\n",
    ],
)
def test_locations__several__are_all_read(tmp_path: Path, options: str) -> None:
    make_alembic(tmp_path, {}, options=options)
    for folder in ("one", "two"):
        prefix = f"both/{folder}" if "both" in options else folder
        write(tmp_path / prefix, dict(chain(a=None) if folder == "one" else chain(b="'a'")))

    report = audit(tmp_path)

    assert (report.graph.heads, report.revisions, report.sound) == (("b",), 2, True)


@pytest.mark.parametrize("folder", ["", "alembic", "alembic/versions", "alembic.ini"])
def test_audit__any_folder_of_a_project__is_understood(tmp_path: Path, folder: str) -> None:
    make_alembic(tmp_path, chain(a=None, b="'a'"))

    assert audit(tmp_path / folder).graph.heads == ("b",)


def test_audit__pyproject__is_understood(tmp_path: Path) -> None:
    write(tmp_path, {"pyproject.toml": '[tool.alembic]\nscript_location = "%(here)s/app/db"\n'})
    write(tmp_path / "app/db/versions", chain(a=None))

    report = audit(tmp_path)

    assert list(report.graph.nodes) == ["app/db/versions/a.py"]
