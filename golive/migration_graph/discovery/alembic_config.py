"""Read Alembic's configuration: `alembic.ini` and `[tool.alembic]`, merged option by option as Alembic merges them."""

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
from typing import Any, Final

from golive.migration_graph.discovery.sources import parse_toml, read_settings
from golive.migration_graph.model import UnusableInputError

DEFAULT_SECTION: Final = "alembic"
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


@dataclass(frozen=True)
class AlembicConfig:
    """What the configuration says of one environment. `script_location` None: nothing, as Flask-Migrate writes it.

    `others`: the sections of `alembic.ini` beside it that describe environments of their own. `is_sourceless`: Alembic
    loads compiled files too.
    """

    script_location: str | None
    version_locations: tuple[str, ...]
    search_folders: tuple[str, ...]
    is_recursive: bool
    is_sourceless: bool
    others: tuple[str, ...]


def read_config(ini: Path, toml: Path, name: str | None = None) -> AlembicConfig | None:
    """The configuration of the section `name`; None: `[alembic]`, or the only section that describes an environment.

    Returns None if neither file says anything of Alembic. Raises UnusableInputError, also if it is open which of
    several sections is meant.
    """
    parser = _parse_ini(ini) if ini.is_file() else None
    tool = _read_tool(toml) if toml.is_file() else {}
    environments = _list_environments(parser) if parser else []
    if parser is None and not tool:
        return None
    if "script_location" in tool and DEFAULT_SECTION not in environments:
        environments.append(DEFAULT_SECTION)
    section = _choose_section(ini, environments, name, has_default=bool(tool) or _has_default(parser))
    try:
        return _merge(parser, tool, section, str(toml.absolute().parent), environments)
    except ConfigError as error:
        raise UnusableInputError(f"{ini} cannot be read: {_locate(error)}") from None


def _parse_ini(path: Path) -> ConfigParser:
    parser = ConfigParser({"here": str(path.absolute().parent)}, interpolation=_BoundedInterpolation())
    try:
        parser.read_string(read_settings(path), source=str(path))
    except ConfigError as error:
        raise UnusableInputError(f"{path} cannot be read: {_locate(error)}") from None
    return parser


def _has_default(parser: ConfigParser | None) -> bool:
    return parser is not None and parser.has_section(DEFAULT_SECTION)


def _list_environments(parser: ConfigParser) -> list[str]:
    """The sections that have a script_location."""
    return [name for name in parser.sections() if "script_location" in parser[name]]


def _choose_section(ini: Path, environments: list[str], name: str | None, *, has_default: bool) -> str:
    if name is not None:
        if name in environments or (name == DEFAULT_SECTION and has_default):
            return name
        raise UnusableInputError(f"{ini} has no section [{name}] with a script_location{_list_names(environments)}")
    if has_default and (DEFAULT_SECTION in environments or not environments):
        return DEFAULT_SECTION
    if not environments:
        raise UnusableInputError(f"{ini} has no script_location in a section [alembic]")
    if len(environments) == 1:
        return environments[0]
    raise UnusableInputError(f"{ini} describes several environments; choose one with --name{_list_names(environments)}")


def _list_names(environments: list[str]) -> str:
    return f": {', '.join(environments)[:_MAX_SHOWN]}" if environments else ""


def _merge(
    parser: ConfigParser | None, tool: Mapping[str, Any], section: str, here: str, environments: list[str]
) -> AlembicConfig:
    def find(name: str) -> str | None:
        return parser.get(section, name) if parser is not None and parser.has_option(section, name) else None

    def find_path(name: str) -> str | None:
        text = find(name)
        return text if text is not None else (_fill(tool[name], here) if name in tool else None)

    def find_boolean(name: str) -> bool:
        text = find(name)
        return text == "true" if text is not None else tool.get(name) is True

    def find_list(name: str, separator: str | None, legacy: str) -> tuple[str, ...]:
        text = find(name)
        return _split(text, separator or "", legacy) if text else _list(tool, name, here)

    separator = find("path_separator")
    return AlembicConfig(
        find_path("script_location"),
        find_list("version_locations", separator or find("version_path_separator"), r", *|(?: +)"),
        find_list("prepend_sys_path", separator, r", *|(?: +)|\:"),
        find_boolean("recursive_version_locations"),
        find_boolean("sourceless"),
        tuple(name for name in environments if name != section),
    )


def _split(text: str, separator: str, legacy: str) -> tuple[str, ...]:
    """Split as Alembic does: by the configured separator, else by spaces and commas."""
    if not text:
        return ()
    if not separator:
        return tuple(part for part in re.split(legacy, text) if part)
    if separator not in _SEPARATORS:
        shown = separator[:_MAX_SHOWN]
        raise UnusableInputError(f"path_separator is {shown!r}; Alembic knows {', '.join(_SEPARATORS)}")
    return tuple(part.strip() for part in text.split(_SEPARATORS[separator]) if part.strip())


def _read_tool(path: Path) -> dict[str, Any]:
    data = parse_toml(path, read_settings(path))
    tools = data.get("tool")
    tool = tools.get("alembic") if isinstance(tools, dict) else None
    return tool if isinstance(tool, dict) else {}


def _list(tool: Mapping[str, Any], name: str, here: str) -> tuple[str, ...]:
    value = tool.get(name) or []
    return tuple(_fill(item, here) for item in (value if isinstance(value, list) else [value]))


def _fill(value: object, here: str) -> str:
    if not isinstance(value, str):
        raise UnusableInputError("[tool.alembic] holds something else where a path belongs")
    return value.replace("%(here)s", here).replace("%%", "%")


def _locate(error: ConfigError) -> str:
    """The kind and place of an error. The parser's own message would quote the line of an untrusted file."""
    line = getattr(error, "lineno", None) or next((number for number, _ in getattr(error, "errors", ())), None)
    option = getattr(error, "option", None)
    place = f"line {line}" if line else f"option {option}" if option else "somewhere"
    return f"{type(error).__name__.removesuffix('Error')} ({place})"
