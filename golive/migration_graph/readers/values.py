"""Reference lists as Python source."""

from __future__ import annotations

from collections.abc import Sequence

from golive.migration_graph.model import Kind


def format_value(names: Sequence[str], kind: Kind = Kind.ALEMBIC) -> str:
    """Names as source code: as in Alembic's template (`None`, `'a'`, `('a', 'b')`), or as Django's list of pairs."""
    if kind is Kind.DJANGO:
        return repr([tuple(name.split(".", 1)) for name in names])
    if not names:
        return "None"
    return repr(names[0]) if len(names) == 1 else repr(tuple(names))
