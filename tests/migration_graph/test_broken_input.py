"""Whatever stands in a folder: findings or one line, no traceback, nothing run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from golive.migration_graph.audit import audit
from golive.migration_graph.findings.lock_file import read_lock
from golive.migration_graph.model import Kind, Severity, UnusableInputError
from golive.migration_graph.readers.syntax import MAX_BYTES
from tests.migration_graph.folders import chain, find, get_codes, make_alembic, render, write

CONFLICT = "<<<<<<< HEAD\ndown_revision = 'a'\n=======\ndown_revision = 'x'\n>>>>>>> theirs\n"


def test_audit__file_that_would_act_on_import__is_read_and_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    source = f"import os\nos.system('touch {trap}')\n" + render("a").split('"""\n', 1)[1]
    make_alembic(tmp_path, {"a.py": source})

    report = audit(tmp_path)

    assert (report.revisions, report.sound) == (1, True)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("content", "words", "line"),
    [
        (render("b", "'a'") + "def f(:\n", "not valid Python", 20),
        (render("b", "'a'").replace("down_revision = 'a'\n", CONFLICT), "conflict markers", 11),
        (render("b", "'a'").encode() + b"\0", "NUL", 20),
        (render("b", "'a'").encode("utf-16"), "UTF-16", 1),
        (b"# coding: nonsense\n" + render("b", "'a'").encode(), "nonsense", None),
        (b"x = " + b"(" * 100_000, "", None),
        (b"x = " + b"-" * 200_000 + b"1", "", None),
    ],
)
def test_audit__file_that_cannot_be_parsed__is_named_with_line_and_its_child_is_not_blamed(
    tmp_path: Path, content: str | bytes, words: str, line: int | None
) -> None:
    make_alembic(tmp_path, {**chain(a=None), "b_slug.py": content, "c.py": render("c", "'b'")})

    report = audit(tmp_path)

    (finding,) = find(report, "MG105")
    assert words in finding.message
    assert finding.file == "alembic/versions/b_slug.py"
    assert line is None or finding.line == line
    assert find(report, "MG102") == []


def test_audit__file_of_50_megabytes__is_not_read(tmp_path: Path) -> None:
    make_alembic(tmp_path, chain(a=None))
    with (tmp_path / "alembic/versions/b_big.py").open("wb") as file:
        file.truncate(50_000_000)

    (finding,) = find(audit(tmp_path), "MG105")

    assert f"{MAX_BYTES:,}" in finding.message


def test_audit__links_folders_and_pipes__are_reported_or_passed_over(tmp_path: Path) -> None:
    versions = (
        make_alembic(tmp_path, chain(a=None), options="recursive_version_locations = true\n") / "alembic/versions"
    )
    (versions / "loop.py").symlink_to("loop.py")
    (versions / "gone.py").symlink_to("nowhere.py")
    (versions / "again").symlink_to(versions)
    (versions / "folder.py").mkdir()
    os.mkfifo(versions / "pipe.py")

    report = audit(tmp_path)

    found = {finding.file: finding.severity for finding in find(report, "MG105")}
    assert report.revisions == 1
    assert found == {
        "alembic/versions/loop.py": Severity.ERROR,
        "alembic/versions/gone.py": Severity.ERROR,
        "alembic/versions/pipe.py": Severity.ERROR,
        "alembic/versions/folder.py": Severity.WARNING,
    }


@pytest.mark.parametrize("name", ["alembic/versions/inner", "alembic/versions/b.py"])
def test_audit__what_may_not_be_read__is_a_finding(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as root, who may read everything: so the system's answer is made up."""
    make_alembic(tmp_path, {"a.py": render("a"), "b.py": render("b", "'a'"), "inner/c.py": render("c", "'b'")},
                 options="recursive_version_locations = true\n")  # fmt: skip
    forbidden = str(tmp_path / name)
    for function in ("open", "scandir"):
        original = getattr(os, function)

        def refuse(path: object, *arguments: object, original: object = original) -> object:
            if os.fspath(path) == forbidden:  # type: ignore[call-overload]
                raise PermissionError(13, "Permission denied", forbidden)
            return original(path, *arguments)  # type: ignore[operator]

        monkeypatch.setattr(os, function, refuse)

    (finding,) = find(audit(tmp_path), "MG105")

    assert finding.file == name
    assert "Permission denied" in finding.message


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: root / "nowhere", "does not exist"),
        (lambda root: root, "holds no alembic.ini"),
        (lambda root: _write(root, "alembic.ini", "[other]\n"), "no script_location"),
        (lambda root: _write(root, "alembic.ini", "no section\n"), "cannot be read"),
        (lambda root: _write(root, "alembic.ini", "[alembic]\nscript_location = gone\n"), "is not a folder"),
        (lambda root: _write(root, "alembic.ini", "[alembic]\nscript_location = x:y\n"), "names the package"),
        (lambda root: _write(root, "alembic.ini", "[alembic]\nscript_location = %(gone)s\n"), "cannot be read"),
        (lambda root: _write(root, "pyproject.toml", "[tool.alembic\n"), "cannot be read"),
        (lambda root: _write(root, "pyproject.toml", "tool = 1\n"), "holds no alembic.ini"),
        (lambda root: _write(root, "file.txt", "") / "file.txt", "is not a folder"),
    ],
)
def test_audit__nothing_to_audit__says_so_in_one_line(tmp_path: Path, make: object, words: str) -> None:
    path = make(tmp_path)  # type: ignore[operator]

    with pytest.raises(UnusableInputError, match=words) as raised:
        audit(path)

    assert "\n" not in str(raised.value)


