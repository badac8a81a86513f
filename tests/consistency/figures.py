"""What a run has shown: enough to say that it could have failed, and how fast stops were acknowledged."""

from __future__ import annotations

import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.consistency.checker import ALLOWED
from tests.consistency.journal import Judgement
from tests.consistency.record import Operation, Outcome

STOPS = ("engage", "disable", "reopen")
ACKNOWLEDGING = ("api", "admin", "cli")
# A denial counts as sharp when it was asked for so soon, in seconds, after a stop was acknowledged.
SHARP_SECONDS = 0.5
# NOT_APPLIED and its kin, with words that say what is wrong.
REFUSAL = re.compile(r'^503 \{.*"detail": ?"[^"]{10}', re.DOTALL)


@dataclass
class Figures:
    """Of everybody that was asked (by the way of asking, and by process): allowing answers and sharp denials."""

    reads: int = 0
    allowed: Counter[str] = field(default_factory=Counter)
    sharp: Counter[str] = field(default_factory=Counter)
    allowed_by: Counter[int] = field(default_factory=Counter)
    sharp_by: Counter[int] = field(default_factory=Counter)
    # The processes of each service, as far as they were seen.
    workers: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def add(self, judgement: Judgement) -> None:
        self.reads += len(judgement.reads)
        for read in judgement.reads:
            if read.code == ALLOWED:
                self.allowed[read.source] += 1
                self.allowed_by[read.worker] += 1
                continue
            stopped = judgement.history.stopped_seconds(read)
            if stopped is not None and stopped < SHARP_SECONDS:
                self.sharp[read.source] += 1
                self.sharp_by[read.worker] += 1

    def find_gaps(
        self, sources: Iterable[str], services: Mapping[str, int], operations: Sequence[Operation]
    ) -> list[str]:
        """What was not watched well enough to prove anything: each way to ask, each worker, each channel."""
        gaps = [f"no allowing answer of {source}" for source in sources if not self.allowed[source]]
        gaps += [f"no sharp denial of {source}" for source in sources if not self.sharp[source]]
        for service, workers in services.items():
            seen = [pid for pid in self.workers[service] if self.allowed_by[pid] and self.sharp_by[pid]]
            if len(seen) < workers:
                gaps.append(f"only {len(seen)} of {workers} workers of {service} were watched around a stop")
        channels = Counter(operation.channel for operation in find_acknowledged_stops(operations))
        return gaps + [f"no stop acknowledged by {channel}" for channel in ACKNOWLEDGING if not channels[channel]]


def find_acknowledged_stops(operations: Iterable[Operation]) -> list[Operation]:
    return [each for each in operations if each.name in STOPS and each.outcome is Outcome.ACKNOWLEDGED]


def find_unexplained(operations: Iterable[Operation]) -> list[str]:
    """Stops by the API that were answered, and neither acknowledged nor refused with what is wrong.

    The detail of such an operation is the status and the beginning of the answer.
    """
    return [
        f"{each.label} was answered {each.detail!r}"
        for each in operations
        if each.name in STOPS
        and each.channel == "api"
        and each.outcome is not Outcome.ACKNOWLEDGED
        and each.detail[:3].isdigit()
        and not REFUSAL.search(each.detail)
    ]


def describe_operations(operations: Sequence[Operation]) -> list[str]:
    stops = find_acknowledged_stops(operations)
    outcomes = Counter(str(operation.outcome) for operation in operations)
    channels = Counter(operation.channel for operation in stops)
    lines = [
        f"operations     {len(operations)}: " + ", ".join(f"{count} {name}" for name, count in outcomes.most_common()),
        f"stops          {len(stops)} acknowledged: " + ", ".join(f"{n} by {c}" for c, n in channels.most_common()),
    ]
    beyond = sorted(measure_beyond_lease(stops))
    if len(beyond) > 1:
        p95 = statistics.quantiles(beyond, n=20)[-1]
        lines.append(
            f"acknowledged   lease + {statistics.median(beyond):.0f} ms at the median, + {p95:.0f} ms at p95 (api)"
        )
    return lines


def measure_beyond_lease(stops: Iterable[Operation]) -> list[float]:
    """Of stops by the API, the milliseconds from sending to acknowledgement, less the lease that the answer names."""
    found = [each for each in stops if each.channel == "api" and each.detail.isdigit()]
    return [(each.answered_at - each.sent_at) * 1000 - int(each.detail) for each in found]
