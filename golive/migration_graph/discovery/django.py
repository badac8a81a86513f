"""Locate the migrations of a Django project: the folder and label of each app that the settings install."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

from golive.migration_graph.discovery.django_settings import DjangoSettings, read_settings
from golive.migration_graph.discovery.not_read import IGNORED
from golive.migration_graph.discovery.sources import Layout, Location, is_migration_file, make_prefix
from golive.migration_graph.model import Finding, Kind, Project
from golive.migration_graph.readers.bindings import follow
from golive.migration_graph.readers.literals import UNKNOWN
from golive.migration_graph.readers.syntax import parse


def find_django(root: Path) -> Layout | None:
    """The layout of all installed apps below a folder. None: there are no migrations."""
    settings = read_settings(root)
    folders = list(_walk_apps(root))
    apps = {folder: read_label(folder) for folder in folders}
    installed = {folder: label for folder, label in apps.items() if _is_installed(root, folder, settings)}
    apps = installed or apps
    locations = []
    for folder, label in apps.items():
        module = settings.migration_modules.get(label, "")
        migrations = _find_module(root, module) if module else folder / "migrations"
        if module is not None and migrations is not None and _is_package(migrations):
            locations.append(Location(migrations, make_prefix(root, migrations), label))
    if not locations:
        return None
    project = Project(frozenset(apps.values()), settings.models)
    return Layout(Kind.DJANGO, root, tuple(sorted(locations, key=lambda location: location.prefix)), project)


def find_app(migrations: Path) -> Layout:
    """The layout of a single migrations folder; its app is the folder that contains it."""
    folder = migrations.absolute().parent
    location = Location(migrations, "", read_label(folder))
    return Layout(Kind.DJANGO, migrations, (location,), Project(frozenset({location.app})))


def read_label(folder: Path) -> str:
    """The app's `AppConfig.label`, else the last part of `AppConfig.name`, else the name of the folder."""
    content = _read(folder / "apps.py")
    tree = parse("apps.py", content) if content is not None else None
    labels = []
    if tree is not None and not isinstance(tree, Finding):
        outer = follow(tree.body)
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                names = follow(node.body, outer)
                values = [names[name].value if name in names else None for name in ("label", "name", "default")]
                label, name, default = values
                text = label if isinstance(label, str) else name.rpartition(".")[2] if isinstance(name, str) else ""
                if text:
                    labels.append((default is not True, name is UNKNOWN, text))
    return min(labels, key=lambda candidate: candidate[:2])[2] if labels else folder.name


def _walk_apps(root: Path) -> Iterator[Path]:
    """Each folder that looks like an app: it contains a `migrations` folder, `apps.py` or `models.py`."""
    for path, folders, files in os.walk(root):
        folder = Path(path)
        if "pyvenv.cfg" in files:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if name not in IGNORED and not name.startswith("."))
        if "migrations" in folders or {"apps.py", "models.py"} & set(files):
            yield folder
        if "migrations" in folders:
            folders.remove("migrations")


def _is_package(folder: Path) -> bool:
    """Whether to audit the folder: it has an `__init__.py`, which Django requires, or at least one migration file."""
    if not folder.is_dir():
        return False
    try:
        names = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return True
    return "__init__.py" in names or any(is_migration_file(name) for name in names)


def _is_installed(root: Path, folder: Path, settings: DjangoSettings) -> bool:
    """Whether INSTALLED_APPS names the app or its AppConfig; the folder may be below `src` or similar."""
    parts = folder.relative_to(root).parts
    dotted = [".".join(parts[index:]) for index in range(len(parts))]
    return any(app == name or app.startswith(f"{name}.apps.") for app in settings.installed_apps for name in dotted)


def _find_module(root: Path, dotted: str) -> Path | None:
    parts = dotted.split(".")
    candidates = (root.joinpath(*parts), root.joinpath("src", *parts))
    return next((folder for folder in candidates if folder.is_dir()), None)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
