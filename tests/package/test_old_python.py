"""What runs in programs of others runs on their Python: from 3.9 on, and with the same result."""

from __future__ import annotations

import ast
import builtins
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from golive.migration_graph.reports import FORMATS
from tests.guard.fake_gate import DENIED, FakeGate
from tests.migration_graph.folders import chain, make_alembic, render, write
from tests.migration_graph.incident import build_incident
from tests.support.server import ROOT

OLDEST = (3, 9)
FOR_OTHERS = (
    *("action", "golive/__init__.py", "golive/guard.py", "golive/migration_graph", "golive/text.py"),
    "golive/verify_record.py",
)
# Imported where `sys.version_info` allows it, or for type checkers alone.
NEWER = ("'enum.StrEnum' member", "'tomllib' module", "'wsgiref.types' module")
# Prints the report of each folder in each format, or why there is none.
AUDIT = """
import sys
from golive.migration_graph import cli

formats = sys.argv[1].split(",")
for folder in sys.argv[2:]:
    for form in formats:
        print(folder, form, flush=True)
        sys.stderr = sys.stdout
        print(cli.main([folder, "--history", "--format", form]), flush=True)
"""
ASK = "import sys; from golive.guard import GateClient; print(GateClient(sys.argv[1]).check())"
MIGRATION = "class Migration(migrations.Migration):\n    dependencies = [{}]\n    operations = []\n"


def list_sources() -> list[Path]:
    paths = [ROOT / name for name in FOR_OTHERS]
    return [source for path in paths for source in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]


def find_pythons() -> list[str]:
    """Each Python on this machine from the oldest on, one of a version; at least the one that runs the tests."""
    folders = [*os.get_exec_path(), *map(str, (Path.home() / ".pyenv/versions").glob("3.*/bin"))]
    found = {sys.version_info[:2]: sys.executable}
    for minor in range(OLDEST[1], sys.version_info.minor + 5):
        for program in filter(None, (shutil.which(f"python3.{minor}", path=folder) for folder in folders)):
            # The first may be a shim for a version that is not there.
            if (3, minor) not in found and run(program, "-c", "").returncode == 0:
                found[3, minor] = program
    return list(found.values())


def run(python: str, *arguments: str, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(map(str, dict.fromkeys((ROOT, path))))
    return subprocess.run(
        [python, *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )


def read(python: str, *arguments: str, path: Path = ROOT) -> str:
    """What it prints, without the version that a hint names."""
    return re.sub(r"this was Python 3\.\d+", "", run(python, *arguments, path=path).stdout)


def make_folders(root: Path) -> list[Path]:
    """A folder of each kind, sound and not."""
    locked = make_alembic(root / "locked", chain(a=None, b="'a'"))
    dates: dict[str, str | bytes] = {
        "a.py": render("a", date="2025-01-02T00:00:00Z"),
        "b.py": render("b", "'a'", date="2025-01-01 00:00:00"),
    }
    django = root / "django"
    write(
        django,
        {
            "manage.py": "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'host.settings')\n",
            "host/settings.py": "try:\n    from .local import *\nfinally:\n    pass\nINSTALLED_APPS = ['shop']\n",
            "shop/migrations/__init__.py": "",
            "shop/migrations/0001_initial.py": MIGRATION.format(""),
            "shop/migrations/0002_more.py": MIGRATION.format("('shop', '0001_initial'), ('shop', '0003_gone')"),
        },
    )
    return [
        locked,
        django,
        make_alembic(root / "cycle", chain(a="'c'", b="'a'", c="'b'")),
        make_alembic(root / "heads", chain(a=None, b="'a'", c="'a'", d="('b', 'gone')")),
        make_alembic(root / "dates", dates),
        make_alembic(root / "broken", {**chain(a=None), "b.py": "def f(:\n", "c.py": b"\0"}),
        make_alembic(root / "computed", {**chain(a=None), "b.py": render("b", "globals()['x']")}),
        build_incident(root / "incident").folder,
        root / "nowhere",
    ]


def test_source__is_syntax_and_library_of_the_oldest_python() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from vermin import main; main()", "-vv", "--no-tips", *map(str, list_sources())],
        capture_output=True,
        text=True,
        check=False,
    )
    needed = re.findall(r"^  (.+) requires !2, 3\.(\d+)$", done.stdout, re.MULTILINE)

    assert {what for what, minor in needed if int(minor) > OLDEST[1]} == set(NEWER), done.stdout
    for path in list_sources():
        ast.parse(path.read_bytes(), feature_version=OLDEST)


def test_source__has_no_union_that_is_evaluated() -> None:
    """`isinstance(x, A | B)` and `Name = A | None` need Python 3.10; in an annotation nothing is evaluated."""
    unions = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in list_sources()
        for node in walk_evaluated(ast.parse(path.read_bytes()))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) and is_type(node.left) and is_type(node.right)
    ]

    assert unions == []


