"""What a database has run against the files: unknown names, and the order of an upgrade as the real tools have it."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from golive.database.applied_migrations import read_applied
from golive.migration_graph.findings.applied import Knowledge, Rebuild, compare_applied, find_unknown
from golive.migration_graph.graph.build import build_graph
from golive.migration_graph.graph.upgrades import plan_upgrade
from golive.migration_graph.model import (
    AppliedRows,
    Finding,
    Graph,
    Kind,
    Node,
    ParsedFile,
    Reference,
    Report,
    Role,
    Severity,
)
from tests.migration_graph.incident import revision
from tests.support.profiles import examples

Shape = Mapping[str, tuple[Sequence[str], Sequence[str]]]


def make_report(shape: Shape, *findings: Finding, kind: Kind = Kind.ALEMBIC) -> Report:
    """`shape`: name -> parents, dependencies."""
    files = []
    for name, (parents, dependencies) in shape.items():
        references = [Reference(parent, 1) for parent in parents]
        references += [Reference(other, 1, Role.DEPENDENCY) for other in dependencies]
        key = name.replace(".", "/migrations/") if kind is Kind.DJANGO else name
        files.append(ParsedFile(f"{key}.py", Node(f"{key}.py", name, 1, tuple(references))))
    return Report("here", build_graph(kind, files), findings, 0, 0)


def refuse_to_rebuild(partly_applied: frozenset[str]) -> Graph:
    raise AssertionError(partly_applied)


def compare(
    report: Report, applied: Sequence[str], rebuild: Rebuild = refuse_to_rebuild, *, id_length: int | None = None
) -> Report:
    """Compare with a database of which nothing tells what ran. `rebuild`: for squashed migrations."""
    knowledge = Knowledge(rebuild, {key: key for key in report.graph.nodes})
    return compare_applied(report, AppliedRows("sqlite:///x", tuple(applied), id_length), knowledge)


CHAIN: Shape = {"a1": ([], []), "b2": (["a1"], []), "c3": (["b2"], [])}


def describe(report: Report) -> list[tuple[str, tuple[str, ...]]]:
    return [(finding.code, finding.revisions) for finding in report.findings]


def test_compare__a_database_that_is_current__finds_nothing() -> None:
    report = compare(make_report(CHAIN), ["c3"])

    assert (describe(report), report.pending) == ([], ())


def test_compare__a_database_that_is_behind__tells_what_would_run() -> None:
    report = compare(make_report(CHAIN), ["a1"])

    (finding,) = report.findings
    assert (finding.code, finding.name, finding.severity) == ("MG302", "database-behind", Severity.INFO)
    assert finding.revisions == report.pending == ("b2", "c3")
    assert report.sound


def test_compare__an_empty_table__would_run_everything() -> None:
    assert compare(make_report(CHAIN), []).pending == ("a1", "b2", "c3")


def test_compare__a_revision_without_a_file__is_an_error_that_names_near_ones() -> None:
    shape: Shape = {"1a2b3c4d5e6f": ([], []), "9f8e7d6c5b4a": (["1a2b3c4d5e6f"], [])}

    report = compare(make_report(shape), ["1a2b3c4d5e6e"])

    (finding,) = report.findings
    assert (finding.code, finding.name, finding.severity) == ("MG301", "database-revision-unknown", Severity.ERROR)
    assert finding.revisions == ("1a2b3c4d5e6e",)
    assert "1a2b3c4d5e6f" in finding.hint
    assert "9f8e7d6c5b4a" not in finding.hint
    assert report.pending is None


def test_compare__a_graph_that_cannot_be_loaded__plans_nothing() -> None:
    cycle = Finding("MG101", "cycle", Severity.ERROR, "a loop", "cut it")

    report = compare(make_report(CHAIN, cycle), ["a1"])

    assert (report.findings, report.pending) == ((cycle,), None)


def test_compare__an_id_for_which_the_column_has_no_room__is_an_error() -> None:
    report = make_report({"a" * 40: ([], [])}, Finding("MG109", "id-too-long", Severity.WARNING, "", "", file="a.py"))

    assert compare(report, [], id_length=64).sound
    assert compare(report, []).sound
    assert [(each.code, each.severity.value) for each in compare(report, [], id_length=32).findings] == [
        ("MG109", "warning"),
        ("MG109", "error"),
        ("MG302", "info"),
    ]


def test_compare__a_merge_of_what_comes_before_what_it_depends_on__is_refused_as_real_alembic_does() -> None:
    shape: Shape = {"a": ([], []), "b": ([], []), "c": ([], ["a"]), "m": (["a", "b"], ["c"])}

    report = compare(make_report(shape), [])

    assert ([code for code, _ in describe(report)], report.pending) == (["MG305"], None)
    assert compare(make_report(shape), ["c", "b"]).pending is None
    assert compare(make_report(shape), ["m"]).pending == ()


def test_unknown__applied_migrations_of_other_apps__are_no_concern() -> None:
    shape: Shape = {"shop.0001_initial": ([], [])}
    applied = ["shop.0001_initial", "shop.0002_gone", "auth.0001_initial"]

    assert find_unknown(make_report(shape, kind=Kind.DJANGO).graph, applied) == ("shop.0002_gone",)


def test_compare__django_with_an_unknown_migration__still_plans() -> None:
    shape: Shape = {"shop.0001_initial": ([], []), "shop.0002_next": (["shop.0001_initial"], [])}

    report = compare(make_report(shape, kind=Kind.DJANGO), ["shop.0001_initial", "shop.0001_gone"])

    assert [code for code, _ in describe(report)] == ["MG301", "MG302"]
    assert report.pending == ("shop.0002_next",)


@pytest.mark.parametrize("rows", [["a1", "b2"], ["b2", "a1"], ["a1", "c3"]])
def test_compare__rows_of_which_one_implies_the_other__are_refused(rows: list[str]) -> None:
    report = compare(make_report(CHAIN), rows)

    (finding,) = report.findings
    assert (finding.code, finding.severity, report.pending) == ("MG305", Severity.ERROR, None)
    assert "delete the row a1" in finding.hint


def test_compare__rows_that_overlap_by_a_dependency__are_refused() -> None:
    shape: Shape = {"a": ([], []), "b": ([], ["a"]), "m": (["a", "b"], [])}

    assert describe(compare(make_report(shape), ["a", "b"])) == [("MG305", ("a", "b"))]
    assert describe(compare(make_report(shape), ["b"])) == [("MG302", ("m",))]


def test_compare__django_with_an_applied_child_of_what_is_not__is_refused() -> None:
    shape: Shape = {"shop.0001": ([], []), "users.0001": ([], []), "shop.0002": (["shop.0001", "users.0001"], [])}

    report = compare(make_report(shape, kind=Kind.DJANGO), ["shop.0001", "shop.0002"])

    assert (describe(report), report.pending) == ([("MG305", ("shop.0002", "users.0001"))], None)
    assert "insert a row for users.0001 into django_migrations" in report.findings[0].hint


def make_squashed(*, gone: Sequence[str] = ()) -> list[ParsedFile]:
    files = []
    for name, parents in {"0001": [], "0002": ["0001"], "0001_squashed": [], "0003": ["0001_squashed"]}.items():
        references = tuple(Reference(f"shop.{parent}", 1) for parent in parents)
        replaces = ("shop.0001", "shop.0002") if name == "0001_squashed" else ()
        key = f"shop/migrations/{name}.py"
        if name not in gone:
            files.append(ParsedFile(key, Node(key, f"shop.{name}", 1, references), replaces=replaces))
    return files


@pytest.mark.parametrize(
    ("gone", "applied", "codes", "pending"),
    [
        ([], [], ["MG302"], ("0001_squashed", "0003")),
        ([], ["0001"], ["MG302"], ("0002", "0003")),
        ([], ["0001", "0002"], ["MG302"], ("0003",)),
        ([], ["0001", "0002", "0001_squashed"], ["MG302"], ("0003",)),
        (["0001", "0002"], ["0001"], ["MG305"], None),
        (["0001", "0002"], ["0001", "0002"], ["MG302"], ("0003",)),
    ],
)
def test_compare__a_squashed_migration__stands_for_the_old_ones_unless_a_part_of_them_is_applied(
    gone: list[str], applied: list[str], codes: list[str], pending: tuple[str, ...] | None
) -> None:
    files = make_squashed(gone=gone)
    report = Report("here", build_graph(Kind.DJANGO, files), (), 0, 0)

    compared = compare(
        report,
        [f"shop.{name}" for name in applied],
        lambda partly: build_graph(Kind.DJANGO, files, partly_applied=partly),
    )

    assert [code for code, _ in describe(compared)] == codes
    assert compared.pending == (None if pending is None else tuple(f"shop.{name}" for name in pending))


def test_unknown__what_a_squashed_migration_replaces__is_known_with_its_files_and_without() -> None:
    for gone in ([], ["0001", "0002"]):
        assert find_unknown(build_graph(Kind.DJANGO, make_squashed(gone=gone)), ["shop.0001"]) == ()


# -- as Alembic --------------------------------------------------------------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> tuple[Shape, list[str]]:
    """A sound graph with branches, merges and dependencies, and revisions that a database stands at."""
    count = draw(st.integers(1, 12))
    numbers = random.Random(draw(st.integers(0, 1 << 30)))
    names = [f"{numbers.randrange(16**6):06x}{number:02}" for number in range(count)]
    shape: dict[str, tuple[list[str], list[str]]] = {}
    for number, name in enumerate(names):
        before = names[:number]
        parents = draw(st.lists(st.sampled_from(before), max_size=2, unique=True)) if before else []
        # Alembic keeps several dependencies in a set, whose order is a new one in each process.
        others = draw(st.lists(st.sampled_from(before), max_size=1)) if draw(st.integers(0, 4)) == 0 and before else []
        shape[name] = (parents, [other for other in others if other not in parents])
    # Alembic refuses parents of which one lies before the other only when the database stands at both.
    return shape, draw(st.lists(st.sampled_from(names), max_size=1))


def write_alembic(folder: Path, shape: Shape) -> ScriptDirectory:
    versions = folder / "versions"
    versions.mkdir(parents=True)
    for name, (parents, dependencies) in shape.items():
        text = revision(name, tuple(parents) or None).replace(
            "depends_on = None", f"depends_on = {tuple(dependencies)!r}"
        )
        (versions / f"{name}.py").write_text(text)
    return ScriptDirectory(str(folder))


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow])
@given(histories())
def test_plan__any_sound_graph__is_the_order_of_real_alembic(
    tmp_path_factory: pytest.TempPathFactory, history: tuple[Shape, list[str]]
) -> None:
    shape, applied = history
    scripts = write_alembic(tmp_path_factory.mktemp("scripts", numbered=True) / "x", shape)
    steps = scripts._upgrade_revs("heads", tuple(applied) or None)  # type: ignore[arg-type]

    expected = [step.revision.revision for step in steps]

    assert plan_upgrade(make_report(shape).graph, applied) == tuple(expected)


ENV = """
from alembic import context
from sqlalchemy import create_engine
with create_engine(context.config.get_main_option("sqlalchemy.url")).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""


