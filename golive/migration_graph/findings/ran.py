"""What a database really ran, against what the tool takes for applied: MG303, MG304 and MG306."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from golive.migration_graph.catalogue import make_finding
from golive.migration_graph.graph.positions import Outcome, Position, Possibility, Upgrades
from golive.migration_graph.model import Finding, Graph, Kind, Severity, split_name

_MAX_NAMES = 5
_TAKE_OUT = "Take the copy out, unless its work can be done twice."
_PUT_BACK = "If a parent was changed, of this one or of one after it, put the old one back."


def find_misapplied(
    graph: Graph,
    upgrades: Upgrades,
    possibilities: Sequence[Possibility],
    who: str,
    unrepeatable: Collection[str] = (),
) -> Iterator[Finding]:
    """The migrations that an upgrade would skip, repeat, or has run in another form, at any possible position.

    `who`: the database, as messages name it. `unrepeatable`: keys of the files that cannot run twice.
    """
    judged = [(each, upgrades.judge(each.position)) for each in possibilities]
    keys = {node.name: key for key, node in graph.nodes.items()}
    writer = _Writer(graph, keys, upgrades, who, judged, unrepeatable)
    yield from writer.describe_skipped()
    yield from writer.describe_repeated()


_Judged = Sequence[tuple[Possibility, Outcome]]


class _Writer:
    def __init__(
        self,
        graph: Graph,
        keys: dict[str, str],
        upgrades: Upgrades,
        who: str,
        judged: _Judged,
        unrepeatable: Collection[str],
    ) -> None:
        self._graph = graph
        self._keys = keys
        self._upgrades = upgrades
        self._who = who
        self._judged = judged
        self._unrepeatable = unrepeatable

    def describe_skipped(self) -> Iterator[Finding]:
        older: list[str] = []
        for name in sorted({name for _, outcome in self._judged for name in outcome.skipped}):
            hits = [each for each, outcome in self._judged if name in outcome.skipped]
            edited = [each for each in hits if any(name == run for run, _ in each.position.ran)]
            if len(edited) < len(hits):
                yield self._describe_never_ran(name, [each for each in hits if each not in edited])
            elif self._is_probable(edited, is_direct=True):
                yield self._describe_edited(name, edited)
            else:
                older.append(name)
        if older:
            yield self._describe_edited_long_ago(older)

    def _is_probable(self, hits: Sequence[Possibility], *, is_direct: bool = False) -> bool:
        """Whether it is so in any case, or in a database that was upgraded whenever it could be.

        What only a database is concerned by that was made or upgraded in the short time of an edit that was undone is
        worth a warning. `is_direct`: nor is the edit older than the newest row of the database.
        """
        if len(hits) == len(self._judged):
            return True
        return any(each.is_usual and (each.is_direct or not is_direct) for each in hits)

    def _describe_never_ran(self, name: str, hits: Sequence[Possibility]) -> Finding:
        above = next(iter(sorted(self._list_children(name))), None)
        because = f", because {above} comes after it" if above else ""
        return self._make(
            "MG303",
            name,
            f"an upgrade of {self._who} takes {name} for applied{because}; it never ran there{self._qualify(hits)}",
            f"{self._suggest_rows(hits)}If its work is missing there, do it in a new migration on top of the others.",
            severity=None if self._is_probable(hits) else Severity.WARNING,
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
            f"{self._who} has run {shown}, which did something else at a time: whether what is written now ran there "
            "depends on when it was upgraded.",
            "Compare its schema with what the files say.",
            names=tuple(names),
            severity=Severity.WARNING,
        )

    def describe_repeated(self) -> Iterator[Finding]:
        for name in sorted({name for _, outcome in self._judged for name in outcome.repeated}):
            hits = [each for each, outcome in self._judged if name in outcome.repeated]
            others = self._list_same(name, hits[0].position)
            how = f" (as {', '.join(others)})" if others and others != [name] else ""
            is_copy = any(other in self._keys and other != name for other in others)
            # A refresh of some data may be meant to run again.
            is_harmful = not is_copy or self._keys[name] in self._unrepeatable
            fake = f"`manage.py migrate --fake {' '.join(split_name(name))}`"
            hint = self._suggest_rows(hits)
            if self._graph.kind is Kind.DJANGO and not is_copy:
                hint = f"If the file was renamed, record the new name with {fake}, before any other upgrade. "
            yield self._make(
                "MG304",
                name,
                f"an upgrade of {self._who} would run {name}, and what it does ran there already{how}"
                f"{self._qualify(hits)}",
                f"{hint}{_TAKE_OUT if is_copy else _PUT_BACK}",
                severity=None if self._is_probable(hits) and is_harmful else Severity.WARNING,
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
        if direct:
            return f", if it was last upgraded while the files were as in {direct[-1].since}"
        return f", unless it was made from the files of {hits[-1].since}"

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
