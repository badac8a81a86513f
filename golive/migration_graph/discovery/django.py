"""Locate the migrations of a Django project: the folder and label of each app that the settings install."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from golive.migration_graph.discovery.app_labels import read_label
from golive.migration_graph.discovery.django_settings import DjangoSettings, read_settings
from golive.migration_graph.discovery.installed_packages import describe_app
from golive.migration_graph.discovery.sources import (
    Layout,
    Location,
    is_folder,
    is_migration_file,
    list_names,
    make_prefix,
    name_folder,
    walk_folders,
)
from golive.migration_graph.model import Kind, NotRead, Project, Severity

# What follows the package in an entry of INSTALLED_APPS that names a configuration: modules, then a class.
_CONFIG = re.compile(r"\.((?:[a-z_]\w*\.)*)([A-Z]\w*)")


def find_django(root: Path) -> Layout | None:
    """The layout of all installed apps below a folder. None: there are no migrations."""
    settings = read_settings(root)
    found = {folder: _find_entry(root, folder, settings) for folder in _walk_apps(root)}
    installed = {folder: entry for folder, entry in found.items() if entry is not None}
    if installed:
        described = {folder: read_label(root, folder, config) for folder, (_, config) in installed.items()}
    else:
        described = {folder: read_label(root, folder) for folder in found}
    labels = {folder: label.text for folder, label in described.items()}
    locations: list[Location] = []
    not_read: list[NotRead] = []
    for folder, label in labels.items():
        _add_location(root, folder, label, settings, locations, not_read)
    foreign, is_closed = _look_outside(settings, {entry for entry, _ in installed.values()})
    for label, module in settings.migration_modules.items():
        migrations = _find_module(root, module) if module else None
        if label not in labels.values() and migrations is not None:
            locations.append(Location(migrations, make_prefix(root, migrations), label))
            foreign.pop(label, None)
    if not locations and not not_read:
        return None
    not_read += map(_report_settings, settings.missing)
    apps = frozenset([*labels.values(), *(location.app for location in locations)])
    is_closed = is_closed and all(label.is_certain for label in described.values())
    project = Project(apps, settings.models, foreign, is_closed=is_closed)
    ordered = tuple(sorted(locations, key=lambda location: location.prefix))
    configuration = "manage.py" if (root / "manage.py").is_file() else None
    return Layout(Kind.DJANGO, root, ordered, project, not_read=tuple(not_read), configuration=configuration)


def find_app(migrations: Path) -> Layout:
    """The layout of a single migrations folder; its app is the folder that contains it."""
    folder = migrations.absolute().parent
    location = Location(migrations, "", read_label(folder, folder).text)
    return Layout(Kind.DJANGO, migrations, (location,), Project(frozenset({location.app})))


def _add_location(
    root: Path,
    folder: Path,
    label: str,
    settings: DjangoSettings,
    locations: list[Location],
    not_read: list[NotRead],
) -> None:
    """Add the folder of an app's migrations to the locations, or to what is not read."""
    module = settings.migration_modules.get(label, "")
    own = folder / "migrations"
    migrations = _find_module(root, module) if module else own
    if module is None:
        if files := _count_files(own):
            hint = "Remove the entry of MIGRATION_MODULES, or the files."
            why = f"MIGRATION_MODULES switches the migrations of {label} off"
            not_read.append(NotRead(name_folder(root, own), files, why, hint))
    elif migrations is None:
        why = f"MIGRATION_MODULES names it for {label}, and it is not in this folder"
        not_read.append(NotRead(module, 0, why, "Correct MIGRATION_MODULES.", Severity.ERROR))
    elif (migrations / "__init__.py").is_file() or _is_closed_to_us(migrations):
        locations.append(Location(migrations, make_prefix(root, migrations), label))
    elif files := _count_files(migrations):
        why = "it has no __init__.py, so Django takes the app for one without migrations"
        not_read.append(NotRead(name_folder(root, migrations), files, why, "Add an empty __init__.py."))


def _look_outside(settings: DjangoSettings, in_tree: set[str]) -> tuple[dict[str, frozenset[str] | None], bool]:
    """Label -> names of migrations for installed apps outside the tree; and whether all labels are known."""
    foreign: dict[str, frozenset[str] | None] = {}
    is_closed = settings.is_complete and bool(settings.installed_apps)
    for entry in settings.installed_apps:
        if entry in in_tree:
            continue
        described = describe_app(entry)
        if described is None:
            is_closed = False
        else:
            label, names = described
            foreign[label.text] = names
            is_closed = is_closed and label.is_certain
    return foreign, is_closed


def _report_settings(name: str) -> NotRead:
    return NotRead(
        name,
        0,
        "these settings are named and are not here, so which apps are installed and what depends on AUTH_USER_MODEL is "
        "not checked",
        "Audit where the settings are, or let manage.py name settings that are committed.",
    )


def _walk_apps(root: Path) -> Iterator[Path]:
    """Each folder that looks like an app: it contains a `migrations` folder, `apps.py` or `models.py`."""
    for folder, folders, files in walk_folders(root):
        if "migrations" in folders or {"apps.py", "models.py"} & set(files):
            yield folder
        if "migrations" in folders:
            folders.remove("migrations")


def _find_entry(root: Path, folder: Path, settings: DjangoSettings) -> tuple[str, tuple[str, ...]] | None:
    """The entry of INSTALLED_APPS that names an app, and what of it names the configuration: modules and a class.

    The folder may be below `src` or similar.
    """
    parts = folder.relative_to(root).parts
    for entry in settings.installed_apps:
        for index in range(len(parts)):
            name = ".".join(parts[index:])
            if entry == name:
                return entry, ()
            if entry.startswith(name) and (config := _CONFIG.fullmatch(entry[len(name) :])):
                return entry, (*config[1].rstrip(".").split("."), config[2]) if config[1] else (config[2],)
    return None


def _is_closed_to_us(folder: Path) -> bool:
    """Whether a right is missing to look inside; reading it will then say so."""
    return folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK)


def _count_files(folder: Path) -> int:
    return sum(map(is_migration_file, list_names(folder)))


def _find_module(root: Path, dotted: str) -> Path | None:
    parts = dotted.split(".")
    candidates = (root.joinpath(*parts), root.joinpath("src", *parts))
    return next(filter(is_folder, candidates), None)
