"""What a docstring or a comment names is there: modules and attributes in backticks, files of the repository."""

from __future__ import annotations

import ast
import importlib
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from golive.domain.changes import ALL_PERMISSIONS
from golive.domain.scopes import READ_PERMISSION
from tests.support.server import ROOT

PACKAGES = ("golive", "valhalla")
_QUOTED = re.compile(r"`([^`\n]+)`")
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_FILE = re.compile(r".*\.(?:py|md|toml|ini|html|css|js|json|lock)")
_PATH = re.compile(r"\b(?:golive|valhalla|docs|tests)/[\w./-]+\.(?:py|md)\b")
# A setting of Django (`settings.AUTH_USER_MODEL`) is no attribute of `valhalla.settings`.
_NOT_OURS = frozenset({"settings"})


def find_modules() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def find_module_names() -> dict[str, list[str]]:
    """The dotted names of all modules and packages, by their last part."""
    names: dict[str, list[str]] = {}
    for path in find_modules():
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        names.setdefault(parts[-1], []).append(".".join(parts))
    return names


MODULES = find_module_names()
PERMISSIONS = ALL_PERMISSIONS | {READ_PERMISSION}


def find_texts(source: str) -> Iterator[tuple[int, str]]:
    """The docstrings and comments of a module, each with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            if docstring:
                yield node.body[0].lineno, docstring
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def find_names(text: str) -> Iterator[str]:
    """The dotted names in backticks that begin with a package or a module of ours (`leases.boottime`)."""
    for quoted in _QUOTED.findall(text):
        name = quoted.removesuffix("()")
        first = name.split(".")[0]
        if _DOTTED.fullmatch(name) and not _FILE.fullmatch(name) and first in MODULES and first not in _NOT_OURS:
            yield name


def resolves(name: str) -> bool:
    """Whether `name` is a module, an attribute or a permission of ours."""
    first, _, rest = name.partition(".")
    # The name as it is, for that of a library (`alembic.script`, `django.contrib`).
    return name in PERMISSIONS or any(_is_there(full) for full in (name, *(f"{m}.{rest}" for m in MODULES[first])))


def _is_there(name: str) -> bool:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        return _has(found, parts[length:])
    return False


def _has(found: object, attributes: list[str]) -> bool:
    for place, attribute in enumerate(attributes):
        if not hasattr(found, attribute):
            # A field of a dataclass without a default, of which nothing more is known.
            return place == len(attributes) - 1 and attribute in getattr(found, "__annotations__", {})
        found = getattr(found, attribute)
    return True


@pytest.mark.parametrize("path", find_modules(), ids=relative)
def test_docstrings__each_dotted_name__is_a_module_or_an_attribute(path: Path) -> None:
    missing = [
        f"{line}: {name}"
        for line, text in find_texts(path.read_text())
        for name in find_names(text)
        if not resolves(name)
    ]

    assert missing == []


@pytest.mark.parametrize("path", find_modules(), ids=relative)
def test_docstrings__each_file_of_the_repository__is_there(path: Path) -> None:
    named = {name for _, text in find_texts(path.read_text()) for name in _PATH.findall(text)}

    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_docstrings__all_modules__name_enough_to_be_worth_the_search() -> None:
    """Otherwise the search above might find nothing anywhere."""
    texts = [text for path in find_modules() for _, text in find_texts(path.read_text())]

    assert len({name for text in texts for name in find_names(text)}) > 30
    assert len({name for text in texts for name in _PATH.findall(text)}) > 1


@pytest.mark.parametrize(
    "source",
    [
        '"""The code is mapped by `golive.api.problems`."""',
        'def f():\n    """As `controls.apply_change` does."""',
        "x = 1  # see `golive.domain.errors.NoSuchError`",
        'class C:\n    """Read by `leases.boottime_ns()`."""',
        '"""As `golive.domain.changes.Change.is_watched` says."""',
    ],
)
def test_search__name_that_is_not_there__is_found(source: str) -> None:
    names = [name for _, text in find_texts(source) for name in find_names(text)]

    assert [resolves(name) for name in names] == [False]


@pytest.mark.parametrize(
    "name",
    [
        *("golive.state.snapshots", "leases.boottime", "golive.api.endpoint", "valhalla.wsgi", "golive.middleware"),
        *("golive.is_execution_allowed", "golive.domain.changes.Change.is_guarded", "golive.engage_kill_switch"),
    ],
)
def test_search__name_that_is_there__resolves(name: str) -> None:
    assert resolves(name)