def _write(root: Path, name: str, text: str) -> Path:
    write(root, {name: text})
    return root


@pytest.mark.parametrize(
    "content", ["class Migration(:\n", "X = 1\n", b"\xff\xfe\0", "<<<<<<< a\n=======\n>>>>>>> b\n"]
)
def test_audit__broken_django_file__is_named_and_its_child_is_not_blamed(tmp_path: Path, content: str | bytes) -> None:
    child = "class Migration:\n    dependencies = [('shop', '0001_initial')]\n"
    files: dict[str, str | bytes] = {"__init__.py": "", "0001_initial.py": content, "0002_more.py": child}
    write(tmp_path / "shop/migrations", files)

    report = audit(tmp_path)

    assert report.kind is Kind.DJANGO
    assert {finding.code for finding in report.findings} == {"MG105"}
    assert report.findings[0].file == "shop/migrations/0001_initial.py"


def test_audit__empty_versions_folder__is_not_sound_since_nothing_was_read(tmp_path: Path) -> None:
    make_alembic(tmp_path, {})

    report = audit(tmp_path)

    assert (report.revisions, report.sound, get_codes(tmp_path)) == (0, False, ["MG108"])


@pytest.mark.parametrize("name", ["alembic.ini", "pyproject.toml", "migrations.lock"])
def test_settings__that_are_a_link_out_of_the_folder__are_not_read(tmp_path: Path, name: str) -> None:
    """A stranger's repository may link to /proc/self/environ: an error must not print what stands there."""
    (tmp_path / "secret").write_text("PASSWORD=hunter2\n")
    project = make_alembic(tmp_path / "project", chain(a=None, b="'a'"))
    (project / "alembic.ini").unlink()
    (project / name).symlink_to(tmp_path / "secret")

    with pytest.raises(UnusableInputError, match="leads out of its folder") as caught:
        read_lock(project / name) if name == "migrations.lock" else audit(project)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["PASSWORD=hunter2\n", "[alembic]\nscript_location = a\nhunter2\n"])
def test_ini__that_is_none__is_named_by_its_line_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "alembic.ini").write_text(text)

    with pytest.raises(UnusableInputError, match=r"line [13]") as caught:
        audit(tmp_path)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("terms", [900, 1_200, 100_000])
def test_audit__expression_of_many_terms__is_read_or_reported(tmp_path: Path, terms: int) -> None:
    """Python compiles the second, and no parser of ours may fall over the third."""
    text = " + ".join(["'x'"] * terms)
    files = {**chain(a=None, b="'a'"), "c.py": render("c", "'b'", f"X = {text}\n")}

    report = audit(make_alembic(tmp_path, files))

    assert report.revisions == 3 or find(report, "MG105")


BOMB = "".join(f"a{level} = {f'%(a{level + 1})s' * 40}\n" for level in range(9))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("alembic.ini", f"[alembic]\n{BOMB}a9 = x\nscript_location = %(a0)s\n"),
        ("alembic.ini", f"[alembic]\nscript_location = {'x' * 5_000}\n"),
        ("alembic.ini", f"[alembic]\nscript_location = x:{'y' * 5_000}\n"),
        ("alembic.ini", "[alembic]\na = %(b)s\nb = %(a)s\nscript_location = %(a)s\n"),
        ("pyproject.toml", f"[tool.alembic]\nscript_location = '{'x' * 5_000}'\n"),
        ("pyproject.toml", f"x = {'[' * 100_000}{']' * 100_000}\n"),
        ("pyproject.toml", f"x = {'9' * 10_000}\n"),
    ],
    ids=["bomb", "long path", "long package", "circle", "long path in TOML", "nested", "digits"],
)
def test_settings__of_somebody_hostile__are_refused_in_one_short_line(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)

    with pytest.raises(UnusableInputError) as caught:
        audit(tmp_path)

    assert len(str(caught.value).replace(str(tmp_path), "")) < 1_000
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [f"x = {'[' * 100_000}{']' * 100_000}\n", f"x = {'9' * 10_000}\n", "format = true\n"])
def test_lock__of_somebody_hostile__is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "migrations.lock").write_text(text)

    with pytest.raises(UnusableInputError):
        read_lock(tmp_path / "migrations.lock")


@pytest.mark.parametrize(
    ("value", "meant"),
    [("%(here)s/alembic", "alembic"), ("%(here)s/%(part)s", "alembic"), ("%(here)s/100%%", "100%")],
)
def test_ini__that_refers_to_its_own_values__is_filled_in(tmp_path: Path, value: str, meant: str) -> None:
    write(tmp_path / meant / "versions", chain(a=None))
    (tmp_path / "alembic.ini").write_text(f"[alembic]\npart = alembic\nscript_location = {value}\n")

    assert audit(tmp_path).revisions == 1
