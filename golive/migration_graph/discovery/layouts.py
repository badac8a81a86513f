"""Detect what a folder is: an Alembic or Django project, a script folder, a versions or migrations folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from golive.migration_graph.discovery.alembic import find_configured, make_layout
from golive.migration_graph.discovery.sources import Layout, is_revision_file
from golive.migration_graph.model import Kind, UnusableInputError

# How many files, and how many bytes of each, are sampled to detect the kind of a folder.
_MAX_FILES = 50
_MAX_BYTES = 20_000


def find_layout(path: str | Path) -> Layout:
    """The layout of the migrations at a path. Raises UnusableInputError."""
    given = Path(path)
    try:
        if given.is_file() and given.suffix in (".ini", ".toml"):
            return _find_by_file(given)
        if not given.is_dir():
            reason = "is not a folder" if given.exists() else "does not exist"
            raise UnusableInputError(f"{path} {reason}")
        os.listdir(given)  # noqa: PTH208 - raises if it is not readable
    except OSError as error:
        raise UnusableInputError(f"{path} cannot be read: {error.strerror}") from error
    layout = find_configured(given, given / "alembic.ini", given / "pyproject.toml")
    layout = layout or _find_django_project(given) or _find_unconfigured(given)
    if layout is None:
        raise UnusableInputError(
            f"{path} holds no alembic.ini, no [tool.alembic], no versions folder and no Django migrations"
        )
    return layout


def _find_by_file(path: Path) -> Layout:
    root = path.parent
    ini, toml = (path, root / "pyproject.toml") if path.suffix == ".ini" else (root / "alembic.ini", path)
    layout = find_configured(root, ini, toml)
    if layout is None:
        raise UnusableInputError(f"{path} says nothing of Alembic")
    return layout


def _find_django_project(root: Path) -> Layout | None:
    from golive.migration_graph.discovery.django import find_django

    return find_django(root) if (root / "manage.py").is_file() else None


def _find_unconfigured(root: Path) -> Layout | None:
    """A script folder, a versions folder, a Django migrations folder, or a Django project without manage.py."""
    from golive.migration_graph.discovery.django import find_app, find_django

    if (root / "versions").is_dir():
        return make_layout(root, [root / "versions"])
    kind = _detect_kind(root)
    if kind is Kind.DJANGO:
        return find_app(root)
    if kind is Kind.ALEMBIC or (root.name == "versions" and not any(root.glob("*/"))):
        return make_layout(root, [root])
    if (root / "env.py").is_file():
        raise UnusableInputError(f"{root} looks like a script folder of Alembic, but has no folder versions")
    return find_django(root)


def _detect_kind(folder: Path) -> Kind | None:
    for content in _sample(folder):
        if b"down_revision" in content:
            return Kind.ALEMBIC
        if b"class Migration" in content:
            return Kind.DJANGO
    return None


def _sample(folder: Path) -> Iterable[bytes]:
    names = sorted(name for name in os.listdir(folder) if is_revision_file(name))  # noqa: PTH208
    for name in names[:_MAX_FILES]:
        try:
            if (folder / name).is_file():
                with (folder / name).open("rb") as file:
                    yield file.read(_MAX_BYTES)
        except OSError:
            continue
