"""`golive-audit`, the entry point: its exit code is the audit's, and it runs nothing of the folder that it looks at."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.package.environments import FreshEnvironment, make_environment, pip
from tests.release import Distributions
from tests.support.documents import find_blocks

pytestmark = pytest.mark.slow

# What a hostile folder may hold: the package itself, and modules that the audit imports.
HOSTILE = (
    *("golive/__init__.py", "golive/migration_graph/__init__.py", "golive/migration_graph/cli.py"),
    *("argparse.py", "ast.py", "json.py", "pathlib.py", "sitecustomize.py", "usercustomize.py", "django/__init__.py"),
)


@pytest.fixture(scope="module")
def bare(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> FreshEnvironment:
    """The wheel and what it requires, which for this Python is nothing: the audit needs the standard library alone."""
    made = make_environment(tmp_path_factory.mktemp("bare"), sees_ours=False)
    pip("install", distributions.wheel, into=made, with_dependencies=True)
    return made


def write_revisions(folder: Path, **parents: str | None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for revision, parent in parents.items():
        (folder / f"{revision}.py").write_text(
            f"revision = {revision!r}\ndown_revision = {parent!r}\n\n\ndef upgrade():\n    pass\n"
        )
    return folder


def test_exit_code__is_that_of_the_audit(bare: FreshEnvironment, tmp_path: Path) -> None:
    sound = write_revisions(tmp_path / "sound", a1=None, b2="a1")
    broken = write_revisions(tmp_path / "broken", a1="b2", b2="a1")
    empty = tmp_path / "empty"
    empty.mkdir()

    codes = {folder.name: bare.run(bare.audit, folder, folder=tmp_path).returncode for folder in (sound, broken, empty)}

    assert codes == {"sound": 0, "broken": 1, "empty": 2}


def test_environment__of_the_audited_project__does_not_matter(bare: FreshEnvironment, tmp_path: Path) -> None:
    write_revisions(tmp_path, a1=None)

    for variable in ("DATABASE_URL=nonsense", "DJANGO_SETTINGS_MODULE=not.there", "APP_ENV=x", "GOLIVE_UNHEARD_OF=1"):
        done = bare.run("env", variable, bare.audit, tmp_path, folder=tmp_path)

        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [("nowhere",), ("--unheard-of",)])
def test_error__is_one_line_in_the_name_of_the_program(
    bare: FreshEnvironment, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = bare.run(bare.audit, *arguments, folder=tmp_path)

    assert done.returncode == 2
    assert re.fullmatch(r"golive-audit: .+\n", done.stderr)


def test_command__of_the_guide__audits_a_project(bare: FreshEnvironment, tmp_path: Path) -> None:
    block = find_blocks("docs/embed/install.md")[-1]
    (command,) = block.commands()
    name, path = shlex.split(command)
    write_revisions(tmp_path / path, a1=None, b2="a1")

    done = bare.run(bare.folder / "bin" / name, path, folder=tmp_path)

    assert block.run_by == "tests/package/test_audit_program.py"
    assert done.returncode == 0, done.stdout + done.stderr


def test_folder__that_holds_modules_of_the_same_names__runs_none_of_them(
    bare: FreshEnvironment, tmp_path: Path
) -> None:
    write_revisions(tmp_path, a1="b2", b2="a1")
    ran = tmp_path / "ran"
    for name in HOSTILE:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"open({str(ran)!r}, 'a').write(__name__ + ' ')\n\n\ndef main():\n    return 0\n")

    done = bare.run(bare.audit, ".", folder=tmp_path)

    assert not ran.exists(), ran.read_text()
    assert done.returncode == 1
    assert "MG101" in done.stdout


def test_report__that_needs_files_of_the_package__has_them(bare: FreshEnvironment, tmp_path: Path) -> None:
    write_revisions(tmp_path, a1=None, b2="a1")

    done = bare.run(bare.audit, ".", "--format", "html", folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "<style>" in done.stdout


def test_uvx__of_the_wheel__runs_the_audit(distributions: Distributions, tmp_path: Path) -> None:
    folder = write_revisions(tmp_path / "broken", a1="b2", b2="a1")
    command = [
        sys.executable,
        "-m",
        "uv",
        "tool",
        "run",
        "--from",
        str(distributions.wheel),
        "golive-audit",
        str(folder),
    ]

    done = subprocess.run(
        [*command[:5], "--offline", "--no-config", "--python", sys.executable, *command[5:]],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "UV_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1, done.stderr
    assert "MG101 cycle" in done.stdout


def test_guard__without_django__can_be_imported(bare: FreshEnvironment, tmp_path: Path) -> None:
    asked = "from golive.guard import GateClient; print(GateClient('http://127.0.0.1:9/gate/').check())"

    assert bare.run(bare.python, "-c", asked, folder=tmp_path).stdout == "STATE_UNKNOWN\n"


@pytest.mark.parametrize("code", ["import golive.apps", "from golive import is_execution_allowed"])
def test_app__without_django__says_what_it_needs(bare: FreshEnvironment, tmp_path: Path, code: str) -> None:
    # Where Django is and psycopg is not, it is the app itself that notices.
    django = tmp_path / "django"
    for name, text in {"apps": "class AppConfig: pass", "core/signals": "request_finished = None"}.items():
        path = django / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    missing = "psycopg" if code == "import golive.apps" else "django and psycopg"
    folder = tmp_path if code == "import golive.apps" else tmp_path / "elsewhere"
    folder.mkdir(exist_ok=True)

    done = bare.run(bare.python, "-c", code, folder=folder)

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        f"ImportError: golive, the app, needs {missing}: pip install 'valhalla-go-live[django]'."
    )
