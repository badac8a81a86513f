"""The label of a Django app, as its AppConfig says it."""

from __future__ import annotations

import ast
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from golive.migration_graph.discovery.sources import read_source
from golive.migration_graph.model import Finding
from golive.migration_graph.readers.bindings import follow
from golive.migration_graph.readers.literals import UNKNOWN
from golive.migration_graph.readers.syntax import parse


@dataclass(frozen=True)
class Label:
    """`is_certain` False: a configuration computes or inherits its label, and this is the usual one."""

    text: str
    is_certain: bool


def read_label(root: Path, folder: Path, config: Sequence[str] = ()) -> Label:
    """`AppConfig.label`, else the last part of `AppConfig.name`, else the name of the folder.

    A link out of `root` is not followed. `config`: the modules and the class that INSTALLED_APPS names below the
    package (`apps`, `UsersConfig`); empty: the default configuration in `apps.py`.
    """
    *modules, wanted = config or ("apps", "")
    path = folder.joinpath(*modules).with_suffix(".py") if modules else folder / "__init__.py"
    content = read_source(root, path)
    tree = parse("apps.py", content) if content is not None else None
    if tree is None or isinstance(tree, Finding):
        return Label(folder.name, is_certain=not os.path.lexists(path) and not config)
    outer = follow(tree.body)
    labels = []
    is_certain = True
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and wanted in ("", node.name):
            names = follow(node.body, outer)
            values = [names[name].value if name in names else None for name in ("label", "name", "default")]
            label, name, default = values
            text = label if isinstance(label, str) else name.rpartition(".")[2] if isinstance(name, str) else ""
            is_certain &= label is not UNKNOWN and bool(text)
            if text:
                labels.append((default is not True, name is UNKNOWN, text))
    if not labels:
        return Label(folder.name, is_certain and not config)
    return Label(min(labels, key=lambda candidate: candidate[:2])[2], is_certain)
