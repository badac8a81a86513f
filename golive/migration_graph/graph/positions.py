"""What an upgrade does to a database that stands at a position: what it skips, repeats, or refuses to touch.

A position is what the tool's table says (`rows`) and what really ran (`ran`). The tool knows only ids; here a migration
is identified by its body (`golive.migration_graph.readers.bodies`). Sets of files are bit masks: hundreds of positions
are judged against hundreds of migrations.

Only for graphs that the tool can load: no cycle, no dangling reference, no duplicate name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter

from golive.migration_graph.graph.upgrades import find_failing_step, list_fragile
from golive.migration_graph.model import Graph, Kind, get_app
from golive.migration_graph.readers.bodies import EMPTY

# (name, body) of a migration that ran.
Run = tuple[str, str]


@dataclass(frozen=True)
class Position:
    """`rows`: Alembic's current revisions, or the names of all migrations that Django has recorded."""

    rows: frozenset[str]
    ran: frozenset[Run]

    @property
    def bodies(self) -> frozenset[str]:
        return frozenset(body for _, body in self.ran if body != EMPTY)


@dataclass(frozen=True)
class Outcome:
    """What an upgrade does at a position, by name. `skipped`: it passes over them, and their bodies never ran.

    `repeated`: would run although their bodies did. `is_stuck`: the tool refuses the rows.
    """

    is_stuck: bool = False
    skipped: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()

    @property
    def is_harmless(self) -> bool:
        return not (self.is_stuck or self.skipped or self.repeated)


@dataclass(frozen=True)
class Possibility:
    """A position at which a database may be. `since`: what tells so, such as a commit, for messages.

    `is_direct`: that alone explains the rows. Otherwise the database was first made from an older state. `is_usual`: it
    was upgraded whenever it could be.
    """

    position: Position
    since: str
    is_direct: bool = True
    is_usual: bool = False


