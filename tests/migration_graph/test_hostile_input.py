"""What a stranger's repository may hold on purpose: bounded in time and memory, and nothing of the machine is told.

Each audit is a process of its own with little memory, so that a fault fails its test instead of all of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golive.migration_graph import cli
from golive.migration_graph.audit import audit
from golive.migration_graph.discovery import contents
from golive.migration_graph.model import Kind, UnusableInputError
from golive.migration_graph.readers.files import read_file
from golive.migration_graph.reports import FORMATS
from tests.migration_graph.folders import chain, find, make_alembic, render, write
from tests.support.patience import SLACK
from tests.support.profiles import examples
from tests.support.server import ROOT

# What each audit may take; the machine may be slow, but not a hundred times.
SECONDS, MEMORY = 5, 3_000_000_000
SECRET = "PASSWORD=hunter2"
AUDIT = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({MEMORY}, {MEMORY}))
from golive.migration_graph.cli import main
sys.exit(main())
"""
BIG_NUMBER = "0x" + "f" * 100_000


def run_audit(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The audit of a folder, which must end as any other does: with its exit code and without a traceback."""
    done = subprocess.run(
        [sys.executable, "-c", AUDIT, str(folder), *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "SECRET": SECRET},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS * SLACK,
    )
    assert done.returncode in (0, 1, 2), done.stderr
    assert "Traceback" not in done.stderr, done.stderr[-2_000:]
    assert (done.returncode == 2) is bool(done.stderr)
    assert done.stderr.count("\n") <= 1
    assert len(done.stderr) < 2_000
    assert SECRET not in done.stdout + done.stderr
    assert "root:" not in done.stdout + done.stderr
    return done


# -- values ------------------------------------------------------------------------------------------------------------


def double(first: str, step: str, end: str, times: int = 60) -> str:
    """Statements of which each doubles the value of the one before."""
    return first + "".join(step.format(a=number, b=number + 1) for number in range(times)) + end


LISTS = ("x0 = ['a']\n", "x{b} = [x{a}, x{a}]\n")
INDENTED = ("    x0 = ['a']\n", "    x{b} = [x{a}, x{a}]\n")
VALUES = {
    "lists": double(*LISTS, "down_revision = x60\n"),
    "equal lists": "if a:\n" + double(*INDENTED, "else:\n") + double(*INDENTED, ""),
    "stars": double("x0 = ['a']\n", "x{b} = [*x{a}, *x{a}]\n", "down_revision = x60\n"),
    "f-strings": double("x0 = 'a'\n", "x{b} = f'{{x{a}}}{{x{a}}}'\n", "down_revision = x60\n"),
    "sums": double("x0 = 'a'\n", "x{b} = x{a} + x{a}\n", "down_revision = x60\n"),
    "hashes": double("x0 = ('a',)\n", "x{b} = (x{a}, x{a})\n", "y = {x60: 1}\n"),
    "dictionaries": double("x0 = {1: 'a'}\n", "x{b} = {{1: x{a}, 2: x{a}}}\n", "down_revision = x60\n"),
    "formats": f"x = {'a' * 900!r}\nz = {'%s' * 400!r} % ({'x, ' * 400})\ndown_revision = z\n",
    "numbers": "x = 1\n" + "x = x + x\n" * 50_000 + "down_revision = x\n",
    "a number": f"down_revision = {BIG_NUMBER}\n",
    "a number as id": f"revision = {BIG_NUMBER}\n",
    "a number in text": f"down_revision = f'{{{BIG_NUMBER}}}'\n",
    "a number as label": f"branch_labels = {BIG_NUMBER}\n",
    "names and branches": "".join(f"n{number} = 1\n" for number in range(20_000)) + "if a: x = 1\n" * 5_000,
    "names and handlers": "try:\n" + "".join(f"    n{number} = f()\n" for number in range(5_000))
    + "".join(f"except E: m{number} = 1\n" for number in range(3_000)),
    "handlers in handlers": "".join(f"{' ' * depth}try: f()\n{' ' * depth}except E:\n" for depth in range(18))
    + " " * 18 + "x = 1\n",
    "else in else": "".join(f"{' ' * depth}try:\n" for depth in range(18)) + " " * 18 + "x = f()\n"
    + "".join(f"{' ' * (17 - depth)}except E: x = 2\n{' ' * (17 - depth)}else: y = 3\n" for depth in range(18)),
    "elif": "if a: x = 1\n" + "".join(f"elif a{number}: x = {number}\n" for number in range(900)),
    "a name that is deleted": "if a:\n    del revision\n",
}  # fmt: skip


@pytest.mark.parametrize("source", VALUES.values(), ids=VALUES)
def test_value__that_would_grow_without_end__is_unknown(tmp_path: Path, source: str) -> None:
    done = run_audit(make_alembic(tmp_path, {**chain(a=None), "b.py": render("b", "'a'", source)}), "--format", "json")

    assert len(done.stdout) < 20_000
    assert '"revision": "b"' in done.stdout or "MG10" in done.stdout


@pytest.mark.parametrize(
    ("source", "parents"),
    [
        ("x = 'a'\nif x == 1:\n    y = 1\nelif x:\n    down_revision = 'b'\nelse:\n    down_revision = 'z'\n", None),
        ("if f():\n    y = 1\nelif 1:\n    down_revision = 'a'\nelse:\n    down_revision = 'z'\n", ("a",)),
        ("if 0:\n    down_revision = 'x'\nelif 1:\n    down_revision = 'a'\nelse:\n    down_revision = f()\n", ("a",)),
        ("try:\n    import x\nexcept ImportError:\n    x = None\n", ("a",)),
        ("try:\n    down_revision = 'a'\n    import x\nexcept ImportError:\n    pass\n", ("a",)),
        ("try:\n    down_revision = 'z'\n    import x\nexcept ImportError:\n    pass\n", None),
        ("try:\n    down_revision = 'z'\nexcept ImportError:\n    down_revision = f()\n", ("z",)),
        ("try:\n    import x\nexcept ImportError:\n    down_revision = 'z'\nelse:\n    down_revision = 'z'\n", ("z",)),
        ("try:\n    import x\nfinally:\n    down_revision = 'z'\n", ("z",)),
        ("BASE = ['a']\ndown_revision = [*BASE]\n", ("a",)),
        ("with x:\n    down_revision = 'z'\n", ("z",)),
    ],
)
def test_value__of_branches__is_known_where_they_agree(source: str, parents: tuple[str, ...] | None) -> None:
    node = read_file(Kind.ALEMBIC, "b.py", render("b", "'a'", source).encode()).node

    assert node is not None
    assert (None if "down_revision" in node.unread else node.parents) == parents


# -- files -------------------------------------------------------------------------------------------------------------

LARGE = {
    "f-string": f"x = f'{'{a}' * 1_600_000}'\n",
    "statements": "a = 1\n" * 800_000,
    "functions": "def f(): 0\n" * 40_000,
    "lambdas": "lambda: 0\n" * 40_000,
    "comprehensions": "[a for a in a]\n" * 25_000,
    "keywords": f"x = f({', '.join(f'a{number}=1' for number in range(70_000))})\n",
}
MANY = {"f-string": "braces", "statements": "words and signs", "keywords": "keywords"}


@pytest.mark.parametrize("kind", LARGE)
def test_file__that_python_would_compile_for_minutes__is_not_read(tmp_path: Path, kind: str) -> None:
    done = run_audit(make_alembic(tmp_path, {**chain(a=None), "b.py": render("b", "'a'", LARGE[kind])}))

    assert done.returncode == 1
    assert "MG105" in done.stdout
    assert MANY.get(kind, "functions, classes and comprehensions") in done.stdout


def test_file__with_much_data__is_read(tmp_path: Path) -> None:
    rows = "".join(f"    ({number}, 'A town of some size', 'The land it is in'),\n" for number in range(12_000))
    text = "SELECT 1 FROM towns WHERE name = 'x';\n" * 20_000
    more = f"ROWS = [\n{rows}]\nSQL = '''{text}'''\nTEXT = f'{{ROWS}}'\n"

    report = audit(make_alembic(tmp_path, {**chain(a=None), "b.py": render("b", "'a'", more)}))

    assert (report.revisions, report.sound) == (2, True)


@pytest.mark.parametrize("encoding", ["punycode", "idna", "PUNYCODE"])
def test_file__in_an_encoding_that_takes_for_ever__is_not_read(tmp_path: Path, encoding: str) -> None:
    content = f"# coding: {encoding}\n{'a' * 300_000}-{'b' * 300_000}{render('b')}"

    assert "encoding" in run_audit(make_alembic(tmp_path, {**chain(a=None), "b.py": content})).stdout


def test_file__that_needs_more_memory_than_there_is__is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("golive.migration_graph.readers.alembic.read_tree", fail)

    parsed = read_file(Kind.ALEMBIC, "b.py", render("b", more="X = f()\n").encode())

    assert [finding.code for finding in parsed.findings] == ["MG105"]


SNIPPETS = (
    *(
        "revision = 'b'\n",
        "down_revision = ",
        "'a'",
        "None",
        "x",
        "if a:\n    ",
        "else:\n    ",
        "try:\n    ",
        "f'{",
        "}'",
    ),
    *("except E:\n    ", "finally:\n    ", "[", "]", "(", ")", "{", "}", "*", ",", ":", "=", "+", "lambda: ", "0xff"),
    *(
        "\n",
        "    ",
        "'''",
        '"""',
        "#",
        "\\",
        "\0",
        "\r",
        "\f",
        "\ufeff",
        "\ud800",
        "# coding: ",
        "latin-1",
        "del revision\n",
    ),
    *("for x in y:\n    ", "globals()['revision'] = ", "class Migration:\n    ", "dependencies = ", "match x:\n case "),
    *("def upgrade():\n    op.execute('')\n", "def f():\n    global revision\n", "<<<<<<< HEAD\n", "async ", "await "),
)


