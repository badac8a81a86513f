"""Compare the files with the migrations applied to a database: MG301, MG302, and what an upgrade would run.

The caller reads the database and passes names. For Alembic these are the rows of `alembic_version`: the newest applied
revisions, which imply all their ancestors. For Django they are all rows of `django_migrations`, as `app.name`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from difflib import get_close_matches

from golive.migration_graph.catalogue import make_finding
from golive.migration_graph.graph.upgrades import find_inconsistent, find_overlaps, find_partly_applied, plan_upgrade
from golive.migration_graph.model import Finding, Graph, Kind, Report, Severity, get_app, split_name

# The graph without these squashed migrations (by key).
Rebuild = Callable[[frozenset[str]], Graph]

# Findings that keep either tool from making a plan. Multiple heads do not stop `upgrade heads`.
_PREVENTS_PLAN = {"MG101", "MG102", "MG103", "MG104", "MG107"}
_MAX_NAMES = 5


def compare_applied(report: Report, applied: Collection[str], rebuild: Rebuild) -> Report:
    """Add MG301 for applied names without a file, MG302 for what an upgrade would run, MG305 where the tool refuses.

    `pending` is None if no upgrade can be planned: the graph has a defect that stops the tool, the tool refuses the
    database, or (Alembic) an applied name is unknown.
    """
    graph = report.graph
    unknown = find_unknown(graph, applied)
    findings = [_describe_unknown(graph, name) for name in unknown]
    is_stopped = any(finding.code in _PREVENTS_PLAN for finding in report.findings)
    if not is_stopped and (partly := find_partly_applied(graph, applied)):
        graph = rebuild(partly)
        findings += _find_lost(graph, report.graph, partly)
    if report.kind is Kind.ALEMBIC:
        findings += [_describe_overlap(graph, *pair) for pair in find_overlaps(graph, applied)]
    else:
        findings += [_describe_inconsistency(graph, *pair) for pair in find_inconsistent(graph, applied)]
    is_refused = any(finding.code == "MG305" for finding in findings)
    # Django ignores unknown applied migrations; Alembic cannot resolve them and stops.
    if is_stopped or is_refused or (unknown and report.kind is Kind.ALEMBIC):
        return replace(report, findings=(*report.findings, *findings), pending=None)
    pending = plan_upgrade(graph, applied)
    if pending:
        findings.append(_describe_behind(report.kind, pending, is_fresh=not applied))
    return replace(report, findings=(*report.findings, *findings), pending=pending)


def _find_lost(graph: Graph, whole: Graph, partly: Collection[str]) -> Iterator[Finding]:
    """What a squashed migration leaves behind that Django removes because only a part of it is applied."""
    for key, references in graph.dangling.items():
        if key not in whole.dangling:
            squashed = ", ".join(sorted(whole.nodes[each].name for each in partly))
            yield make_finding(
                "MG305",
                f"the database has run a part of what {squashed} replaces, and Django leaves it out then; but "
                f"{graph.nodes[key].name} needs {references[0].name}, and the old files are gone",
                "Bring the replaced files back until every database has run all of them.",
                file=key,
                line=references[0].line,
                revisions=(graph.nodes[key].name,),
            )


def _describe_overlap(graph: Graph, before: str, after: str) -> Finding:
    first, second = graph.nodes[before].name, graph.nodes[after].name
    return make_finding(
        "MG305",
        f"the database holds {first} and {second}, but {second} implies {first}: Alembic refuses rows that overlap",
        f"If the database has run both, delete the row {first} from alembic_version.",
        file=after,
        line=graph.nodes[after].line,
        revisions=(first, second),
    )


def _describe_inconsistency(graph: Graph, applied: str, missing: str) -> Finding:
    name, parent = graph.nodes[applied].name, graph.nodes[missing].name
    return make_finding(
        "MG305",
        f"the database has run {name} and not {parent}, which comes before it: Django refuses this history",
        "Look whether the file was renamed or the dependency was added later; if the database has what it does, record "
        f"it with `manage.py migrate --fake {' '.join(split_name(parent))}`.",
        file=applied,
        line=graph.nodes[applied].line,
        revisions=(name, parent),
    )


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


def _describe_behind(kind: Kind, pending: tuple[str, ...], *, is_fresh: bool) -> Finding:
    shown = ", ".join(pending[:_MAX_NAMES]) + (" ..." if len(pending) > _MAX_NAMES else "")
    command = "alembic upgrade heads" if kind is Kind.ALEMBIC else "manage.py migrate"
    return Finding(
        "MG302",
        "database-behind",
        Severity.INFO,
        f"the database {'has run nothing yet' if is_fresh else f'is {len(pending)} behind'}: {shown}",
        f"`{command}` runs them in this order.",
        revisions=pending,
    )
