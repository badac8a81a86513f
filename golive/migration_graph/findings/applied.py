"""Compare the files with the migrations applied to a database: MG301 to MG306, and what an upgrade would run.

The caller reads the database and passes names. For Alembic these are the rows of `alembic_version`: the newest applied
revisions, which imply all their ancestors. For Django they are all rows of `django_migrations`, as `app.name`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from golive.migration_graph.catalogue import make_finding
from golive.migration_graph.findings.ran import find_misapplied
from golive.migration_graph.graph.positions import Position, Possibility, Upgrades
from golive.migration_graph.graph.upgrades import (
    find_failing_step,
    find_inconsistent,
    find_overlaps,
    find_partly_applied,
    is_loadable,
    plan_upgrade,
)
from golive.migration_graph.model import (
    AppliedRows,
    ComparedDatabase,
    Finding,
    Graph,
    Kind,
    Report,
    Severity,
    get_app,
)
from golive.migration_graph.readers.bodies import EMPTY

# The graph without these squashed migrations (by key).
Rebuild = Callable[[frozenset[str]], Graph]
# (rows, upgrades of the audited files) -> what tells where the database may be ("lock file"), and where (if it does).
Source = Callable[[frozenset[str], Upgrades], "tuple[str, Sequence[Possibility]]"]
ASSUMED = "assumed"

# Findings that keep either tool from making a plan.
_PREVENTS_PLAN = {"MG101", "MG102", "MG103", "MG104", "MG105", "MG107"}
_MAX_NAMES = 5


@dataclass(frozen=True)
class Knowledge:
    """What the applied set is worked out from. `bodies`: key of each file -> its body. `sources`: best first.

    `unrepeatable`: keys of the files that cannot run twice.
    """

    rebuild: Rebuild
    bodies: Mapping[str, str]
    sources: Sequence[Source] = ()
    unrepeatable: Collection[str] = ()

    def explain(self, rows: frozenset[str], upgrades: Upgrades) -> tuple[str, Sequence[Possibility]]:
        """What tells where a database with these rows may be, and where. Failing all else, its rows are believed."""
        for source in self.sources:
            name, possibilities = source(rows, upgrades)
            if possibilities:
                return name, possibilities
        return ASSUMED, [Possibility(Position(rows, upgrades.list_applied(rows)), "")]


def compare_applied(report: Report, database: AppliedRows, knowledge: Knowledge, *, is_only: bool = True) -> Report:
    """Add what the files would do to a database. `is_only`: no other one is compared, so that it needs no name.

    Nothing is planned if the graph has a defect that stops the tool, the tool refuses the database, or (Alembic) an
    applied name is unknown.
    """
    comparison = _Comparison(
        report, database, knowledge, "the database" if is_only else f"the database {database.name}"
    )
    findings, pending, ran_from = comparison.run()
    compared = ComparedDatabase(database.name, database.rows, pending, ran_from)
    # What is an error in this database needs no warning that it may be one somewhere.
    failing = {finding.file for finding in findings if finding.code == "MG109"}
    others = [finding for finding in report.findings if finding.code != "MG109" or finding.file not in failing]
    return replace(report, findings=(*others, *findings), databases=(*report.databases, compared))


def find_harm(databases: Sequence[AppliedRows], knowledge: Knowledge, graph: Graph) -> str | None:
    """What an upgrade to this graph would do to one of the databases, in one sentence; None: no harm."""
    if not is_loadable(graph) or any(node.unread for node in graph.nodes.values()):
        return None
    bodies = {key: knowledge.bodies.get(key, EMPTY) for key in graph.nodes}
    for database in databases:
        upgrades, rows = Upgrades(graph, bodies), frozenset(database.rows)
        if graph.kind is Kind.ALEMBIC and find_unknown(graph, rows):
            return f"the database {database.name} has rows that it does not know"
        for possibility in knowledge.explain(rows, upgrades)[1]:
            outcome = upgrades.judge(possibility.position)
            if not outcome.is_harmless:
                what = "refuse" if outcome.is_stuck else "skip" if outcome.skipped else "repeat"
                names = ", ".join(outcome.skipped or outcome.repeated) or "its rows"
                return f"an upgrade of the database {database.name} would {what} {names}"
    return None


@dataclass(frozen=True)
class _Comparison:
    report: Report
    database: AppliedRows
    knowledge: Knowledge
    who: str

    def run(self) -> tuple[list[Finding], tuple[str, ...] | None, str | None]:
        """The findings, what an upgrade would run, and what tells which migrations ran."""
        graph, applied = self.report.graph, self.database.rows
        unknown = find_unknown(graph, applied)
        findings = [self._describe_unknown(name) for name in unknown]
        findings += self._find_too_long()
        is_stopped = any(map(self._prevents_plan, self.report.findings))
        if not is_stopped and (partly := find_partly_applied(graph, applied)):
            graph = self.knowledge.rebuild(partly)
            findings += self._find_lost(graph, partly)
        if graph.kind is Kind.ALEMBIC:
            overlaps = [self._describe_overlap(graph, *pair) for pair in find_overlaps(graph, applied)]
            findings += overlaps
            if not (is_stopped or overlaps) and (failing := find_failing_step(graph, applied)):
                findings.append(self._describe_failing(graph, failing))
        else:
            findings += [self._describe_inconsistency(graph, *pair) for pair in find_inconsistent(graph, applied)]
        is_refused = any(finding.code == "MG305" for finding in findings)
        # Django ignores unknown applied migrations; Alembic cannot resolve them and stops.
        if is_stopped or is_refused or (unknown and graph.kind is Kind.ALEMBIC):
            return findings, None, None
        pending = plan_upgrade(graph, applied)
        if pending:
            findings.append(self._describe_behind(pending))
        if any(node.unread for node in graph.nodes.values()):
            return findings, pending, None
        upgrades = Upgrades(graph, self.knowledge.bodies)
        rows = frozenset(applied)
        ran_from, possibilities = self.knowledge.explain(rows, upgrades)
        findings += find_misapplied(graph, upgrades, possibilities, self.who, self.knowledge.unrepeatable)
        return findings, pending, ran_from

    def _prevents_plan(self, finding: Finding) -> bool:
        # Multiple heads do not stop `alembic upgrade heads`; `manage.py migrate` refuses them.
        is_conflict = finding.code == "MG201" and self.report.kind is Kind.DJANGO
        return finding.code in _PREVENTS_PLAN or (is_conflict and finding.severity is Severity.ERROR)

    def _find_too_long(self) -> Iterator[Finding]:
        """Ids for which the column of this database has no room. SQLite and MySQL without strict mode do not mind."""
        length = self.database.id_length
        if length is None or self.report.kind is not Kind.ALEMBIC:
            return
        for node in self.report.graph.nodes.values():
            if len(node.name) > length and node.name not in self.database.rows:
                yield make_finding(
                    "MG109",
                    f"{node.name} has {len(node.name)} characters, and the column of {self.who} holds {length}: the "
                    "upgrade fails there",
                    "Give it a shorter id before anything has run it, or widen the column first: "
                    f"ALTER TABLE alembic_version ALTER COLUMN version_num TYPE varchar({len(node.name)}).",
                    file=node.key,
                    line=node.line,
                    revisions=(node.name,),
                    severity=Severity.ERROR,
                )

    def _find_lost(self, graph: Graph, partly: Collection[str]) -> Iterator[Finding]:
        """What a squashed migration leaves behind that Django removes because only a part of it is applied."""
        for key, references in graph.dangling.items():
            if key not in self.report.graph.dangling:
                squashed = ", ".join(sorted(self.report.graph.nodes[each].name for each in partly))
                yield make_finding(
                    "MG305",
                    f"{self.who} has run a part of what {squashed} replaces, and Django leaves it out then; but "
                    f"{graph.nodes[key].name} needs {references[0].name}, and the old files are gone",
                    "Bring the replaced files back until every database has run all of them.",
                    file=key,
                    line=references[0].line,
                    revisions=(graph.nodes[key].name,),
                )

    def _describe_overlap(self, graph: Graph, before: str, after: str) -> Finding:
        first, second = graph.nodes[before].name, graph.nodes[after].name
        return make_finding(
            "MG305",
            f"{self.who} holds {first} and {second}, but {second} implies {first}: Alembic refuses rows that overlap",
            f"If the database has run both, delete the row {first} from alembic_version.",
            file=after,
            line=graph.nodes[after].line,
            revisions=(first, second),
        )

    def _describe_failing(self, graph: Graph, failing: str) -> Finding:
        node = graph.nodes[failing]
        return make_finding(
            "MG305",
            f"an upgrade of {self.who} fails at {node.name}: of what it names as coming before it, one comes before "
            "another, and Alembic looks for both in alembic_version",
            "Name only the later one in down_revision or depends_on.",
            file=failing,
            line=node.line,
            revisions=(node.name,),
        )

    def _describe_inconsistency(self, graph: Graph, applied: str, missing: str) -> Finding:
        name, parent = graph.nodes[applied].name, graph.nodes[missing].name
        return make_finding(
            "MG305",
            f"{self.who} has run {name} and not {parent}, which comes before it: Django refuses this history",
            "Look whether the file was renamed or the dependency was added later; if the database has what it does, "
            f"insert a row for {parent} into django_migrations: `migrate --fake` is refused as well.",
            file=applied,
            line=graph.nodes[applied].line,
            revisions=(name, parent),
        )

    def _describe_unknown(self, name: str) -> Finding:
        names = sorted({node.name for node in self.report.graph.nodes.values()})
        near = get_close_matches(name, names, n=3, cutoff=0.8)
        also = f" Near it are {', '.join(near)}." if near else ""
        message = f"{self.who} has run {name}, and no file has that name"
        if self.report.kind is Kind.DJANGO:
            hint = (
                "Django does not mind the row of a file that was renamed or squashed, or is on another branch. What it "
                f"did stays in the database.{also}"
            )
            return make_finding("MG301", message, hint, revisions=(name,), severity=Severity.WARNING)
        hint = f"Put the file of {name} back (a deploy of another branch may have brought it).{also}"
        return make_finding("MG301", message, hint, revisions=(name,))

    def _describe_state(self, pending: tuple[str, ...]) -> str:
        table = "alembic_version" if self.report.kind is Kind.ALEMBIC else "django_migrations"
        if not self.database.has_table:
            return f"has no table {table}, so it is taken to be a fresh one"
        return f"is {len(pending)} behind" if self.database.rows else "has run nothing yet"

    def _describe_behind(self, pending: tuple[str, ...]) -> Finding:
        shown = ", ".join(pending[:_MAX_NAMES]) + (" ..." if len(pending) > _MAX_NAMES else "")
        command = "alembic upgrade heads" if self.report.kind is Kind.ALEMBIC else "manage.py migrate"
        return Finding(
            "MG302",
            "database-behind",
            Severity.INFO,
            f"{self.who} {self._describe_state(pending)}: {shown}",
            f"`{command}` runs them in this order.",
            revisions=pending,
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
