"""What is in the sdist and in the wheel, and what `make release` refuses."""

from __future__ import annotations

import ast
import re
import shlex
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.package.conftest import copy_tree
from tests.package.environments import make_environment, pip
from tests.release import BuildError, Distributions, build, find_faults, read_heading
from tests.support.documents import find_blocks
from tests.support.requirements import read_locked
from tests.support.server import ROOT

pytestmark = pytest.mark.slow

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_wheel__holds_the_app_and_all_its_files__and_nothing_else(tree: Path, distributions: Distributions) -> None:
    with zipfile.ZipFile(distributions.wheel) as wheel:
        names = set(wheel.namelist())

    assert find_faults(tree, distributions) == []
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"golive"}
    assert {
        "golive/py.typed",
        "golive/migrations/0001_initial.py",
        "golive/migration_graph/reports/page.css",
        "golive/static/golive/status.js",
        "golive/templates/admin/golive/singleton.html",
    } <= names
    # These would take the place of the host's own.
    assert not {name for name in names if re.fullmatch(r"golive/templates/(admin/)?[^/]+\.html", name)}


def test_sdist__holds_what_the_wheel_is_built_from__and_no_tests(distributions: Distributions) -> None:
    with tarfile.open(distributions.sdist) as archive:
        tops = {name.split("/")[1] for name in archive.getnames() if "/" in name}

    assert {"golive", "pyproject.toml", "README.md", "CHANGELOG.md"} <= tops
    assert not {"tests", "valhalla"} & tops


def test_pip_wheel__of_the_checkout__holds_the_same_files(
    tree: Path, distributions: Distributions, tmp_path: Path
) -> None:
    pip("wheel", "--no-build-isolation", "--wheel-dir", tmp_path, tree)

    (made,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(made) as ours, zipfile.ZipFile(distributions.wheel) as released:
        assert set(ours.namelist()) == set(released.namelist())


def test_pip_install__editable__imports_the_checkout(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "tree")
    environment = make_environment(tmp_path / "environment")

    pip("install", "--no-build-isolation", "--editable", tree, into=environment)

    where = environment.run(environment.python, "-c", "import golive; print(golive.__file__)", folder=tmp_path)
    assert where.stdout.strip() == str(tree / "golive" / "__init__.py")
    assert environment.run(environment.audit, "--help", folder=tmp_path).returncode == 0
    # The project around the app is nobody else's.
    assert environment.run(environment.python, "-c", "import valhalla", folder=tmp_path).returncode == 1


def test_pip_install__as_the_guide_says__brings_the_app(distributions: Distributions, tmp_path: Path) -> None:
    block = find_blocks("docs/embed/install.md")[0]
    (command,) = block.commands()
    name, *arguments = shlex.split(command)
    environment = make_environment(tmp_path / "environment")

    # Where somebody stands who has just built it. All that it requires is installed beside pytest already.
    pip(*arguments, into=environment, folder=distributions.wheel.parent, with_dependencies=True)

    assert (block.run_by, name) == ("tests/package/test_distributions.py", "pip")
    assert environment.run(environment.python, "-c", "import golive", folder=tmp_path).returncode == 0
    assert environment.audit.exists()


# -- requirements ------------------------------------------------------------------------------------------------------


def test_requirements__of_the_package__are_met_by_the_pinned_ones() -> None:
    locked = {name: pin.specifier for name, pin in read_locked("requirements.txt").items()}
    extras = PROJECT["optional-dependencies"]
    wanted = [Requirement(text) for text in (*extras["django"], *extras["service"])]

    unmet = [str(want) for want in wanted if not want.specifier.contains(str(locked[want.name.lower()])[2:])]

    assert unmet == []


def test_requirements__of_the_package__name_all_that_the_app_imports() -> None:
    imported = set()
    for path in (ROOT / "golive").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])

    needed = (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["django"])
    required = {Requirement(text).name.lower() for text in needed}
    # Django is nothing without asgiref.
    assert imported - set(sys.stdlib_module_names) - {"golive", "asgiref"} == required


def test_requirements__of_the_audit_and_the_guard__are_none_but_a_parser_for_old_pythons() -> None:
    needed = [Requirement(text) for text in PROJECT["dependencies"]]

    in_use = {
        version: {
            need.name for need in needed if need.marker is None or need.marker.evaluate({"python_version": version})
        }
        for version in ("3.9", "3.10", "3.11", "3.14")
    }
    assert in_use == {"3.9": {"tomli"}, "3.10": {"tomli"}, "3.11": set(), "3.14": set()}


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_release__that_is_not_whole__is_refused(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "tree")
    settings = tree / "pyproject.toml"
    text = settings.read_text()
    for good, bad in (
        (', "templates/**/*.html"', ""),
        ('include = ["golive", "golive.*"]', 'include = ["*"]'),
        ('readme = "README.md"\n', ""),
    ):
        assert good in text
        text = text.replace(good, bad)
    settings.write_text(text)

    faults = find_faults(tree, build(tree, tmp_path / "dist"))

    assert "The wheel lacks golive/templates/golive/status.html." in faults
    assert "The wheel holds valhalla/settings.py, which is not in the package." in faults
    assert len([fault for fault in faults if fault.endswith("has no description in Markdown.")]) == 2


def test_release__of_a_version_that_the_changelog_or_the_build_does_not_have__is_refused(
    distributions: Distributions, tmp_path: Path
) -> None:
    tree = copy_tree(tmp_path / "tree")
    settings = tree / "pyproject.toml"
    settings.write_text(settings.read_text().replace(f'version = "{PROJECT["version"]}"', 'version = "99.0"'))

    assert find_faults(tree, distributions) == [
        "CHANGELOG.md has no heading `## 99.0`.",
        *(
            f"{path.name} is of version {PROJECT['version']}, and pyproject.toml of 99.0."
            for path in (distributions.sdist, distributions.wheel)
        ),
    ]


def test_release__whose_build_fails__says_why(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "tree")
    (tree / "pyproject.toml").write_text("[project")

    with pytest.raises(BuildError, match=r"pyproject\.toml"):
        build(tree, tmp_path / "dist")


@pytest.mark.parametrize(
    ("changelog", "heading"),
    [
        ("# Changelog\n\n## 1.2.0 (unreleased)\n\n- New.\n", "## 1.2.0 (unreleased)"),
        ("# Changelog\n\n## 1.2.0 (2026-11-25)\n", "## 1.2.0 (2026-11-25)"),
        ("## 1.2.0\n", "## 1.2.0"),
        ("## 1.2.01\n\n## 11.2.0\n\n## 1x2.0\n\nIn ## 1.2.0\n", None),
    ],
)
def test_changelog__heading_of_a_version__is_that_version_s_alone(changelog: str, heading: str | None) -> None:
    assert read_heading(changelog, "1.2.0") == heading