def walk_evaluated(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that are evaluated where annotations are not."""
    yield tree
    for field, value in ast.iter_fields(tree):
        if field not in ("annotation", "returns"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from walk_evaluated(child)


def is_type(node: ast.expr) -> bool:
    if isinstance(node, ast.Subscript):
        return is_type(node.value)
    if isinstance(node, ast.BinOp):
        return is_type(node.left) and is_type(node.right)
    if isinstance(node, ast.Constant):
        return node.value is None
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    # A class or a built-in type, and no constant.
    return isinstance(getattr(builtins, name, None), type) or (name[:1].isupper() and not name.isupper())


@pytest.mark.slow
def test_audit__by_each_python_of_this_machine__says_the_same(tmp_path: Path) -> None:
    folders = [str(folder) for folder in make_folders(tmp_path)]
    lock = run(sys.executable, "-m", "golive.migration_graph", folders[0], "--write-lock")
    # What pip installs beside the package before Python 3.11: here without what is compiled for this one.
    tomli = Path(str(importlib.metadata.distribution("tomli").locate_file("tomli")))
    shutil.copytree(tomli, tmp_path / "site/tomli", ignore=shutil.ignore_patterns("*.so"))
    arguments = ["-c", AUDIT, ",".join(FORMATS), *folders]
    expected = read(sys.executable, *arguments)

    assert lock.returncode == 0, lock.stderr
    assert "MG101 cycle" in expected
    for python in find_pythons():
        assert read(python, *arguments, path=tmp_path / "site") == expected, python


@pytest.mark.slow
def test_audit__of_syntax_that_only_a_newer_python_knows__says_which_python_read_it(tmp_path: Path) -> None:
    more = "match 1:\n    case [*rest]:\n        pass\ntry:\n    pass\nexcept* ValueError:\n    pass\n"
    folder = make_alembic(tmp_path, {"a.py": render("a", more=more)})

    for python in find_pythons():
        done = run(python, "-m", "golive.migration_graph", str(folder))
        version = run(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").stdout.strip()
        is_old = version in ("3.9", "3.10")

        assert done.returncode == (1 if is_old else 0), done.stdout + done.stderr
        assert (f"this was Python {version}" in done.stdout) is is_old


def test_guard__in_each_python_of_this_machine__asks_the_gate() -> None:
    for python in find_pythons():
        with FakeGate(DENIED) as gate:
            done = run(python, "-c", ASK, gate.url)

        assert (done.stdout, done.stderr) == ("KILL_SWITCH_ENGAGED\n", ""), python


def test_app__on_a_python_that_is_too_old__says_so() -> None:
    for python in find_pythons():
        is_old = run(python, "-c", "import sys; print(sys.version_info < (3, 11))").stdout == "True\n"
        error = run(python, "-c", "from golive import is_execution_allowed").stderr

        assert ("golive, the app, needs Python 3.11 or newer" in error) is is_old
