"""Our reading of a folder against real Alembic's, for every legal way of writing it; and where Alembic is wrong."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from golive.migration_graph.audit import audit
from golive.migration_graph.model import Report
from tests.migration_graph.folders import BODY, chain, find, make_alembic, render
from tests.migration_graph.oracles import Answer, Oracle
from tests.support.profiles import examples

NAMES = ("a1", "b2", "c3", "d4", "e5", "f6", "g7")
# What keeps Alembic from loading a folder. MG103 (two files with one id) does not: it takes the last.
STOPS = {"MG101", "MG102", "MG104", "MG105", "MG107"}
Revision = tuple[tuple[str, ...], tuple[str, ...], str, str]


@pytest.fixture(scope="module")
def alembic() -> Iterator[Oracle]:
    oracle = Oracle("alembic")
    yield oracle
    oracle.close()


FORMS = {
    "plain": "{name} = {value}\n",
    "annotated": "{name}: object = {value}\n",
    "reassigned": "{name} = 'zz'\n{name} = {value}\n",
    "if": "if True:\n    {name} = {value}\nelse:\n    {name} = 'zz'\n",
    "type checking": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    {name} = 'zz'\n"
    "else:\n    {name} = {value}\n",
    "try": "try:\n    {name} = {value}\nexcept Exception:\n    {name} = 'zz'\n",
    "named": "NAMED = {value}\n{name} = NAMED\n",
    "chained": "other = {name} = {value}\n",
    "unpacked": "other, {name} = 1, {value}\n",
    "choice": "{name} = {value} if not False else 'zz'\n",
    "with": "import contextlib\nwith contextlib.suppress(ValueError):\n    {name} = {value}\n",
    "walrus": "({name} := {value})\n",
    "globals": "globals()['{name}'] = {value}\n",
    "deleted": "{name} = 'zz'\ndel {name}\n{name} = {value}\n",
}
VALUES: dict[str, Callable[[tuple[str, ...]], str]] = {
    "tuple": lambda names: f"({''.join(f'{name!r}, ' for name in names)})",
    "list": lambda names: f"[{', '.join(map(repr, names))}]",
    "set": lambda names: f"{{{', '.join(map(repr, names))}}}" if names else "set()",
    "lines": lambda names: "(\n" + "".join(f"    {name!r},\n" for name in names) + ")",
    "sum": lambda names: " + ".join(f"({name!r},)" for name in names) or "()",
    "call": lambda names: f"tuple([{', '.join(map(repr, names))}])",
    "spread": lambda names: f"(*{list(names)!r},)",
}
SINGLES: dict[str, Callable[[str], str]] = {
    "string": repr,
    "f-string": lambda name: f"f'{name[0]}{{{name[1:]!r}}}'",
    "sum": lambda name: f"{name[0]!r} + {name[1:]!r}",
    "format": lambda name: f"'%s' % {name!r}",
    "adjacent": lambda name: f"{name[0]!r} {name[1:]!r}",
    "raw": lambda name: f"r{name!r}",
}


@st.composite
def write_value(draw: st.DrawFn, name: str, values: tuple[str, ...], *, is_single: bool = False) -> str:
    form = FORMS[draw(st.sampled_from(sorted(FORMS)))]
    if not values and draw(st.booleans()):
        text = "None"
    elif len(values) == 1 and (is_single or draw(st.booleans())):
        text = SINGLES[draw(st.sampled_from(sorted(SINGLES)))](values[0])
    else:
        text = VALUES[draw(st.sampled_from(sorted(VALUES)))](values)
    return form.format(name=name, value=text)


@st.composite
def write_folder(draw: st.DrawFn) -> dict[str, str]:
    """Files of a random graph: often sound, sometimes with cycles, dangling names, labels, dependencies."""
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    is_wild = draw(st.integers(0, 3)) == 0
    files = {}
    for place, name in enumerate(names):
        earlier = [*names, "gone"] if is_wild else list(names[:place])
        parents = tuple(draw(st.lists(st.sampled_from(earlier), max_size=3, unique=True))) if earlier else ()
        wanted = [other for other in earlier if other not in parents]
        labels = [f"label_{other}" for other in wanted if other != "gone"]
        needs = tuple(draw(st.lists(st.sampled_from([*wanted, *labels]), max_size=1))) if wanted else ()
        text = (
            draw(write_value("revision", (name,), is_single=True)) if draw(st.booleans()) else f"revision = {name!r}\n"
        )
        text += draw(write_value("down_revision", parents))
        text += draw(write_value("depends_on", needs))
        text += draw(write_value("branch_labels", (f"label_{name}",)))
        file = draw(st.sampled_from([f"{name}_x.py", f".{name}.py", f"_{name}.py", f"{name} y-z.py", f"{name}.b.py"]))
        files[file] = f'"""{name}"""\n{text}{BODY}'
    return files


def has_true_cycle(report: Report) -> bool:
    """By the plainest means: take out what needs nothing, until nothing is left or nothing can go."""
    graph = report.graph
    left = {key: {*graph.parents.get(key, ()), *graph.dependencies.get(key, ())} for key in graph.nodes}
    while True:
        free = {key for key, needs in left.items() if not needs & set(left)}
        if not free:
            return bool(left)
        left = {key: needs for key, needs in left.items() if key not in free}


@given(files=write_folder())
@settings(max_examples=examples(250), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_audit__random_graph_in_any_form__agrees_with_alembic(alembic: Oracle, files: dict[str, str]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="parity-"))
    try:
        make_alembic(folder, dict(files))
        answer, report = alembic.ask(folder), audit(folder)
    finally:
        shutil.rmtree(folder)

    assert not find(report, "MG106"), report.findings
    codes = {finding.code for finding in report.findings}
    assert ("MG101" in codes) == has_true_cycle(report)
    if answer.error:
        assert codes & STOPS, answer
    elif codes & STOPS:
        # Where Alembic is silent: see the tests below.
        assert codes & STOPS == {"MG101"}, (answer, report.findings)
    else:
        assert_same(report, answer)


def assert_same(report: Report, answer: Answer) -> None:
    assert set(report.graph.heads) == set(answer.heads)
    assert set(report.graph.bases) == set(answer.bases)
    assert (report.merges, report.branch_points) == (answer.merges, answer.branch_points)


# -- where Alembic is wrong --------------------------------------------------------------------------------------------


def test_audit__cycle_between_a_head_and_a_base__is_found_though_alembic_misses_it(
    alembic: Oracle, tmp_path: Path
) -> None:
    make_alembic(tmp_path, chain(a=None, b="('a', 'c')", c="'b'", d="'c'"))

    report = audit(tmp_path)

    assert alembic.ask(tmp_path).error == ""
    (cycle,) = find(report, "MG101")
    assert sorted(cycle.cycle or ()) == ["b", "c"]
    assert cycle.affected == 3


def test_audit__two_files_with_one_id__both_stay_though_alembic_keeps_the_last(alembic: Oracle, tmp_path: Path) -> None:
    make_alembic(
        tmp_path,
        {"a.py": render("a"), "b_one.py": render("b", "'a'"), "b_two.py": render("b", "'a'")},
    )

    report, answer = audit(tmp_path), alembic.ask(tmp_path)

    assert (answer.error, set(answer.heads)) == ("", {"b"})
    assert "Revision b is present more than once" in answer.warnings
    (double,) = find(report, "MG103")
    assert (report.revisions, double.file, double.revisions) == (3, "alembic/versions/b_two.py", ("b",))
    assert "b_one.py" in double.message


def test_audit__loop_of_all__is_one_cycle_where_alembic_names_every_revision(alembic: Oracle, tmp_path: Path) -> None:
    names = [f"r{number:02}" for number in range(30)]
    parents = dict(zip(names, [f"'{names[3]}'", *(f"'{name}'" for name in names)], strict=False))
    make_alembic(tmp_path, chain(**parents))

    report, answer = audit(tmp_path), alembic.ask(tmp_path)

    assert answer.error in {"CycleDetected", "CommandError"}
    assert all(name in answer.message for name in names)
    (cycle,) = find(report, "MG101")
    assert sorted(cycle.cycle or ()) == names[:4]
    assert len(cycle.cuts) == 4


# -- what Alembic accepts and refuses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "code"),
    [
        (chain(a=None, b="'a'", c="'b'"), None),
        (chain(a=None, b="'gone'"), "MG102"),
        (chain(a="'a'"), "MG104"),
        (chain(abcdef=None, b="'abc'"), "MG102"),
        (chain(a=None, b="''"), "MG102"),
        (chain(a="()", b="['a']"), None),
        (chain(a="(None,)", b="{'a': 1}"), None),
        (chain(a="5"), "MG102"),
        ({"a.py": render("a", more="depends_on = 'gone'\n")}, "MG107"),
        ({"a.py": render("a", more="depends_on = 'a'\n")}, "MG104"),
        ({"a.py": render("a", more="branch_labels = 'x'\ndepends_on = ('x',)\n")}, "MG104"),
        ({"a.py": render("a", more="depends_on = ''\n")}, "MG107"),
        ({"abcdef.py": render("abcdef"), "b.py": render("b", more="depends_on = 'abc'\n")}, "MG107"),
        ({"a.py": render("a", more="branch_labels = 'x'\n"), "b.py": render("b", more="depends_on = 'x'\n")}, None),
        ({"a.py": render("a", more="branch_labels = 'x'\n"), "b.py": render("b", "'x'")}, "MG102"),
        (
            {"a.py": render("a", more="branch_labels = 'x'\n"), "b.py": render("b", more="branch_labels = 'x'\n")},
            "MG110",
        ),
        ({"a.py": render("a", more="branch_labels = 'b'\n"), "b.py": render("b")}, "MG110"),
        (chain(**{"a-b": None}), "MG105"),
        ({"a.py": "revision = 1\ndown_revision = None\n"}, "MG105"),
        ({"a.py": "revision = 'a'\n"}, "MG105"),
        ({"abc123.py": "down_revision = None\n"}, None),
        ({"helpers.py": "X = 1\n"}, "MG105"),
        ({"a.py": render("a"), ".#b.py": "(", "__init__.py": "(", "__init__x.py": "(", "n.txt": "("}, None),
        ({"a.py": b"\xef\xbb\xbf" + render("a").encode()}, None),
        ({"a.py": b"# -*- coding: latin-1 -*-\n# \xe9\n" + render("a").encode()}, None),
        ({"a.py": render("a").encode() + b"# \xe9\n"}, None),
        ({"a.py": b"# -*- coding: nonsense -*-\n" + render("a").encode()}, "MG105"),
        ({"a.py": render("a").replace("\n", "\r\n")}, None),
        ({"a.py": render("a") + "\nreturn 1\n"}, "MG105"),
        ({"a.py": render("a") + "\ndef f(:\n"}, "MG105"),
        ({"a.py": render("a").encode() + b"\0"}, "MG105"),
        ({"a.py": render("a").encode("utf-16")}, "MG105"),
        ({"a.py": render("a"), "inner/b.py": "("}, None),
    ],
)
def test_audit__one_folder__stops_where_alembic_stops(
    alembic: Oracle, tmp_path: Path, files: dict[str, str | bytes], code: str | None
) -> None:
    make_alembic(tmp_path, files)

    report, answer = audit(tmp_path), alembic.ask(tmp_path)

    stops = {finding.code for finding in report.findings} & (STOPS | {"MG110"})
    assert stops == ({code} if code else set()), report.findings
    assert bool(answer.error) == (code is not None), answer
    if code is None:
        assert_same(report, answer)
