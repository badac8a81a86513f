"""Real Alembic and real Django, each in a process of its own that answers for one folder after another.

`python -m tests.migration_graph.oracles alembic|django` reads folders as lines of JSON and answers in lines of JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.server import ROOT


@dataclass(frozen=True)
class Answer:
    """`error`: the class of the exception that loading ended with, or empty; `warnings`: what was warned of."""

    error: str
    heads: tuple[str, ...]
    bases: tuple[str, ...]
    merges: int
    branch_points: int
    warnings: tuple[str, ...]
    message: str


class Oracle:
    def __init__(self, tool: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.migration_graph.oracles", tool],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def ask(self, folder: object, **options: Any) -> Answer:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"folder": str(folder), **options}) + "\n")
        self.process.stdin.flush()
        said: dict[str, Any] = json.loads(self.process.stdout.readline())
        given: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in said.items()}
        return Answer(**given)

    def close(self) -> None:
        self.process.communicate(timeout=30)


def _ask_alembic(folder: str) -> dict[str, Any]:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(f"{folder}/alembic.ini")
    script = ScriptDirectory.from_config(config)
    heads, bases = script.get_heads(), script.get_bases()
    revisions = {id(revision): revision for revision in script.revision_map._revision_map.values() if revision}
    return {
        "heads": heads,
        "bases": bases,
        "merges": sum(revision.is_merge_point for revision in revisions.values()),
        "branch_points": sum(revision.is_branch_point for revision in revisions.values()),
    }


def _ask_django(folder: str, apps: list[str]) -> dict[str, Any]:
    from django.apps import apps as registry
    from django.db.migrations.loader import MigrationLoader

    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        registry.set_installed_apps(apps)
        try:
            graph = MigrationLoader(None).graph
        finally:
            registry.unset_installed_apps()
    finally:
        sys.path.remove(folder)
        for name in list(sys.modules):
            if name.partition(".")[0] in {app.partition(".")[0] for app in apps}:
                del sys.modules[name]
    return {
        "heads": [".".join(node) for node in graph.leaf_nodes()],
        "bases": [".".join(node) for node in graph.root_nodes()],
    }


def main(tool: str) -> None:
    asked: dict[str, Callable[..., dict[str, Any]]] = {"alembic": _ask_alembic, "django": _ask_django}
    if tool == "django":
        import django
        from django.conf import settings

        settings.configure(INSTALLED_APPS=[], SECRET_KEY="x")
        django.setup()
    for line in sys.stdin:
        answer: dict[str, Any] = {"heads": [], "bases": [], "merges": 0, "branch_points": 0, "error": "", "message": ""}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                answer |= asked[tool](**json.loads(line))
            except Exception as error:  # noqa: BLE001 - whatever stops the real tool is the answer
                answer |= {"error": type(error).__name__, "message": str(error)}
        answer["warnings"] = [str(warning.message) for warning in caught]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
