"""The package built once from a copy of the checkout, and installed once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.package.environments import FreshEnvironment, make_environment, pip
from tests.release import Distributions, build
from tests.support.server import ROOT

_BUILT_FROM = ("CHANGELOG.md", "MANIFEST.in", "README.md", "pyproject.toml")


def copy_tree(folder: Path) -> Path:
    """What the package is built from, with other packages beside it, where a build may leave what it likes."""
    folder.mkdir()
    for name in ("golive", "valhalla", "tests/package"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in _BUILT_FROM:
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_tree(tmp_path_factory.mktemp("built") / "tree")


@pytest.fixture(scope="session")
def distributions(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    return build(tree, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def environment(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> FreshEnvironment:
    """The wheel, with Django and the rest as pytest has them."""
    made = make_environment(tmp_path_factory.mktemp("environment"))
    pip("install", distributions.wheel, into=made)
    return made
