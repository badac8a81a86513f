"""Two services of one worker each, one that makes changes and one that is read, so that a race comes out the same way.

The worker that makes a change reads anew by itself; it is always another one that may be left behind.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

from tests.consistency.checker import ALLOWED, Read
from tests.consistency.journal import Journal, Judgement, now
from tests.consistency.operators import Operators
from tests.consistency.readers import KINDS, Reader
from tests.consistency.record import Operation, Outcome
from tests.consistency.testbed import SERVED, make_environment
from tests.support.patience import wait_until
from tests.support.server import GunicornServer

# So many, and so slow, that at any moment one of them asks, also while the others wait.
READERS, PACE_SECONDS = 8, 0.08
# What is watched before and after a stop, at least; on a busy machine that takes a while.
ENOUGH_READS, PATIENCE_SECONDS = 15, 8.0
# Longer than any lease here, also one that is counted from too late.
LOOK_SECONDS = 0.4


def start_service(stack: ExitStack, database_url: str, sabotage: str = "", **variables: str) -> GunicornServer:
    environment = make_environment(database_url, sabotage, **variables)
    return stack.enter_context(GunicornServer(environment, workers=1, application=SERVED))


@dataclass
class Duel:
    """Stops through `writer` while `reader` is read; `url` is the database that `writer` writes."""

    writer: GunicornServer
    reader: GunicornServer
    url: str
    token: str
    journal: Journal = field(default_factory=Journal)

    def __post_init__(self) -> None:
        self.operators = Operators(self.journal, {"DATABASE_URL": self.url}, self.token, self.writer.url)

    @contextmanager
    def reading(self) -> Iterator[None]:
        lots = [random.Random(number) for number in range(READERS)]
        readers = [Reader(self.reader.port, KINDS, self.journal, rng, pace=PACE_SECONDS) for rng in lots]
        for reader in readers:
            reader.start()
        try:
            yield
        finally:
            for reader in readers:
                reader.stop()

    def go_live(self) -> None:
        for name in ("complete", "release", "enable"):
            # Again, if a check of the checklist had no time on a busy machine.
            wait_until(partial(self._is_acknowledged, name))

    def _is_acknowledged(self, name: str) -> bool:
        return self.operators.ask("api", name).outcome is Outcome.ACKNOWLEDGED

    def stop(self, *, times: int = 1) -> None:
        """Engage, so many times at once: all but the first change nothing."""

        def engage(number: int) -> Operation:
            time.sleep(0.03 * number)
            return self.operators.ask("api", "engage")

        with ThreadPoolExecutor(times) as pool:
            assert {each.outcome for each in pool.map(engage, range(times))} == {Outcome.ACKNOWLEDGED}

    def _watch(self) -> None:
        since = now()
        time.sleep(LOOK_SECONDS)
        self.journal.await_reads(ENOUGH_READS, since=since, seconds=PATIENCE_SECONDS)

    def fight(self, *, rounds: int, stop: Callable[[], None], before_stop: Callable[[], None] = lambda: None) -> Fight:
        """Go live and stop until an answer is wrong, at most so many times."""
        fight = Fight()
        with self.reading():
            for _ in range(rounds):
                self.go_live()
                self._watch()
                before_stop()
                stop()
                self._watch()
                fight.add(self.journal.judge(self.url))
                if fight.violations:
                    break
        return fight


@dataclass
class Fight:
    """What came of it: what is wrong, and the answers, to see that they could have been."""

    violations: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    wrong_allowed: list[Read] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    sharp: int = 0

    def add(self, judgement: Judgement) -> None:
        self.violations += map(str, judgement.violations)
        self.problems += judgement.problems
        self.wrong_allowed += [each.read for each in judgement.violations if each.read.code == ALLOWED]
        self.reads += judgement.reads
        self.sharp += sum(judgement.history.stopped_seconds(read) is not None for read in judgement.reads)

    @property
    def allowed(self) -> int:
        return sum(read.code == ALLOWED for read in self.reads)
