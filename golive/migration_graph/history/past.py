"""What the history tells about the files of a report, for those who judge remedies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from golive.migration_graph.history.edge_origins import EdgeOrigins
from golive.migration_graph.history.versions import Key
from golive.migration_graph.model import Commit, ParsedFile


@dataclass(frozen=True)
class Removed:
    """A revision that has no file any more. `commit` None: that is not committed. `successor`: its new id, if known."""

    commit: Commit | None
    file: ParsedFile
    successor: str | None


@dataclass(frozen=True)
class Past:
    """Empty if no history was read.

    `origins`: of each edge of a loop. `added`: key of a file -> the number of the commit that added it, in order.
    `values`: role and name of a revision -> the earlier values of that reference list, newest first. `loadable`: the
    same for the lists that were edited since the last commit that the tool could load -> the value there.
    `heads`: code and revisions of an error -> the heads just before it began. `removed`: name of a missing revision ->
    what became of it.
    """

    origins: EdgeOrigins = field(default_factory=dict)
    added: Mapping[str, int] = field(default_factory=dict)
    heads: Mapping[tuple[str, tuple[str, ...]], frozenset[str]] = field(default_factory=dict)
    removed: Mapping[str, Removed] = field(default_factory=dict)
    values: Mapping[Key, Sequence[tuple[str, ...]]] = field(default_factory=dict)
    loadable: Mapping[Key, tuple[str, ...]] = field(default_factory=dict)
