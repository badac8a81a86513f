"""Reference lists as Python source."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from golive.migration_graph.model import Kind


def format_value(names: Sequence[str], kind: Kind = Kind.ALEMBIC) -> str:
    """Names as source code: as in Alembic's template (`None`, `'a'`, `('a', 'b')`), or as Django's list of pairs."""
    if kind is Kind.DJANGO:
        return f"[{', '.join(map(_format_dependency, names))}]"
    if not names:
        return "None"
    return repr(names[0]) if len(names) == 1 else repr(tuple(names))


def _format_dependency(name: str) -> str:
    app, _, migration = name.partition(".")
    return f"migrations.swappable_dependency({name})" if app == "settings" else repr((app, migration))


def read_value(source: str, kind: Kind = Kind.ALEMBIC) -> tuple[str, ...]:
    """The names in what `format_value` wrote."""
    expression = ast.parse(source, mode="eval").body
    if kind is Kind.DJANGO:
        elements = expression.elts if isinstance(expression, ast.List) else []
        return tuple(
            ast.unparse(element.args[0]) if isinstance(element, ast.Call) else ".".join(ast.literal_eval(element))
            for element in elements
        )
    value = ast.literal_eval(expression)
    return (value,) if isinstance(value, str) else tuple(value or ())
