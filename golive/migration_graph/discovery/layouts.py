"""Detect what a folder is: an Alembic or Django project, a script folder, a versions or migrations folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from golive.migration_graph.discovery.alembic import find_configured, make_layout
from golive.migration_graph.discovery.sources import (
    Layout,
    is_revision_file,
    leads_out,
    list_files,
    list_names,
    walk_folders,
)
from golive.migration_graph.model import Kind, UnusableInputError

# How many files, and how many bytes of each, are sampled to detect the kind of a folder.
_MAX_FILES = 50
_MAX_BYTES = 20_000
_MAX_LISTED = 20


def find_layout(path: str | Path, name: str | None = None) -> Layout:
    """The layout of the migrations at a path, or of the only tree below it. Raises UnusableInputError.

    `name`: the section of `alembic.ini` that describes the environment, as for `alembic --name`.
    """
    given = Path(path)
    try:
        if given.is_file() and given.suffix in (".ini", ".toml"):
            return _find_by_file(given, name)
        if not given.is_dir():
            reason = "is not a folder" if given.exists() else "does not exist"
            raise UnusableInputError(f"{path} {reason}")
        os.listdir(given)  # noqa: PTH208 - raises if it is not readable
    except OSError as error:
        raise UnusableInputError(f"{path} cannot be read: {error.strerror}") from error
    layout = _find_at(given, name) or _find_below(given, name) or _find_apps(given)
    if layout is None:
        raise UnusableInputError(
            f"{path} holds no alembic.ini, no [tool.alembic], no versions folder and no Django migrations"
        )
    return layout


def _find_by_file(path: Path, name: str | None) -> Layout:
    root = path.parent
    ini, toml = (path, root / "pyproject.toml") if path.suffix == ".ini" else (root / "alembic.ini", path)
    layout = find_configured(root, ini, toml, name)
    if layout is None:
        raise UnusableInputError(f"{path} says nothing of Alembic")
    return layout


def _find_at(root: Path, name: str | None = None) -> Layout | None:
    """What the folder itself is, not what is below it."""
    layout = find_configured(root, root / "alembic.ini", root / "pyproject.toml", name)
    return layout or _find_django_project(root) or _find_folder(root)


def _find_django_project(root: Path) -> Layout | None:
    return _find_apps(root) if (root / "manage.py").is_file() else None


def _find_apps(root: Path) -> Layout | None:
    """The apps below a folder, if a file of theirs is a migration: other tools have folders called `migrations` too."""
    from golive.migration_graph.discovery.django import find_django

    layout = find_django(root)
    if layout is None:
        return None
    folders = [*(location.folder for location in layout.locations), *(root / each.path for each in layout.not_read)]
    if any(_detect_kind(folder) is Kind.DJANGO for folder in folders):
        return layout
    is_alembic = any((folder / name).is_file() for folder in folders for name in ("alembic.ini", "env.py"))
    return layout if (root / "manage.py").is_file() and not is_alembic else None


def _find_folder(root: Path) -> Layout | None:
    """A script folder, a versions folder, or a Django migrations folder."""
    if (root / "versions").is_dir():
        return make_layout(root, [root / "versions"])
    kind = _detect_kind(root)
    if kind is Kind.DJANGO:
        from golive.migration_graph.discovery.django import find_app

        return find_app(root)
    if kind is Kind.ALEMBIC or (root.name == "versions" and not any(root.glob("*/"))):
        return make_layout(root, [root])
    if (root / "env.py").is_file() and (root / "script.py.mako").is_file():
        raise UnusableInputError(f"{root} looks like a script folder of Alembic, but has no folder versions")
    return None


def _find_below(root: Path, name: str | None) -> Layout | None:
    """The only tree below a folder; None: there is none. Raises UnusableInputError if there are several."""
    trees: dict[Path, Layout] = {}
    for folder, _, _ in walk_folders(root):
        if folder == root or any(_covers(layout, folder) for layout in trees.values()):
            continue
        layout = _find_tree(folder, name, is_inside=any(folder.is_relative_to(tree) for tree in trees))
        if layout is not None:
            trees[folder] = layout
    if len(trees) > 1:
        shown = [f"{folder.relative_to(root)} ({_describe_size(layout)})" for folder, layout in trees.items()]
        rest = f" and {len(shown) - _MAX_LISTED} more" if len(shown) > _MAX_LISTED else ""
        raise UnusableInputError(
            f"{root} holds several trees of migrations; choose one: {', '.join(shown[:_MAX_LISTED])}{rest}"
        )
    return next(iter(trees.values()), None)


def _find_tree(folder: Path, name: str | None, *, is_inside: bool) -> Layout | None:
    """The tree that begins in this folder: a configuration, a Django project, or a script folder without either.

    `is_inside`: the folder is inside another tree, and so a mere script folder is part of that one.
    """
    ini, layout = folder / "alembic.ini", None
    try:
        layout = find_configured(folder, ini, folder / "pyproject.toml", name)
    except UnusableInputError:
        # A tree that cannot be read must not be passed over; a pyproject.toml may be another program's.
        if ini.is_file():
            raise
    if layout is None and not is_inside and (folder / "env.py").is_file() and (folder / "versions").is_dir():
        layout = make_layout(folder, [folder / "versions"])
    return layout or _find_django_project(folder)


def _covers(layout: Layout, folder: Path) -> bool:
    """Whether a folder belongs to a tree that was found already: its script folder, or inside its project."""
    if layout.kind is Kind.DJANGO and folder.is_relative_to(layout.root):
        return True
    real = folder.resolve()
    versions = [location.folder.resolve() for location in layout.locations]
    return any(each.is_relative_to(real) or real.is_relative_to(each) for each in versions)


def _describe_size(layout: Layout) -> str:
    count = sum(len(list_files(layout.root, location)[0]) for location in layout.locations)
    return f"{layout.kind.value}, {'1 file' if count == 1 else f'{count} files'}"


def _detect_kind(folder: Path) -> Kind | None:
    for content in _sample(folder):
        if b"down_revision" in content:
            return Kind.ALEMBIC
        if b"class Migration" in content:
            return Kind.DJANGO
    return None


def _sample(folder: Path) -> Iterable[bytes]:
    names = sorted(filter(is_revision_file, list_names(folder)))
    for name in names[:_MAX_FILES]:
        try:
            if (folder / name).is_file() and not leads_out(folder, folder / name):
                with (folder / name).open("rb") as file:
                    yield file.read(_MAX_BYTES)
        except OSError:
            continue
