"""Packages outside the project that its settings install, known by the names of their files. Nothing is imported."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from golive.migration_graph.discovery.app_labels import Label, read_label
from golive.migration_graph.discovery.sources import is_folder, is_migration_file, list_names

_CONTRIB = "django.contrib."


def find_package(dotted: str) -> Path | None:
    """The folder of a package on Python's path; None: it is not there."""
    top, *rest = dotted.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    locations = spec.submodule_search_locations if spec is not None else None
    candidates = (Path(location).joinpath(*rest) for location in locations or ())
    return next(filter(is_folder, candidates), None)


def describe_app(entry: str) -> tuple[Label, frozenset[str] | None] | None:
    """Label of an entry of INSTALLED_APPS and, for Django's own apps, the names of its migrations (None: unknown).

    Returns None if the package is not there.
    """
    parts = entry.split(".")
    for length in range(len(parts), 0, -1):
        folder = find_package(".".join(parts[:length]))
        if folder is not None:
            config = tuple(parts[length:])
            names = _list_migrations(folder) if entry.startswith(_CONTRIB) else None
            return read_label(folder, folder, config), names
    return None


def _list_migrations(folder: Path) -> frozenset[str]:
    names = filter(is_migration_file, list_names(folder / "migrations"))
    return frozenset(name.removesuffix(".py") for name in names)
