"""Our reading of a Django project against Django's own loader."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from golive.migration_graph.audit import audit
from golive.migration_graph.model import Kind
from tests.migration_graph.folders import write
from tests.migration_graph.oracles import Answer, Oracle
from tests.support.profiles import examples

STOPS = {"MG101", "MG102", "MG104", "MG105", "MG107"}
NUMBERS = count()
HEAD = (
    "from django.conf import settings\nfrom django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
)
Target = tuple[str, str]


@pytest.fixture(scope="module")
def django() -> Iterator[Oracle]:
    oracle = Oracle("django")
    yield oracle
    oracle.close()


def render(dependencies: object = (), **more: object) -> str:
    lines = [f"    dependencies = {list(dependencies)!r}\n"]  # type: ignore[call-overload]
    return HEAD + "".join([*lines, *(f"    {name} = {value!r}\n" for name, value in more.items())])


def make_project(root: Path, apps: dict[str, dict[str, str]], *, settings_text: str = "") -> Path:
    """`apps`: folder -> migration -> source."""
    write(root, {"manage.py": "", "site_of_tests/settings.py": settings_text})
    for app, migrations in apps.items():
        write(root / app, {"__init__.py": "", "models.py": ""})
        files: dict[str, str | bytes] = {"__init__.py": ""}
        write(root / app / "migrations", files | {f"{name}.py": text for name, text in migrations.items()})
    return root


def assert_agrees(root: Path, answer: Answer) -> None:
    report = audit(root)
    assert report.kind is Kind.DJANGO
    codes = {finding.code for finding in report.findings}
    assert bool(answer.error) == bool(codes & STOPS), (answer, report.findings)
    if not answer.error:
        assert sorted(report.graph.heads) == sorted(answer.heads)
        assert sorted(report.graph.bases) == sorted(answer.bases)


@st.composite
def write_apps(draw: st.DrawFn) -> dict[str, dict[str, str]]:
    """Two or three apps whose migrations depend on each other, often soundly; names are new for each example."""
    labels = [f"app{next(NUMBERS)}" for _ in range(draw(st.integers(1, 3)))]
    every = [(label, f"000{number}") for label in labels for number in range(1, draw(st.integers(1, 4)) + 1)]
    is_wild = draw(st.integers(0, 3)) == 0
    order = draw(st.permutations(every))
    apps: dict[str, dict[str, str]] = {label: {} for label in labels}
    squashed = draw(st.sampled_from([*every, None, None]))
    for place, (label, name) in enumerate(order):
        reach = [*every, (label, "gone")] if is_wild else list(order[:place])
        parents: set[Target] = set(draw(st.lists(st.sampled_from(reach), max_size=2))) if reach else set()
        parents |= {(other, draw(st.sampled_from(["__first__", "__latest__"]))) for other in labels if is_wild}
        later = [target for target in order[place + 1 :] if target[0] != label]
        has_before = bool(later) and draw(st.booleans())
        before = draw(st.lists(st.sampled_from(later), max_size=1)) if has_before else []
        more = {"run_before": before} if before else {}
        apps[label][name] = render(sorted(parents), **more)
    if squashed:
        label = squashed[0]
        inside = [target for target in every if target[0] == label][:2]
        gone = draw(st.booleans())
        apps[label]["0001_squashed"] = render([], replaces=inside)
        if gone and len(apps[label]) > 2:
            del apps[label][inside[0][1]]
    return apps


@given(apps=write_apps())
@settings(max_examples=examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_audit__random_project__agrees_with_django(django: Oracle, apps: dict[str, dict[str, str]]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="parity-"))
    try:
        make_project(folder, apps)
        assert_agrees(folder, django.ask(folder, apps=list(apps)))
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("migrations", "is_sound"),
    [
        ({"0001": render(), "0002": render([("shop", "0001")])}, True),
        ({"0001": render(), "0002": render([("shop", "0001")]), "0003": render([("shop", "0001")])}, True),
        ({"0001": render([("shop", "0001")])}, False),
        ({"0001": render(), "0002": render([("shop", "gone")])}, False),
        ({"0001": render([("shop", "0002")]), "0002": render([("shop", "0001")])}, False),
        ({"0001": render(), "_0002": "(", "~0003": "(", "0004.b": "("}, True),
        ({"0001": render(), "x-y z": render([("shop", "0001")])}, True),
        ({"0001": "X = 1\n"}, False),
        ({"0001": HEAD + "    pass\n"}, True),
        ({"0001": render() + "    dependencies = []\n", "0002": render([("shop", "__first__")])}, True),
        ({"0002": render([("shop", "0001")]), "0001_squashed": render(replaces=[("shop", "0001")])}, True),
        ({"0001": HEAD + "    base = 'shop'\n    dependencies = [*[(base, '0002')]]\n", "0002": render()}, True),
    ],
)
def test_audit__one_app__agrees_with_django(
    django: Oracle, tmp_path: Path, migrations: dict[str, str], *, is_sound: bool
) -> None:
    make_project(tmp_path, {"shop": migrations})

    answer = django.ask(tmp_path, apps=["shop"])

    assert (not answer.error) is is_sound, answer
    assert_agrees(tmp_path, answer)


def test_audit__two_leaves_of_one_app__are_multiple_heads_of_that_app(tmp_path: Path) -> None:
    first = {"0001": render()}
    two = {**first, "0002": render([("shop", "0001")]), "0003": render([("shop", "0001")])}
    make_project(tmp_path, {"shop": two, "cart": first, "stock": first})

    report = audit(tmp_path)

    assert [(finding.code, finding.revisions) for finding in report.findings] == [("MG201", ("shop.0002", "shop.0003"))]
    assert report.graph.heads == ("cart.0001", "shop.0002", "shop.0003", "stock.0001")
    assert report.branch_points == 1


def test_audit__label_of_the_app_config__names_the_nodes(tmp_path: Path) -> None:
    make_project(tmp_path, {"deep/inside/shop": {"0001": render(), "0002": render([("store", "0001")])}})
    config = "class C(AppConfig):\n    name = 'deep.inside.shop'\n    label = 'store'\n"
    write(tmp_path / "deep/inside/shop", {"apps.py": config})

    report = audit(tmp_path)

    assert (report.graph.heads, report.sound) == (("store.0002",), True)


@pytest.mark.parametrize(
    ("settings_text", "parents"),
    [
        ("AUTH_USER_MODEL = 'people.User'\n", ("people/migrations/0001.py",)),
        ("from site_of_tests.base import *\n", ("people/migrations/0001.py",)),
        ("", ()),
    ],
)
def test_audit__swappable_dependency__leads_to_the_app_of_the_setting(
    tmp_path: Path, settings_text: str, parents: tuple[str, ...]
) -> None:
    swappable = HEAD + "    dependencies = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]\n"
    make_project(tmp_path, {"people": {"0001": render()}, "shop": {"0001": swappable}}, settings_text=settings_text)
    write(tmp_path / "site_of_tests", {"__init__.py": "", "base.py": "AUTH_USER_MODEL = 'people.User'\n"})

    report = audit(tmp_path)

    assert report.sound
    assert report.graph.parents.get("shop/migrations/0001.py", ()) == parents


def test_audit__app_out_of_the_project__is_no_error_but_a_gap_within_it_is(tmp_path: Path) -> None:
    make_project(
        tmp_path,
        {
            "shop": {"0001": render([("auth", "0012_alter"), ("contenttypes", "__first__"), ("cart", "0009")])},
            "cart": {"0001": render()},
        },
    )

    report = audit(tmp_path)

    assert [(finding.code, finding.file, finding.line) for finding in report.findings] == [
        ("MG107", "shop/migrations/0001.py", 6)
    ]
    assert "'cart.0009'" in report.findings[0].message


def test_audit__run_before_that_closes_a_loop__names_the_line_of_run_before(tmp_path: Path) -> None:
    cart = render([("shop", "0001")])
    shop = render([]) + "    run_before = [('cart', '0001')]\n"
    make_project(tmp_path, {"shop": {"0001": shop + "    dependencies = [('cart', '0001')]\n"}, "cart": {"0001": cart}})

    (cycle,) = audit(tmp_path).findings

    assert cycle.code == "MG101"
    assert sorted(cycle.cycle or ()) == ["cart.0001", "shop.0001"]


def test_audit__element_that_needs_execution__is_reported_and_the_others_hold(tmp_path: Path) -> None:
    text = HEAD + "    dependencies = [\n        ('shop', '0001'),\n        other(),\n    ]\n"
    make_project(tmp_path, {"shop": {"0001": render(), "0002": text}})

    report = audit(tmp_path)

    assert [(finding.code, finding.line) for finding in report.findings] == [("MG106", 8)]
    assert report.graph.heads == ("shop.0002",)


@pytest.mark.parametrize(
    ("operation", "is_reversible"),
    [
        ("migrations.RunPython(forwards)", False),
        ("migrations.RunPython(forwards, None)", False),
        ("migrations.RunPython(forwards, backwards)", True),
        ("migrations.RunPython(forwards, reverse_code=migrations.RunPython.noop)", True),
        ("migrations.RunSQL('SELECT 1')", False),
        ("migrations.RunSQL('SELECT 1', reverse_sql='')", True),
        ("migrations.SeparateDatabaseAndState([migrations.RunSQL('SELECT 1')], [])", False),
        ("migrations.RunPython(**both)", True),
        ("migrations.AddField('a', 'b', c)", True),
    ],
)
def test_audit__operation_without_a_way_back__is_irreversible(
    tmp_path: Path, operation: str, *, is_reversible: bool
) -> None:
    make_project(tmp_path, {"shop": {"0001": render() + f"    operations = [{operation}]\n"}})

    assert [finding.code for finding in audit(tmp_path).findings] == ([] if is_reversible else ["MG204"])