@pytest.mark.parametrize("kind", Kind)
@settings(max_examples=examples(300))
@given(parts=st.lists(st.one_of(st.sampled_from(SNIPPETS), st.text(max_size=5)), max_size=40))
def test_file__of_any_text__is_read_or_reported(kind: Kind, parts: list[str]) -> None:
    content = "".join(parts).encode("utf-8", "surrogatepass")

    parsed = read_file(kind, "app/migrations/0001_b.py", content)

    assert parsed.node is not None or parsed.findings


@settings(max_examples=examples(300))
@given(data=st.binary(max_size=200))
def test_file__of_any_bytes__is_read_or_reported(data: bytes) -> None:
    parsed = read_file(Kind.ALEMBIC, "0001_b.py", data)

    assert parsed.node is not None or parsed.findings


def test_files__that_hold_too_much_together__are_not_all_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "MAX_TOTAL_BYTES", 500)

    report = audit(make_alembic(tmp_path, chain(a=None, b="'a'", c="'b'", d="'c'")))

    assert [finding.file for finding in find(report, "MG105")] == ["alembic/versions/c.py", "alembic/versions/d.py"]
    assert not report.sound


# -- links and pipes ---------------------------------------------------------------------------------------------------


def replace_by_link(path: Path, target: str | Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def make_django(root: Path, settings_: str = "INSTALLED_APPS = ['shop']\n") -> Path:
    migration = "class Migration(migrations.Migration):\n    dependencies = []\n    operations = []\n"
    write(
        root,
        {
            "manage.py": "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'host.settings')\n",
            "host/settings.py": settings_,
            "shop/__init__.py": "",
            "shop/apps.py": "class ShopConfig(AppConfig):\n    name = 'shop'\n",
            "shop/migrations/__init__.py": "",
            "shop/migrations/0001_initial.py": migration,
        },
    )
    return root


@pytest.mark.parametrize("name", ["b.py", "versions"])
def test_link__of_revisions_out_of_the_folder__is_an_error_and_not_followed(tmp_path: Path, name: str) -> None:
    outside = make_alembic(tmp_path / "outside", {"b.py": render("secret", "'a'")}) / "alembic/versions"
    project = make_alembic(tmp_path / "project", chain(a=None))
    versions = project / "alembic/versions"
    if name == "versions":
        (versions / "a.py").unlink()
        versions.rmdir()
        versions.symlink_to(outside)
    else:
        (versions / "b.py").symlink_to(outside / "b.py")

    report = audit(project)

    assert not report.sound
    assert "leads out of the audited folder" in find(report, "MG105")[0].message
    assert not any("secret" in finding.message for finding in report.findings)


def test_link__within_the_folder__is_followed(tmp_path: Path) -> None:
    project = make_alembic(tmp_path, chain(a=None))
    write(tmp_path / "shared", {"b.py": render("b", "'a'")})
    (project / "alembic/versions/b.py").symlink_to("../../shared/b.py")

    assert audit(project).graph.heads == ("b",)


def test_location__outside_that_the_configuration_names__is_no_link(tmp_path: Path) -> None:
    write(tmp_path / "shared", chain(a=None, b="'a'"))
    make_alembic(tmp_path / "project", {}, options="version_locations = %(here)s/../shared\n")

    assert audit(tmp_path / "project").revisions == 2


def test_link__of_a_django_migration_out_of_the_folder__is_an_error(tmp_path: Path) -> None:
    write(tmp_path, {"outside.py": "class Migration:\n    dependencies = [('shop', 'secret')]\n"})
    project = make_django(tmp_path / "project")
    replace_by_link(project / "shop/migrations/0002_more.py", tmp_path / "outside.py")

    report = audit(project)

    assert [finding.file for finding in find(report, "MG105")] == ["shop/migrations/0002_more.py"]
    assert find(report, "MG102") == []


@pytest.mark.parametrize("target", ["/dev/zero", "/proc/self/environ", "/etc/passwd", "pipe"])
@pytest.mark.parametrize(
    "name",
    [
        *("alembic.ini", "pyproject.toml", "migrations.lock", "alembic/versions/b.py"),
        *("manage.py", "host/settings.py", "shop/apps.py", "shop/__init__.py", "shop/migrations/0002_more.py"),
    ],
)
def test_link__to_what_never_ends_or_is_nobody_s_business__is_not_read(tmp_path: Path, name: str, target: str) -> None:
    is_django = name.startswith(("manage", "host", "shop"))
    project = make_django(tmp_path) if is_django else make_alembic(tmp_path, chain(a=None))
    if target == "pipe":
        (project / name).unlink(missing_ok=True)
        os.mkfifo(project / name)
    else:
        replace_by_link(project / name, target)

    done = run_audit(project)

    if name == "alembic.ini" and target in ("/proc/self/environ", "/etc/passwd"):
        assert "leads out of its folder" in done.stderr


def test_settings__that_import_from_above_the_folder__are_not_read_there(tmp_path: Path) -> None:
    write(tmp_path, {"secret.py": "INSTALLED_APPS = ['shop', 'hunter2']\n"})
    project = make_django(tmp_path / "project", "from ..secret import *\n")
    write(tmp_path / "project", {"host/settings.py": "from ...secret import *\n"})

    assert "hunter2" not in run_audit(project, "--format", "json").stdout


def test_lock__that_is_a_link_to_nowhere__is_not_passed_over(tmp_path: Path) -> None:
    project = make_alembic(tmp_path, chain(a=None))
    (project / "migrations.lock").symlink_to("migrations.lock")

    assert run_audit(project).returncode == 2


# -- settings and configuration ----------------------------------------------------------------------------------------

ALL_OTHERS = "".join(f"from .s{number} import *\n" for number in range(30))
SETTINGS: dict[str, Callable[[Path], object]] = {
    "elif": lambda root: make_django(root, VALUES["elif"] + "INSTALLED_APPS = ['shop']\n"),
    "each other": lambda root: write(
        make_django(root, ALL_OTHERS), {f"host/s{number}.py": ALL_OTHERS for number in range(30)}
    ),
    "themselves": lambda root: make_django(root, "from .settings import *\n"),
    "long names": lambda root: make_django(
        root, f"INSTALLED_APPS = ['shop', {'a' * 5_000!r}]\nMIGRATION_MODULES = {{'x': {'m' * 5_000!r}}}\n"
    ),
    "odd names": lambda root: make_django(root, "INSTALLED_APPS = ['shop', '', '..', '/etc', 'a\\0b']\n"),
    "a long module": lambda root: write(
        make_django(root), {"manage.py": f"'DJANGO_SETTINGS_MODULE', {'a' * 5_000!r}\n"}
    ),
    "an app's elif": lambda root: write(make_django(root), {"shop/apps.py": VALUES["elif"]}),
}


@pytest.mark.parametrize("make", SETTINGS.values(), ids=SETTINGS)
def test_settings__of_somebody_hostile__do_not_stop_the_audit(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path)

    assert "1 migration" in run_audit(tmp_path).stdout


SECTIONS = "".join(f"[s{number}]\nscript_location = a{number}\n" for number in range(2_000))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pyproject.toml", f"{'a.' * 100_000}b = 1\n"),
        ("pyproject.toml", f"[tool.alembic]\nscript_location = {BIG_NUMBER}\n"),
        ("pyproject.toml", "[tool.alembic]\nscript_location = 'x'\nversion_locations = 5\n"),
        ("alembic.ini", SECTIONS),
        ("alembic.ini", f"[alembic]\nscript_location = a\nversion_locations = b\npath_separator = {'s' * 50_000}\n"),
        ("alembic.ini", "[alembic]\nscript_location = a\0b\n"),
        ("alembic.ini", f"[alembic]\nscript_location = %({'o' * 50_000})s\n"),
        ("migrations.lock", f"format = {BIG_NUMBER}\n"),
        ("migrations.lock", f"format = {'x' * 50_000!r}\n"),
    ],
)
def test_configuration__of_somebody_hostile__is_refused_in_one_short_line(tmp_path: Path, name: str, text: str) -> None:
    if name == "migrations.lock":
        make_alembic(tmp_path, chain(a=None))
    write(tmp_path, {name: text})

    assert run_audit(tmp_path).returncode == 2


