"""Throughput and latency of everything, side by side."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.bench.goals import Verdict, judge
from tests.bench.load import Measurement, Subject, measure
from tests.bench.report import describe
from tests.bench.servers import Field, running_field

Json = dict[str, Any]
_PAUSE_SECONDS = 0.2


@dataclass(frozen=True)
class Plan:
    """So many seconds for each number of connections, in so many rounds of everything: what disturbs the machine
    disturbs all alike. The warm-up reaches both workers: interpreter, caches, connections to the database."""

    seconds: int
    rounds: int
    connections: tuple[int, ...] = (1, 16, 64)
    warm_up_seconds: int = 1
    with_peers: bool = True


QUICK = Plan(seconds=1, rounds=1, connections=(16,), warm_up_seconds=0, with_peers=False)


def run_throughput(plan: Plan) -> Json:
    """Measure all. The result."""
    with running_field(with_peers=plan.with_peers) as field:
        for subject in field.subjects if plan.warm_up_seconds else ():
            measure(subject, connections=16, seconds=plan.warm_up_seconds)
        measured = _measure_rounds(field.subjects, plan)
    medians = {name: {count: Measurement.median(all_) for count, all_ in by.items()} for name, by in measured.items()}
    _print_table(field, medians)
    verdicts = list(judge(measured))
    _print_verdicts(verdicts)
    return {
        "seconds": plan.seconds,
        "rounds": plan.rounds,
        "subjects": {
            subject.name: {
                "label": subject.label,
                "connections": {str(count): asdict(found) for count, found in medians[subject.name].items()},
            }
            for subject in field.subjects
        },
        "not_run": field.not_run,
        "goals": [{**asdict(verdict.goal), "ratio": verdict.ratio, "is_met": verdict.is_met} for verdict in verdicts],
    }


def _measure_rounds(subjects: Sequence[Subject], plan: Plan) -> dict[str, dict[int, list[Measurement]]]:
    measured: dict[str, dict[int, list[Measurement]]] = defaultdict(lambda: defaultdict(list))
    for number in range(plan.rounds):
        for count in plan.connections:
            print(f"Round {number + 1} of {plan.rounds}, {count} connections", flush=True)
            # In another order each time, with a pause: what one leaves to do shall not fall on the same next one.
            for subject in random.Random(f"{number} {count}").sample(subjects, len(subjects)):
                time.sleep(_PAUSE_SECONDS)
                measured[subject.name][count].append(measure(subject, connections=count, seconds=plan.seconds))
    return measured


def _print_table(field: Field, medians: dict[str, dict[int, Measurement]]) -> None:
    counts = list(next(iter(medians.values())))
    print("\nRequests per second, and p50 / p99 in milliseconds (medians)\n")
    print(f"{'':<46}" + "".join(f"{f'{count} connections':>26}" for count in counts))
    for subject in field.subjects:
        cells = (medians[subject.name][count] for count in counts)
        told = (f"{found.rate:>8,.0f} {f'{found.p50_ms:.1f} / {found.p99_ms:.1f}':>17}" for found in cells)
        print(f"{subject.label:<46}" + "".join(told))
    for name, reason in field.not_run.items():
        print(f"NOT RUN: {name}: {reason}")


def _print_verdicts(verdicts: Sequence[Verdict]) -> None:
    print("\nAgainst the goals (throughput at 64 connections, p99 at 16)\n")
    for verdict in verdicts:
        told = {True: "met", False: "NOT MET", None: ""}[verdict.is_met]
        print(f"{describe(verdict.goal):<58} {verdict.ratio:>7.2f}  {told}")
