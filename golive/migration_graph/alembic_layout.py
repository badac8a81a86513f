"""Where Alembic would look for revisions: `alembic.ini`, `[tool.alembic]`, a script folder, a versions folder."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golive.migration_graph.model import Kind, UnusableInputError
from golive.migration_graph.sources import Layout, Location, drop_doubles, make_prefix, read_settings

_SEPARATORS = {"space": " ", "newline": "\n", "os": os.pathsep, ":": ":", ";": ";"}


@dataclass(frozen=True, slots=True)
class _Settings:
    script_location: str
    version_locations: tuple[str, ...]
    search_folders: tuple[str, ...]
    is_recursive: bool


def find_configured(root: Path, ini: Path, toml: Path) -> Layout | None:
    """The layout that the configuration in a folder describes. None: there is none. Raises UnusableInputError."""
    settings = _read_ini(ini) if ini.is_file() else None
    settings = settings or (_read_toml(toml) if toml.is_file() else None)
    if settings is None:
        if ini.is_file():
            raise UnusableInputError(f"{ini} has no script_location in a section [alembic]")
        return None
    folders = [_find_folder(root, name, settings) for name in settings.version_locations]
    if not folders:
        folders = [_find_folder(root, settings.script_location, settings) / "versions"]
    present = [folder for folder in folders if folder.is_dir()]
    if not present:
        raise UnusableInputError(f"{folders[0]} is not a folder, though the configuration of Alembic names it")
    return make_layout(root, present, is_recursive=settings.is_recursive)


def make_layout(root: Path, folders: list[Path], *, is_recursive: bool = False) -> Layout:
    locations = [Location(folder, make_prefix(root, folder), is_recursive=is_recursive) for folder in folders]
    return Layout(Kind.ALEMBIC, root, drop_doubles(locations))


def _read_ini(path: Path) -> _Settings | None:
    parser = ConfigParser({"here": str(path.absolute().parent)})
    try:
        parser.read_string(read_settings(path), source=str(path))
        if not parser.has_option("alembic", "script_location"):
            return None

        def get(name: str) -> str:
            return parser.get("alembic", name, fallback="")

        return _Settings(
            get("script_location"),
            _split(get("version_locations"), get("path_separator") or get("version_path_separator"), r", *|(?: +)"),
            _split(get("prepend_sys_path"), get("path_separator"), r", *|(?: +)|\:"),
            get("recursive_version_locations") == "true",
        )
    except ConfigError as error:
        raise UnusableInputError(f"{path} cannot be read: {_locate(error)}") from None


def _split(text: str, separator: str, legacy: str) -> tuple[str, ...]:
    """As Alembic: by the separator that is named, else by spaces and commas."""
    if not text:
        return ()
    if not separator:
        return tuple(part for part in re.split(legacy, text) if part)
    if separator not in _SEPARATORS:
        raise UnusableInputError(f"path_separator is {separator!r}; Alembic knows {', '.join(_SEPARATORS)}")
    return tuple(part.strip() for part in text.split(_SEPARATORS[separator]) if part.strip())


def _read_toml(path: Path) -> _Settings | None:
    import tomllib

    try:
        data = tomllib.loads(read_settings(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        place = re.search(r"at line \d+, column \d+|at end of document", str(error))
        where = place[0] if place else "nested too deeply"
        raise UnusableInputError(f"{path} cannot be read: it is no TOML ({where})") from None
    tools = data.get("tool")
    tool = tools.get("alembic") if isinstance(tools, dict) else None
    if not isinstance(tool, dict) or "script_location" not in tool:
        return None
    here = str(path.absolute().parent)
    return _Settings(
        _fill(tool["script_location"], here),
        _list(tool, "version_locations", here),
        _list(tool, "prepend_sys_path", here),
        tool.get("recursive_version_locations") is True,
    )


def _list(tool: Mapping[str, Any], name: str, here: str) -> tuple[str, ...]:
    value = tool.get(name) or []
    return tuple(_fill(item, here) for item in ([value] if isinstance(value, str) else value))


def _fill(value: object, here: str) -> str:
    if not isinstance(value, str):
        raise UnusableInputError(f"[tool.alembic] holds {value!r} where a path belongs")
    return value.replace("%(here)s", here).replace("%%", "%")


def _locate(error: ConfigError) -> str:
    """What is wrong and where. The parser's own words would repeat the line, and with it what a stranger linked to."""
    line = getattr(error, "lineno", None) or next((number for number, _ in getattr(error, "errors", ())), None)
    option = getattr(error, "option", None)
    place = f"line {line}" if line else f"option {option}" if option else "somewhere"
    return f"{type(error).__name__.removesuffix('Error')} ({place})"


def _find_folder(root: Path, name: str, settings: _Settings) -> Path:
    """A path is relative to the folder of the configuration, where Alembic is run; `package:path` is looked for."""
    if Path(name).is_absolute() or ":" not in name:
        return Path(os.path.normpath(root / name))
    package, *rest = name.split(":")
    parts = [*package.split("."), *rest]
    for folder in (*settings.search_folders, ".", "src"):
        candidate = Path(os.path.normpath(root.joinpath(folder, *parts)))
        if candidate.is_dir():
            return candidate
    raise UnusableInputError(f"{name} names the package {package}, which is not in {root}")
