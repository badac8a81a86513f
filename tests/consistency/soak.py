"""`make soak`: stops and starts a testbed at random, breaks it meanwhile, and checks every answer against the promise.

`python -m tests.consistency.soak [--stops 200] [--minutes 30] [--seed 7] [--sabotage NAME]`. Exit code 0 when no answer
was wrong and enough was watched; 1 otherwise, and then the history around the first violations is in a file.
"""

from __future__ import annotations

import argparse
import random
import secrets
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.consistency.chaos import Chaos
from tests.consistency.figures import Figures, describe_operations, find_acknowledged_stops, find_unexplained
from tests.consistency.journal import now
from tests.consistency.operators import NOTHING
from tests.consistency.readers import KINDS, SHOP_KINDS
from tests.consistency.record import Operation, Outcome
from tests.consistency.sabotage import SABOTAGES
from tests.consistency.testbed import Testbed, running_testbed

SOURCES = (*(kind.name for kind in (*KINDS, *SHOP_KINDS)), "inside", "permit")
LEASES_MS = (0, 50, 250, 1000)
JUDGE_SECONDS, REPORT_SECONDS = 5.0, 60.0
# To go live again, whatever has just been broken.
LIVE_SECONDS = 90.0
# A run goes on beyond its bounds where too little has been watched, at most for so long.
MORE_SECONDS = 60.0
STOP_CHANNELS = ("api", "api", "api", "api", "admin", "admin", "cli")
LIVE_CHANNELS = ("api",) * 8 + ("admin",) * 3 + ("cli",)
STOPS = ("engage", "engage", "disable", "disable", "reopen")


@dataclass(frozen=True)
class Bounds:
    """When a run ends: after so many acknowledged stops or so many seconds, whichever comes first."""

    stops: int | None = None
    seconds: float | None = None


@dataclass
class Result:
    """What a run found. It is sound when nothing is wrong and enough was watched."""

    seed: int
    figures: Figures
    operations: list[Operation] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    written: Path | None = None
    troubles: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def is_sound(self) -> bool:
        return not self.wrong and not self.gaps

    @property
    def progress(self) -> str:
        stops = len(find_acknowledged_stops(self.operations))
        return f"{stops} stops acknowledged, {self.figures.reads} reads, {len(self.wrong)} violations"

    def describe(self) -> str:
        figures = self.figures
        troubles = ", ".join(f"{count} {name}" for name, count in sorted(self.troubles.items()))
        lines = [
            f"seed           {self.seed}, {self.seconds:.0f} s",
            f"reads          {figures.reads}, by {len(figures.sharp_by)} processes",
            f"               {figures.allowed.total()} allowing, {figures.sharp.total()} denied soon after a stop",
            *describe_operations(self.operations),
            f"troubles       {troubles or 'none'}",
            f"violations     {len(self.wrong)}",
            *(f"  {each}" for each in self.wrong[:20]),
            *(f"not enough     {gap}" for gap in self.gaps),
        ]
        return "\n".join([*lines, *([f"written to     {self.written}"] if self.written else [])])


