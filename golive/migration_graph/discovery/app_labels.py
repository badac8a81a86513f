"""The label of a Django app, as its AppConfig says it."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

from golive.migration_graph.model import Finding
from golive.migration_graph.readers.bindings import follow
from golive.migration_graph.readers.literals import UNKNOWN
from golive.migration_graph.readers.syntax import parse


def read_label(folder: Path, config: Sequence[str] = ()) -> str:
    """`AppConfig.label`, else the last part of `AppConfig.name`, else the name of the folder.

    `config`: the modules and the class that INSTALLED_APPS names below the package (`apps`, `UsersConfig`); empty: the
    default configuration in `apps.py`.
    """
    *modules, wanted = config or ("apps", "")
    paths = [folder.joinpath(*modules).with_suffix(".py")] if modules else [folder / "__init__.py"]
    content = _read(paths[0])
    tree = parse("apps.py", content) if content is not None else None
    labels = []
    if tree is not None and not isinstance(tree, Finding):
        outer = follow(tree.body)
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and wanted in ("", node.name):
                names = follow(node.body, outer)
                values = [names[name].value if name in names else None for name in ("label", "name", "default")]
                label, name, default = values
                text = label if isinstance(label, str) else name.rpartition(".")[2] if isinstance(name, str) else ""
                if text:
                    labels.append((default is not True, name is UNKNOWN, text))
    return min(labels, key=lambda candidate: candidate[:2])[2] if labels else folder.name


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