# -- names of files ----------------------------------------------------------------------------------------------------

NAMES = (
    *(
        b"a\n::error::x.py",
        b"\x1b[31mred.py",
        b"\xff\xfe.py",
        b"a%0A::error::b.py",
        b"<script>alert(1)<x.py",
        b"a\rb.py",
    ),
    *("`x` | \u202e.py".encode(), b"]]>.py", b'";x.py', b"-n.py", b"$(touch x).py"),
)


@pytest.mark.parametrize("form", FORMATS)
def test_names__of_files_that_a_terminal_or_a_runner_would_obey__are_written_out(tmp_path: Path, form: str) -> None:
    versions = os.fsencode(make_alembic(tmp_path, chain(a=None)) / "alembic/versions")
    for number, name in enumerate(NAMES):
        with open(os.path.join(versions, name), "w") as file:  # noqa: PTH123, PTH118 - bytes
            file.write(render(f"r{number}", f"'gone{number}'"))

    done = run_audit(tmp_path, "--format", form)

    assert done.returncode == 1
    assert not {"\x1b", "\r", "\u202e"} & set(done.stdout)
    assert "<script>alert(1)<x" not in done.stdout or form not in ("html", "svg")
    assert not [line for line in done.stdout.splitlines() if line.startswith("::error::")]


def test_path__that_no_system_can_name__is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UnusableInputError):
        audit(tmp_path / ("x" * 5_000))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RecursionError(), "nested too deeply"),
        (MemoryError(), "too large"),
        (OSError(36, "File name too long"), "long"),
    ],
)
def test_audit__that_meets_what_no_reader_foresaw__ends_as_unusable_input(
    error: Exception, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "run_audit", fail)

    assert cli.main([str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert reason in told
    assert told.count("\n") == 1