class Director:
    """Takes a testbed live and stops it, again and again, and has the journal judged now and then."""

    def __init__(self, testbed: Testbed, rng: random.Random, result: Result, chaos: Chaos) -> None:
        self._testbed, self._rng, self._result, self._chaos = testbed, rng, result, chaos
        self._pool = ThreadPoolExecutor(8)
        self._decks: dict[str, list[str]] = {}
        self._background: list[Future[Operation]] = []
        self._is_complete = False

    def run(self, bounds: Bounds) -> None:
        began = judged_at = told_at = now()
        over_at: float | None = None
        while over_at is None or now() - over_at < MORE_SECONDS:
            self._go_live()
            time.sleep(self._rng.uniform(0.05, 0.4))
            self._stop()
            time.sleep(self._rng.uniform(0.1, 0.4))
            self._disturb()
            if self._chaos.error is not None:
                raise self._chaos.error
            is_over = self._is_over(bounds, now() - began)
            if is_over or now() - judged_at > JUDGE_SECONDS:
                self.judge()
                judged_at = now()
            if now() - told_at > REPORT_SECONDS:
                told_at = now()
                print(f"{told_at - began:5.0f} s  {self._result.progress}", flush=True)
            if self._result.wrong or (is_over and not self._result.gaps):
                return
            if is_over and over_at is None:
                over_at = now()

    def judge(self) -> None:
        for each in self._background:
            each.result()  # what SQL has changed is explained by its record only
        for service in self._testbed.services:
            self._result.figures.workers[service.url()] |= set(service.worker_pids())
        with self._chaos.calm:
            judgement = self._testbed.journal.judge(self._testbed.url)
        self._result.figures.add(judgement)
        unexplained = find_unexplained(self._testbed.journal.operations())
        wrong = [*map(str, judgement.violations), *judgement.problems, *unexplained]
        if wrong and not self._result.wrong:
            self._result.written = judgement.write()
        self._result.wrong += [each for each in wrong if each not in self._result.wrong]
        services = {service.url(): service.workers for service in self._testbed.services}
        self._result.operations = self._testbed.journal.operations()
        self._result.gaps = self._result.figures.find_gaps(SOURCES, services, self._result.operations)

    def close(self) -> None:
        self._pool.shutdown(wait=True)

    def _is_over(self, bounds: Bounds, seconds: float) -> bool:
        if bounds.seconds is not None and seconds >= bounds.seconds:
            return True
        operations = self._testbed.journal.operations()
        return bounds.stops is not None and len(find_acknowledged_stops(operations)) >= bounds.stops

    def _go_live(self) -> None:
        gives_up_at = now() + LIVE_SECONDS
        while now() < gives_up_at:
            if not self._is_complete:
                self._is_complete = self._ask("complete", 0).result().outcome is Outcome.ACKNOWLEDGED
            asked = [
                self._ask(name, self._rng.uniform(0, 0.1), self._choose_revision()) for name in ("release", "enable")
            ]
            if all(each.result().outcome is Outcome.ACKNOWLEDGED for each in asked):
                return
            self._is_complete = False
            time.sleep(0.2)
        raise RuntimeError(f"cannot go live again: {self._testbed.journal.operations()[-3:]}")

    def _stop(self) -> None:
        """One stop, or several at once by different channels; now and then somebody releases in between."""
        count = self._rng.choice([1, 2, 2, 3])
        same, name, asked = self._rng.random() < 0.5, "", []
        for number in range(count):
            # The same again changes nothing, and is acknowledged like any other.
            name = name if name and same else self._draw("stops", STOPS)
            self._is_complete &= name != "reopen"
            asked.append(self._ask(name, self._rng.uniform(0, 0.3) if number else 0))
        if self._rng.random() < 0.15:
            asked.append(self._ask(self._rng.choice(["release", "enable"]), self._rng.uniform(0, 0.3)))
        for each in asked:
            each.result()

    def _disturb(self) -> None:
        self._background = [each for each in self._background if not each.done()]
        if self._background:
            return
        if self._rng.random() < 0.2:
            lease = int(self._draw("leases", [str(each) for each in LEASES_MS]))
            self._background.append(self._pool.submit(self._testbed.operators.set_lease, lease))
        elif self._rng.random() < 0.1:
            self._background.append(self._pool.submit(self._break_glass, self._rng.choice(["engage", "release"])))

    def _break_glass(self, name: str) -> Operation:
        """A change by SQL, and its record: at most one of them is unrecorded at a time."""
        self._testbed.operators.ask("sql", name)
        while True:
            done = self._testbed.operators.reconcile()
            if done.outcome is Outcome.ACKNOWLEDGED or done.detail == NOTHING:
                return done
            time.sleep(0.5)

    def _ask(self, name: str, after: float, revision: int | None = None) -> Future[Operation]:
        is_stop = name in STOPS
        channel = self._draw("stopping", STOP_CHANNELS) if is_stop else self._draw("starting", LIVE_CHANNELS)

        def ask() -> Operation:
            time.sleep(after)
            return self._testbed.operators.ask(channel, name, revision=revision)

        return self._pool.submit(ask)

    def _choose_revision(self) -> int | None:
        """Of the row as the record left it, so that a change in between makes it wrong; or none."""
        return self._testbed.operators.look() if self._rng.random() < 0.3 else None

    def _draw(self, deck: str, cards: Sequence[str]) -> str:
        """At random, but each card once before any comes again."""
        if not self._decks.get(deck):
            self._decks[deck] = self._rng.sample(list(cards), len(cards))
        return self._decks[deck].pop()


def run_soak(bounds: Bounds, *, seed: int, sabotage: str = "", pause_seconds: float = 3.0) -> Result:
    """Run until a bound is reached or something is wrong. Raises what kept a testbed from running at all."""
    rng = random.Random(seed)
    result = Result(seed, Figures())
    began = now()
    with running_testbed(random.Random(rng.random()), sabotage=sabotage) as testbed:
        chaos = Chaos(testbed, random.Random(rng.random()), pause_seconds=pause_seconds)
        director = Director(testbed, rng, result, chaos)
        chaos.start()
        try:
            director.run(bounds)
        finally:
            chaos.stop()
            director.close()
        director.judge()
    result.troubles = dict(chaos.counts)
    result.seconds = now() - began
    return result


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.consistency.soak", description=__doc__)
    parser.add_argument("--stops", type=int, help="end after so many acknowledged stops")
    parser.add_argument("--minutes", type=float, help="end after so long (10, if no number of stops is given)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="the same choices again")
    parser.add_argument(
        "--sabotage",
        choices=sorted(SABOTAGES),
        default="",
        help="break the promise on purpose (a standby read needs a standby: see the tests)",
    )
    options = parser.parse_args(arguments)
    minutes = 10.0 if options.stops is None and options.minutes is None else options.minutes
    print(f"Soak with seed {options.seed}", flush=True)
    bounds = Bounds(options.stops, None if minutes is None else minutes * 60)
    result = run_soak(bounds, seed=options.seed, sabotage=options.sabotage)
    print(result.describe(), flush=True)
    return 0 if result.is_sound else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
