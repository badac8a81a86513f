"""What the measurements must show, as ratios within one run."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal

from tests.bench.load import Measurement

RATE_CONNECTIONS, P99_CONNECTIONS = 64, 16
# By name of the subject, then by number of connections: a measurement of each round.
Results = Mapping[str, Mapping[int, Sequence[Measurement]]]


@dataclass(frozen=True)
class Goal:
    """`subject` has at least `limit` times the throughput of `base`, or at most `limit` times its p99.

    No limit: told for the record.
    """

    subject: str
    base: str
    limit: float | None
    kind: Literal["rate", "p99"] = "rate"


@dataclass(frozen=True)
class Verdict:
    """`ratio` is the median of those of the rounds: what slows the machine for a while slows both sides of one."""

    goal: Goal
    ratio: float

    @property
    def is_met(self) -> bool | None:
        if self.goal.limit is None:
            return None
        return self.ratio >= self.goal.limit if self.goal.kind == "rate" else self.ratio <= self.goal.limit


READS = ("state", "status", "ofrep")
GOALS = (
    Goal("gate", "bare", 0.9),
    *(Goal(name, "empty", 0.95) for name in READS),
    Goal("state", "orm", 3),
    Goal("gate", "waffle", 2),
    Goal("gate", "waffle-uncached", 8),
    Goal("gate", "constance", 15),
    Goal("gate", "unleash", 3),
    *(Goal(name, "empty-endpoint", None) for name in READS),
    *(Goal("bare", name, None) for name in ("constance", "unleash")),
    *(Goal("gate", name, None) for name in ("waffle-1", "waffle-uncached-1", "constance-1", "unleash-2")),
    Goal("gate", "bare", 1.5, "p99"),
    *(Goal(name, "empty", 1.5, "p99") for name in READS),
)


def judge(results: Results) -> Iterator[Verdict]:
    """A verdict on each goal whose two subjects were measured."""
    for goal in GOALS:
        connections = RATE_CONNECTIONS if goal.kind == "rate" else P99_CONNECTIONS
        found, base = (results.get(name, {}).get(connections, ()) for name in (goal.subject, goal.base))
        value = attrgetter("rate" if goal.kind == "rate" else "p99_ms")
        ratios = [value(mine) / value(other) for mine, other in zip(found, base, strict=True)] if found and base else []
        if ratios:
            yield Verdict(goal, round(statistics.median(ratios), 2))
