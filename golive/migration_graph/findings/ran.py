"""What a database really ran, against what the tool takes for applied: MG303, MG304 and MG306."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from golive.migration_graph.catalogue import make_finding
from golive.migration_graph.graph.positions import Outcome, Position, Possibility, Upgrades
from golive.migration_graph.model import Finding, Graph, Kind, Severity, split_name

_MAX_NAMES = 5


def find_misapplied(
    graph: Graph, upgrades: Upgrades, possibilities: Sequence[Possibility], who: str
) -> Iterator[Finding]:
    """The migrations that an upgrade would skip, repeat, or has run in another form, at any possible position.

    `who`: the database, as messages name it.
    """
    judged = [(each, upgrades.judge(each.position)) for each in possibilities]
    keys = {node.name: key for key, node in graph.nodes.items()}
    writer = _Writer(graph, keys, upgrades, who, judged)
    yield from writer.describe_skipped()
    yield from writer.describe_repeated()


_Judged = Sequence[tuple[Possibility, Outcome]]


class _Writer:
    def __init__(self, graph: Graph, keys: dict[str, str], upgrades: Upgrades, who: str, judged: _Judged) -> None:
        self._graph = graph
        self._keys = keys
        self._upgrades = upgrades
        self._who = who
        self._judged = judged

    def describe_skipped(self) -> Iterator[Finding]:
        older: list[str] = []
        for name in sorted({name for _, outcome in self._judged for name in outcome.skipped}):
            hits = [(each, outcome) for each, outcome in self._judged if name in outcome.skipped]
            edited = [each for each, _ in hits if any(name == run for run, _ in each.position.ran)]
            if len(edited) < len(hits):
                yield self._describe_never_ran(name, [each for each, _ in hits if each not in edited])
            elif any(each.is_direct for each in edited):
                yield self._describe_edited(name, edited)
            else:
                older.append(name)
        if older:
            yield self._describe_edited_long_ago(older)

    def _describe_never_ran(self, name: str, hits: Sequence[Possibility]) -> Finding:
        above = next(iter(sorted(self._list_children(name))), None)
        because = f", because {above} comes after it" if above else ""
        return self._make(
            "MG303",
            name,
            f"an upgrade of {self._who} takes {name} for applied{because}; it never ran there{self._qualify(hits)}",
            f"{self._suggest_rows(hits)}If its work is missing there, do it in a new migration on top of the others.",
        )

    def _describe_edited(self, name: str, hits: Sequence[Possibility]) -> Finding:
        return self._make(
            "MG306",
            name,
            f"{name} was edited after {self._who} ran it{self._qualify(hits)}: what it does now never ran there",
            "Put the file back as it ran, and make the change in a new migration.",
        )

    def _describe_edited_long_ago(self, names: Sequence[str]) -> Finding:
        shown = ", ".join(names[:_MAX_NAMES]) + (" ..." if len(names) > _MAX_NAMES else "")
        return self._make(
            "MG306",
            names[0],
            f"{self._who} has run {len(names)} migrations that were edited in the past: {shown}. What they do now ran "
            "there only if it was made since.",
            "Compare the schema if the database is older than the edits. A lock file settles it (--write-lock).",
            names=tuple(names),
            severity=Severity.WARNING,
        )

    def describe_repeated(self) -> Iterator[Finding]:
        for name in sorted({name for _, outcome in self._judged for name in outcome.repeated}):
            hits = [each for each, outcome in self._judged if name in outcome.repeated]
            others = self._list_same(name, hits[0].position)
            how = f" (as {', '.join(others)})" if others and others != [name] else ""
            is_copy = any(other in self._keys and other != name for other in others)
            fake = f"`manage.py migrate --fake {' '.join(split_name(name))}`"
            hint = self._suggest_rows(hits)
            if self._graph.kind is Kind.DJANGO and not is_copy:
                hint = f"If the file was renamed, record the new name with {fake}. "
            yield self._make(
                "MG304",
                name,
                f"an upgrade of {self._who} would run {name}, and what it does ran there already{how}"
                f"{self._qualify(hits)}",
                f"{hint}{'Take the copy out, unless it is meant.' if is_copy else 'Otherwise put its parent back.'}",
                severity=Severity.WARNING if is_copy else None,
            )

    def _list_same(self, name: str, position: Position) -> list[str]:
        body = self._upgrades.get_body(name)
        return sorted({other for other, ran in position.ran if ran == body})

    def _list_children(self, name: str) -> Iterator[str]:
        key = self._keys[name]
        for child in self._graph.nodes:
            if key in (*self._graph.parents.get(child, ()), *self._graph.dependencies.get(child, ())):
                yield self._graph.nodes[child].name

    def _qualify(self, hits: Sequence[Possibility]) -> str:
        """Under which condition, if not in any case."""
        if len(hits) == len(self._judged):
            return ""
        direct = [each for each in hits if each.is_direct]
        how, hit = ("last upgraded", direct[-1]) if direct else ("made", hits[-1])
        return f", if it was {how} at {hit.since} or before"

    def _suggest_rows(self, hits: Sequence[Possibility]) -> str:
        """The command that makes the table agree with what ran, if there is one and what ran is certain."""
        if len(self._judged) > 1 or self._graph.kind is not Kind.ALEMBIC:
            return ""
        rows = self._upgrades.find_right_rows(hits[0].position.bodies)
        if rows is None:
            return ""
        command = f"alembic stamp --purge {' '.join(rows) or 'base'}"
        return f"`{command}` makes the table say what ran; the upgrade then runs the rest. "

    def _make(
        self,
        code: str,
        name: str,
        message: str,
        hint: str,
        *,
        names: tuple[str, ...] = (),
        severity: Severity | None = None,
    ) -> Finding:
        node = self._graph.nodes[self._keys[name]]
        return make_finding(
            code, message, hint, file=node.key, line=node.line, revisions=names or (name,), severity=severity
        )