def test_plan__a_real_upgrade_on_sqlite__runs_it_in_this_order(tmp_path: Path) -> None:
    shape: Shape = {
        "a1": ([], []),
        "b2": (["a1"], []),
        "c3": (["a1"], []),
        "d4": (["b2", "c3"], []),
        "e5": ([], ["c3"]),
    }
    folder, log = tmp_path / "scripts", tmp_path / "log"
    write_alembic(folder, shape)
    for file in (folder / "versions").iterdir():
        step = f"open({str(log)!r}, 'a').write(revision + ' ')"
        file.write_text(file.read_text().replace("op.execute('select 1')", step))
    (folder / "env.py").write_text(ENV)
    url = f"sqlite:///{tmp_path / 'db.sqlite3'}"
    (tmp_path / "alembic.ini").write_text(f"[alembic]\nscript_location = {folder}\nsqlalchemy.url = {url}\n")

    def upgrade(target: str) -> tuple[list[str], tuple[str, ...]]:
        """What ran, and what the database says of it."""
        log.write_text("")
        command = [sys.executable, "-m", "alembic", "-c", str(tmp_path / "alembic.ini"), "upgrade", target]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return log.read_text().split(), read_applied(url, Kind.ALEMBIC).rows

    _, standing = upgrade("b2")
    pending = plan_upgrade(make_report(shape).graph, standing)
    ran, standing = upgrade("heads")

    assert (pending, len(ran)) == (tuple(ran), 3)
    assert plan_upgrade(make_report(shape).graph, standing) == ()