class Upgrades:
    """The upgrades of one graph. `bodies`: key of each file -> its body."""

    def __init__(self, graph: Graph, bodies: Mapping[str, str]) -> None:
        self.kind = graph.kind
        self._graph = graph
        before = {key: (*graph.parents.get(key, ()), *graph.dependencies.get(key, ())) for key in graph.nodes}
        self._keys = list(TopologicalSorter(before).static_order())
        self._names = [graph.nodes[key].name for key in self._keys]
        self._bodies = [bodies[key] for key in self._keys]
        index = {key: at for at, key in enumerate(self._keys)}
        self._at = {name: at for at, name in enumerate(self._names)}
        # For each migration, what it names, and everything before it.
        self._before = [sum(1 << index[other] for other in set(before[key])) for key in self._keys]
        self._below: list[int] = []
        for named in self._before:
            below = named
            for at in _list_bits(named):
                below |= self._below[at]
            self._below.append(below)
        self._fragile = [index[key] for key in list_fragile(graph)] if graph.kind is Kind.ALEMBIC else []
        # What Django leaves aside: it takes a squashed migration in its place, and for applied once all of them are.
        self._replaced = sum(1 << index[key] for key in graph.replaced)
        self._squashed = {index[key]: frozenset(names) for key, names in graph.replaces.items() if key in index}
        self._all = (1 << len(self._keys)) - 1 & ~self._replaced
        self._ends = self._all & ~self._find_inner(graph, index)

    def _find_inner(self, graph: Graph, index: Mapping[str, int]) -> int:
        """What another one names as its parent, for Django within the same app."""
        inner = 0
        for key, parents in graph.parents.items():
            for parent in parents:
                names = [graph.nodes[each].name for each in (key, parent)]
                if self.kind is Kind.ALEMBIC or get_app(names[0]) == get_app(names[1]):
                    inner |= 1 << index[parent]
        return inner

    def get_body(self, name: str) -> str:
        return self._bodies[self._at[name]]

    def knows(self, rows: Collection[str]) -> bool:
        return all(name in self._at for name in rows)

    def accepts(self, rows: Collection[str]) -> bool:
        """Whether the tool can upgrade from these rows: Alembic wants to know them all, and none to precede another."""
        if self.kind is Kind.DJANGO:
            applied = self._close(rows)
            return all(self._before[at] & ~applied == 0 for at in _list_bits(self._mask(rows) & ~self._replaced))
        chosen = self._mask(rows)
        if not self.knows(rows) or any(self._below[at] & chosen for at in _list_bits(chosen)):
            return False
        applied = self._close(rows)
        is_fragile = any(not applied >> at & 1 for at in self._fragile)
        return not is_fragile or find_failing_step(self._graph, rows) is None

    def list_applied(self, rows: Iterable[str]) -> frozenset[Run]:
        """What the tool takes for applied: for Alembic the rows and all before them."""
        return self._list_runs(self._close(rows))

    def list_pending(self, rows: Iterable[str]) -> frozenset[Run]:
        """What an upgrade runs: Django does not go down from a last migration that is applied."""
        applied = self._close(rows)
        reached = 0
        for at in _list_bits(self._ends & ~applied):
            reached |= self._below[at] | 1 << at
        return self._list_runs(reached & self._all & ~applied)

    def upgrade(self, position: Position) -> Position:
        """The position after an upgrade; the same one if the tool refuses it."""
        if not self.accepts(position.rows):
            return position
        ran = self.list_pending(position.rows) | self._list_credited(position.rows)
        return Position(self.rows_after(position.rows), position.ran | ran)

    def reach(self, position: Position, rows: frozenset[str]) -> frozenset[Run] | None:
        """What has run in a database that was at a position, once it has these rows; None: it cannot reach them."""
        if not self.accepts(position.rows) or self._close(position.rows) & ~self._close(rows):
            return None
        applied = self.list_applied(rows) - self.list_applied(position.rows)
        return position.ran | self._list_credited(rows) | applied

    def _list_credited(self, rows: Collection[str]) -> frozenset[Run]:
        """The squashed migrations of Django that count as run, because all that they replace is applied."""
        names = frozenset(rows)
        return self._list_runs(sum(1 << at for at, old in self._squashed.items() if old <= names))

    def rows_after(self, rows: frozenset[str]) -> frozenset[str]:
        """The rows after an upgrade. Alembic drops a row once something above it, or depending on it, is applied."""
        if self.kind is Kind.DJANGO:
            return rows | {self._names[at] for at in _list_bits(self._all)}
        return self._find_top(self._all)

    def judge(self, position: Position) -> Outcome:
        """What an upgrade does at this position."""
        ran = position.bodies
        if not self.accepts(position.rows):
            return Outcome(is_stuck=True)
        applied, pending = self.list_applied(position.rows), self.list_pending(position.rows)
        # Of a squashed migration the old ones ran in its place.
        squashed = {(self._names[at], self._bodies[at]) for at in self._squashed}
        passed_over = (applied | self._list_runs(self._all)) - pending - squashed
        return Outcome(
            skipped=tuple(sorted(name for name, body in passed_over if body != EMPTY and body not in ran)),
            repeated=tuple(sorted(name for name, body in pending if body in ran)),
        )

    def find_right_rows(self, ran: frozenset[str]) -> tuple[str, ...] | None:
        """The rows with which exactly these bodies are taken for applied; None: there are none, or several files share
        a body. For Alembic."""
        reached = 0
        for at, mask in enumerate(self._below):
            if mask & ~reached == 0 and (self._bodies[at] == EMPTY or self._bodies[at] in ran):
                reached |= 1 << at
        bodies = [self._bodies[at] for at in _list_bits(reached) if self._bodies[at] != EMPTY]
        if sorted(bodies) != sorted(ran):
            return None
        return tuple(sorted(self._find_top(reached)))

    def _find_top(self, mask: int) -> frozenset[str]:
        """The names of those that come before no other one of the mask."""
        below = 0
        for at in _list_bits(mask):
            below |= self._below[at]
        return frozenset(self._names[at] for at in _list_bits(mask & ~below))

    def _mask(self, names: Iterable[str]) -> int:
        mask = 0
        for name in names:
            if name in self._at:
                mask |= 1 << self._at[name]
        return mask

    def _close(self, rows: Iterable[str]) -> int:
        names = frozenset(rows)
        mask = self._mask(names)
        if self.kind is Kind.ALEMBIC:
            for at in _list_bits(mask):
                mask |= self._below[at]
        for at, old in self._squashed.items():
            if old <= names:
                mask |= 1 << at
        return mask

    def _list_runs(self, mask: int) -> frozenset[Run]:
        return frozenset((self._names[at], self._bodies[at]) for at in _list_bits(mask))


def _list_bits(mask: int) -> Iterator[int]:
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
