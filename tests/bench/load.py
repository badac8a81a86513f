"""Load on one address by wrk, and what came of it."""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.run import NO_WRK, find_wrk
from tests.support.server import ServerError

_TRIES = 3
_SCRIPT = Path(__file__).with_name("wrk.lua")


class BenchError(RuntimeError):
    """Something cannot be measured; the message says why."""


# What may go wrong with one that is measured. Of a peer it is told, and the others are measured all the same.
FAILURES = (BenchError, ServerError, OSError, http.client.HTTPException)


@dataclass(frozen=True)
class Subject:
    """What is measured: a request that is sent again and again. `authorization` is the header's value."""

    name: str
    label: str
    url: str
    body: str = ""
    authorization: str = ""

    @property
    def method(self) -> str:
        return "POST" if self.body else "GET"


@dataclass(frozen=True)
class Measurement:
    """Throughput in requests per second, and the time of an answer in milliseconds."""

    rate: float
    p50_ms: float
    p99_ms: float

    @classmethod
    def median(cls, measured: Sequence[Measurement]) -> Measurement:
        rows = [asdict(each) for each in measured]
        return cls(**{name: round(statistics.median(row[name] for row in rows), 3) for name in rows[0]})


def measure(subject: Subject, *, connections: int, seconds: float) -> Measurement:
    """Ask over so many connections for so long. Raises BenchError for an answer that is an error.

    On a machine that is starved for a moment nothing may come back in time; that is tried again.
    """
    for _ in range(_TRIES - 1):
        try:
            return _measure(subject, connections, seconds)
        except BenchError as error:
            print(f"Once more, because {error}", flush=True)
    return _measure(subject, connections, seconds)


def _measure(subject: Subject, connections: int, seconds: float) -> Measurement:
    wrk = find_wrk()
    if wrk is None:
        raise BenchError(NO_WRK)
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "BENCH_METHOD": subject.method,
        "BENCH_BODY": subject.body,
        "BENCH_AUTHORIZATION": subject.authorization,
    }
    # wrk takes whole seconds only.
    command = [wrk, "--threads=1", f"--connections={connections}", f"--duration={max(1, round(seconds))}s"]
    done = subprocess.run(
        [*command, f"--script={_SCRIPT}", subject.url], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BenchError(f"wrk failed on {subject.name}: {done.stderr.strip() or done.stdout.strip()}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if found["failed"] or not found["requests"]:
        raise BenchError(f"{subject.name}: {found['failed']} of {found['requests']} requests failed")
    return Measurement(
        rate=found["requests"] / (found["microseconds"] / 1e6), p50_ms=found["p50"] / 1000, p99_ms=found["p99"] / 1000
    )
