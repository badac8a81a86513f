"""The value of a variable as it is written in a file, for those who have to replace it."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from golive.migration_graph.model import Finding, Kind
from golive.migration_graph.readers.syntax import list_targets, parse


def find_written(kind: Kind, content: bytes, variable: str) -> tuple[str, int] | None:
    """The source of the value that is assigned to a variable, and its line.

    None if it is not assigned exactly once, at the top level (for Django in the class `Migration`).
    """
    tree = parse("", content)
    if isinstance(tree, Finding):
        return None
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Migration"]
    body: Sequence[ast.stmt] = tree.body if kind is Kind.ALEMBIC else classes[-1].body if classes else ()
    bound = [node for statement in body for node in ast.walk(statement) if _binds(node, variable)]
    values = [value for statement in body if (value := _get_value(statement, variable)) is not None]
    if len(bound) != 1 or len(values) != 1:
        return None
    try:
        source = ast.get_source_segment(content.decode(), values[0])
    except UnicodeDecodeError:
        return None
    return None if source is None else (source, values[0].lineno)


def _binds(node: ast.AST, variable: str) -> bool:
    return isinstance(node, ast.Name) and node.id == variable and isinstance(node.ctx, ast.Store)


def _get_value(statement: ast.stmt, variable: str) -> ast.expr | None:
    if not isinstance(statement, (ast.Assign, ast.AnnAssign)):
        return None
    targets = list_targets(statement)
    is_named = len(targets) == 1 and isinstance(targets[0], ast.Name) and targets[0].id == variable
    return statement.value if is_named else None


def quote_alike(source: str, other: str) -> str:
    """A source as `repr` writes it, with the quotes of another one."""
    is_double = '"' in other and "'" not in other
    return source.replace("'", '"') if is_double and '"' not in source and "\\" not in source else source
