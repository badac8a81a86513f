"""Locate revisions as Alembic does: by `alembic.ini`, `[tool.alembic]`, a script folder or a versions folder."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from configparser import (
    MAX_INTERPOLATION_DEPTH,
    BasicInterpolation,
    ConfigParser,
    InterpolationDepthError,
    InterpolationMissingOptionError,
    InterpolationSyntaxError,
)
from configparser import Error as ConfigError
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golive.migration_graph.discovery.sources import (
    Layout,
    Location,
    drop_duplicates,
    make_prefix,
    parse_toml,
    read_settings,
)
from golive.migration_graph.model import Kind, UnusableInputError

_SEPARATORS = {"space": " ", "newline": "\n", "os": os.pathsep, ":": ":", ";": ";"}

# The longest value of alembic.ini after interpolation.
_MAX_VALUE_LENGTH = 100_000
_MAX_SHOWN = 300
_REFERENCE = re.compile(r"%(%|\((?P<name>[^)]+)\)s|)")


class _BoundedInterpolation(BasicInterpolation):
    """ConfigParser's interpolation, expanding each option only once: nested references could grow exponentially."""

    def before_get(self, parser: Any, section: str, option: str, value: str, defaults: Mapping[str, str]) -> str:
        cache: dict[str, str] = {}

        def fill(text: str, depth: int) -> str:
            if depth > MAX_INTERPOLATION_DEPTH:
                raise InterpolationDepthError(option, section, "")
            expanded = _REFERENCE.sub(lambda reference: replace(reference, depth), text)
            if len(expanded) > _MAX_VALUE_LENGTH:
                raise InterpolationDepthError(option, section, "")
            return expanded

        def replace(reference: re.Match[str], depth: int) -> str:
            if reference[0] == "%%":
                return "%"
            if reference["name"] is None:
                raise InterpolationSyntaxError(option, section, "")
            name = parser.optionxform(reference["name"])
            if name not in defaults:
                raise InterpolationMissingOptionError(option, section, "", name)
            if name not in cache:
                cache[name] = fill(defaults[name], depth + 1)
            return cache[name]

        return fill(value, 1)


@dataclass(frozen=True, slots=True)
class _Settings:
    script_location: str
    version_locations: tuple[str, ...]
    search_folders: tuple[str, ...]
    is_recursive: bool


def find_configured(root: Path, ini: Path, toml: Path) -> Layout | None:
    """The layout described by a folder's configuration. None: there is none. Raises UnusableInputError."""
    settings = _read_ini(ini) if ini.is_file() else None
    settings = settings or (_read_toml(toml) if toml.is_file() else None)
    if settings is None:
        if ini.is_file():
            raise UnusableInputError(f"{ini} has no script_location in a section [alembic]")
        return None
    folders = [_find_folder(root, name, settings) for name in settings.version_locations]
    if not folders:
        folders = [_find_folder(root, settings.script_location, settings) / "versions"]
    present = [folder for folder in folders if _is_folder(folder)]
    if not present:
        shown = str(folders[0])[:_MAX_SHOWN]
        raise UnusableInputError(f"{shown} is not a folder, though the configuration of Alembic names it")
    return make_layout(root, present, is_recursive=settings.is_recursive)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # such as a name that is too long
        return False


def make_layout(root: Path, folders: list[Path], *, is_recursive: bool = False) -> Layout:
    locations = [Location(folder, make_prefix(root, folder), is_recursive=is_recursive) for folder in folders]
    return Layout(Kind.ALEMBIC, root, drop_duplicates(locations))


def _read_ini(path: Path) -> _Settings | None:
    parser = ConfigParser({"here": str(path.absolute().parent)}, interpolation=_BoundedInterpolation())
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
    """Split as Alembic does: by the configured separator, else by spaces and commas."""
    if not text:
        return ()
    if not separator:
        return tuple(part for part in re.split(legacy, text) if part)
    if separator not in _SEPARATORS:
        raise UnusableInputError(f"path_separator is {separator!r}; Alembic knows {', '.join(_SEPARATORS)}")
    return tuple(part.strip() for part in text.split(_SEPARATORS[separator]) if part.strip())


def _read_toml(path: Path) -> _Settings | None:
    data = parse_toml(path, read_settings(path))
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
    """The kind and place of an error. The parser's own message would quote the line of an untrusted file."""
    line = getattr(error, "lineno", None) or next((number for number, _ in getattr(error, "errors", ())), None)
    option = getattr(error, "option", None)
    place = f"line {line}" if line else f"option {option}" if option else "somewhere"
    return f"{type(error).__name__.removesuffix('Error')} ({place})"


def _find_folder(root: Path, name: str, settings: _Settings) -> Path:
    """Resolve a path relative to the configuration's folder, where Alembic runs; search for `package:path`."""
    if Path(name).is_absolute() or ":" not in name:
        return Path(os.path.normpath(root / name))
    package, *rest = name.split(":")
    parts = [*package.split("."), *rest]
    for folder in (*settings.search_folders, ".", "src"):
        candidate = Path(os.path.normpath(root.joinpath(folder, *parts)))
        if _is_folder(candidate):
            return candidate
    raise UnusableInputError(f"{name[:_MAX_SHOWN]} names the package {package}, which is not in {root}")
