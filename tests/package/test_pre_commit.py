"""The hook of this repository, run by pre-commit itself in somebody else's repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.migration_graph.git_repository import run_git
from tests.package.environments import SECONDS
from tests.support.server import ROOT

pytestmark = pytest.mark.slow

_CONFIG = """
repos:
  - repo: {repository}
    rev: {revision}
    hooks:
      - id: audit-migrations
        args: [{path}]
"""


def commit(folder: Path) -> str:
    """Commit all that is in the folder; the name of the commit."""
    run_git(folder, "init", "--quiet")
    run_git(folder, "add", "--all")
    run_git(folder, *("-c", "user.name=A", "-c", "user.email=a@example.org"), "commit", "--quiet", "--message", "All")
    return run_git(folder, "rev-parse", "HEAD")


def run_hook(project: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """`pre-commit run` in an environment that it makes, without network."""
    environment = {
        "PATH": os.environ["PATH"],
        "PIP_NO_INDEX": "1",
        # The build would download what virtualenv brings along.
        "PIP_NO_BUILD_ISOLATION": "0",
        "VIRTUALENV_SETUPTOOLS": "bundle",
        "PRE_COMMIT_HOME": str(home),
        "HOME": str(home),
    }
    return subprocess.run(
        [sys.executable, "-m", "pre_commit", "run", "--all-files", "--verbose"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


def test_hook__in_another_repository__is_installed_without_django_and_fails_on_a_broken_graph(
    tree: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "hook"
    shutil.copytree(tree, repository)
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", repository)
    versions = tmp_path / "project/backend/versions"
    versions.mkdir(parents=True)
    for revision, parent in (("a1", None), ("b2", "a1")):
        source = f"revision = {revision!r}\ndown_revision = {parent!r}\n\n\ndef upgrade():\n    pass\n"
        (versions / f"{revision}.py").write_text(source)
    project = tmp_path / "project"
    config = _CONFIG.format(repository=repository, revision=commit(repository), path="backend")
    (project / ".pre-commit-config.yaml").write_text(config)
    commit(project)

    sound = run_hook(project, tmp_path / "home")
    (versions / "a1.py").write_text((versions / "a1.py").read_text().replace("None", "'b2'"))
    broken = run_hook(project, tmp_path / "home")

    assert sound.returncode == 0, sound.stdout + sound.stderr
    assert "audit migrations" in sound.stdout
    assert "Sound" in sound.stdout
    assert broken.returncode == 1
    assert "MG101 cycle" in broken.stdout
    assert not list((tmp_path / "home").rglob("site-packages/django"))
