"""Read migrations of other packages, which those of an audited folder depend on, for their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from golive.migration_graph.discovery.contents import read_layout
from golive.migration_graph.discovery.layouts import find_layout
from golive.migration_graph.discovery.sources import Layout
from golive.migration_graph.model import Kind, Node, Project, UnusableInputError, split_name


def add_packages(layout: Layout, paths: Sequence[str]) -> Layout:
    """The layout with the migrations at these paths known by name. They are not audited themselves.

    Raises UnusableInputError if there are none at a path, or those of the other tool.
    """
    for path in paths:
        other = find_layout(path)
        if other.kind is not layout.kind:
            raise UnusableInputError(f"--with {path}: its migrations are of {other.kind}, the audited of {layout.kind}")
        nodes = [file.node for file in read_layout(other)[0] if file.node is not None]
        layout = replace(layout, project=_add(layout, nodes))
    return layout


def _add(layout: Layout, nodes: Sequence[Node]) -> Project:
    project = layout.project
    if layout.kind is Kind.ALEMBIC:
        names = {name for node in nodes for name in (node.name, *node.branch_labels)}
        return replace(project, elsewhere=project.elsewhere | names)
    foreign = dict(project.foreign)
    for node in nodes:
        app, name = split_name(node.name)
        foreign[app] = (foreign.get(app) or frozenset()) | {name}
    return replace(project, foreign=foreign)
