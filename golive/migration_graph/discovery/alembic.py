"""Locate revisions as Alembic does: by its configuration, a script folder or a versions folder."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from golive.migration_graph.discovery.alembic_config import AlembicConfig, read_config
from golive.migration_graph.discovery.not_read import count_revisions, report_absent
from golive.migration_graph.discovery.sources import Layout, Location, drop_duplicates, is_folder, make_prefix
from golive.migration_graph.model import Kind, NotRead, UnusableInputError

_MAX_SHOWN = 300


def find_configured(root: Path, ini: Path, toml: Path, name: str | None = None) -> Layout | None:
    """The layout described by a folder's configuration; `name` as `alembic --name`. None: there is none.

    Raises UnusableInputError.
    """
    config = read_config(ini, toml, name)
    if config is None:
        return None
    if config.script_location is None and not (root / "env.py").is_file():
        if not ini.is_file():
            return None
        raise UnusableInputError(f"{ini} has no script_location in a section [alembic]")
    folders = _list_folders(root, config)
    present = [folder for folder in folders if is_folder(folder)]
    if not present:
        shown = str(folders[0])[:_MAX_SHOWN]
        raise UnusableInputError(f"{shown} is not a folder, though the configuration of Alembic names it")
    not_read = [report_absent(root, folder) for folder in folders if folder not in present]
    not_read += [_describe_section(root, ini, toml, other) for other in config.others]
    layout = make_layout(
        root, present, is_recursive=config.is_recursive, is_sourceless=config.is_sourceless, not_read=not_read
    )
    return replace(layout, configuration=ini.name if ini.is_file() else toml.name)


def make_layout(
    root: Path,
    folders: list[Path],
    *,
    is_recursive: bool = False,
    is_sourceless: bool = False,
    not_read: list[NotRead] | None = None,
) -> Layout:
    locations = [Location(folder, make_prefix(root, folder), is_recursive=is_recursive) for folder in folders]
    return Layout(
        Kind.ALEMBIC, root, drop_duplicates(locations), not_read=tuple(not_read or ()), is_sourceless=is_sourceless
    )


def _list_folders(root: Path, config: AlembicConfig) -> list[Path]:
    """The folders of revisions that the configuration names, whether they exist or not."""
    if config.version_locations:
        return [_resolve(root, name, config) for name in config.version_locations]
    # Flask-Migrate runs Alembic with the script folder, where it keeps the configuration, as script_location.
    script = root if config.script_location is None else _resolve(root, config.script_location, config)
    return [script / "versions"]


def _resolve(root: Path, name: str, config: AlembicConfig) -> Path:
    """Resolve a path from where Alembic may be run: the configuration's folder or the one above it."""
    if Path(name).is_absolute():
        return Path(os.path.normpath(name))
    if ":" not in name:
        candidates = [Path(os.path.normpath(folder / name)) for folder in (root, root / "..")]
        return next((candidate for candidate in candidates if is_folder(candidate)), candidates[0])
    package, *rest = name.split(":")
    parts = [*package.split("."), *rest]
    for start in (root, root / ".."):
        for folder in (*config.search_folders, ".", "src"):
            candidate = Path(os.path.normpath(start.joinpath(folder, *parts)))
            if is_folder(candidate):
                return candidate
    raise UnusableInputError(f"{name[:_MAX_SHOWN]} names the package {package}, which is not in {root}")


def _describe_section(root: Path, ini: Path, toml: Path, name: str) -> NotRead:
    files = 0
    with suppress(UnusableInputError):
        config = read_config(ini, toml, name)
        if config is not None:
            folders = filter(is_folder, _list_folders(root, config))
            files = sum(count_revisions(folder, is_recursive=config.is_recursive) for folder in folders)
    return NotRead(
        ini.name,
        files,
        f"the section [{name}] describes another environment",
        f"Audit it too: --name {name}.",
    )
