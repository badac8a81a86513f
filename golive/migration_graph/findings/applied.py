"""Compare the files with the migrations applied to a database: MG301, MG302, and what an upgrade would run.

The caller reads the database and passes names. For Alembic these are the rows of `alembic_version`: the newest applied
revisions, which imply all their ancestors. For Django they are all rows of `django_migrations`, as `app.name`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from difflib import get_close_matches

from golive.migration_graph.graph.upgrades import plan_upgrade
from golive.migration_graph.model import Finding, Graph, Kind, Report, Severity, get_app

# Findings that keep either tool from making a plan. Multiple heads do not stop `upgrade heads`.
_PREVENTS_PLAN = {"MG101", "MG102", "MG103", "MG104", "MG107"}
_MAX_NAMES = 5


def compare_applied(report: Report, applied: Collection[str]) -> Report:
    """Add MG301 for each applied name without a file, MG302 for what an upgrade would run, and `pending`.

    `pending` is None if no upgrade can be planned: the graph has a defect that stops the tool, or (Alembic) an applied
    name is unknown.
    """
    unknown = find_unknown(report.graph, applied)
    findings = [_describe_unknown(report.graph, name) for name in unknown]
    is_stopped = any(finding.code in _PREVENTS_PLAN for finding in report.findings)
    # Django ignores unknown applied migrations; Alembic cannot resolve them and stops.
    if is_stopped or (unknown and report.kind is Kind.ALEMBIC):
        return replace(report, findings=(*report.findings, *findings), pending=None)
    pending = plan_upgrade(report.graph, applied)
    if pending:
        findings.append(_describe_behind(report.kind, pending))
    return replace(report, findings=(*report.findings, *findings), pending=pending)


def find_unknown(graph: Graph, applied: Iterable[str]) -> tuple[str, ...]:
    """Applied names without a file, sorted. For Django only those of audited apps: the database has other apps too."""
    known = {node.name for node in graph.nodes.values()}
    # The files of squashed migrations may be deleted, but their rows remain in the database.
    known.update(name for names in graph.replaces.values() for name in names)
    missing = set(applied) - known
    if graph.kind is Kind.DJANGO:
        labels = {get_app(name) for name in known}
        missing = {name for name in missing if get_app(name) in labels}
    return tuple(sorted(missing))


def _describe_unknown(graph: Graph, name: str) -> Finding:
    names = sorted({node.name for node in graph.nodes.values()})
    near = get_close_matches(name, names, n=3, cutoff=0.8)
    hint = f"Put the file of {name} back (a deploy of another branch may have brought it)"
    if near:
        hint += f"; near it are {', '.join(near)}"
    return Finding(
        "MG301",
        "database-revision-unknown",
        Severity.ERROR,
        f"the database has run {name}, and no file has that name",
        f"{hint}.",
        revisions=(name,),
    )


def _describe_behind(kind: Kind, pending: tuple[str, ...]) -> Finding:
    shown = ", ".join(pending[:_MAX_NAMES]) + (" ..." if len(pending) > _MAX_NAMES else "")
    command = "alembic upgrade heads" if kind is Kind.ALEMBIC else "manage.py migrate"
    return Finding(
        "MG302",
        "database-behind",
        Severity.INFO,
        f"the database is {len(pending)} behind: {shown}",
        f"`{command}` runs them in this order.",
        revisions=pending,
    )
