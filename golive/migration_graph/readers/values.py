"""Reference lists as Python source."""

from __future__ import annotations

from collections.abc import Sequence

from golive.migration_graph.model import Kind


def format_value(names: Sequence[str], kind: Kind = Kind.ALEMBIC) -> str:
    """What stands right of the `=`: as Alembic's template writes it (`None`, `'a'`, `('a', 'b')`), or Django's list."""
    if kind is Kind.DJANGO:
        return repr([tuple(name.split(".", 1)) for name in names])
    if not names:
        return "None"
    return repr(names[0]) if len(names) == 1 else repr(tuple(names))
