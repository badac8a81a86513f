"""Read what a Django project's settings say about its apps, as far as the values are literals."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from golive.migration_graph.discovery.sources import read_source
from golive.migration_graph.model import Finding
from golive.migration_graph.readers.bindings import follow
from golive.migration_graph.readers.literals import Bindings
from golive.migration_graph.readers.syntax import parse

_SETTINGS_MODULE = re.compile(rb"""DJANGO_SETTINGS_MODULE["'] *[,:=] *["']([\w.]+)["']""")
# How many levels of `from .base import *` are followed.
_MAX_STEPS = 5


@dataclass(frozen=True)
class DjangoSettings:
    """`models`: setting name -> swappable model. `migration_modules`: app label -> module; None: no migrations.

    `is_complete`: INSTALLED_APPS was read to its last element. `missing`: the modules of settings that manage.py or
    other settings name and that are not there, as where a file is not committed.
    """

    installed_apps: tuple[str, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    migration_modules: Mapping[str, str | None] = field(default_factory=dict)
    is_complete: bool = False
    missing: tuple[str, ...] = ()


def read_settings(root: Path) -> DjangoSettings:
    """The settings module named in `manage.py`, else the first `settings.py` in the root or one folder down."""
    named = _find_named(root)
    path = _find_module(root, named) if named else None
    missing = [named] if named and path is None else []
    if path is None:
        candidates = sorted([*root.glob("settings.py"), *root.glob("*/settings.py")])
        if not candidates:
            return DjangoSettings(missing=tuple(missing))
        path = candidates[0]
    names = _follow(root, path, _MAX_STEPS, missing, {})
    values = {name: binding.value for name, binding in names.items()}
    modules = values.get("MIGRATION_MODULES")
    apps = values.get("INSTALLED_APPS")
    return DjangoSettings(
        tuple(_list_strings(apps)),
        {
            name: value
            for name, value in values.items()
            if name.isupper() and isinstance(value, str) and re.fullmatch(r"[a-z_]\w*\.[A-Z]\w*", value)
        },
        {key: value for key, value in modules.items() if value is None or isinstance(value, str)}
        if isinstance(modules, dict)
        else {},
        isinstance(apps, (list, tuple)) and all(isinstance(app, str) for app in apps) and not missing,
        tuple(missing),
    )


def _find_named(root: Path) -> str | None:
    match = _SETTINGS_MODULE.search(read_source(root, root / "manage.py") or b"")
    return match[1].decode() if match else None


def _find_module(root: Path, dotted: str) -> Path | None:
    for base in (root, root / "src"):
        path = base.joinpath(*dotted.split("."))
        for candidate in (path.with_suffix(".py") if path.name else path, path / "__init__.py"):
            if os.path.isfile(candidate):  # noqa: PTH113 - which takes any name, however long
                return candidate
    return None


def _follow(root: Path, path: Path, steps: int, missing: list[str], known: dict[Path, Bindings]) -> Bindings:
    """The bindings of a settings file, including star imports from within the project; `missing`: those not there.

    `known`: the files that were followed before, since they may import each other any number of times.
    """
    if path in known:
        return known[path]
    names = known[path] = Bindings()
    tree = parse(path.name, read_source(root, path) or b"")
    if isinstance(tree, Finding):
        return names
    pending: list[ast.stmt] = []
    for statement in _flatten(tree.body):
        if isinstance(statement, ast.ImportFrom) and _is_star_import(statement) and steps:
            names = follow(pending, names)
            pending = []
            source = _find_import(root, path, statement)
            if source is not None and source.is_relative_to(root):
                names |= _follow(root, source, steps - 1, missing, known)
            elif statement.module:
                missing.append("." * statement.level + statement.module)
        else:
            pending.append(statement)
    known[path] = follow(pending, names)
    return known[path]


def _flatten(statements: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements, with the star imports that are tried: `try: from .local import *`."""
    for statement in statements:
        if isinstance(statement, ast.Try) and len(statement.body) == 1 and _is_star_import(statement.body[0]):
            yield statement.body[0]
        else:
            yield statement


def _is_star_import(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and [alias.name for alias in statement.names] == ["*"]


def _find_import(root: Path, path: Path, statement: ast.ImportFrom) -> Path | None:
    if not statement.level:
        return _find_module(root, statement.module or "")
    base = path.parent
    for _ in range(statement.level - 1):
        base = base.parent
    return _find_module(base, statement.module) if statement.module else None


def _list_strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, (list, tuple)) else []
