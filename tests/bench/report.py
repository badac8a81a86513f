"""The result as a page of Markdown, so that no figure in the documentation is typed by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tests.bench.goals import P99_CONNECTIONS, RATE_CONNECTIONS, Goal

Json = dict[str, Any]
_HEAD = """\
# Benchmark

Written by `make bench`, `make bench ARGS=--middleware` and `make bench-propagation`; not edited by hand. All figures of
a section are from one run on one machine, shared by clients, servers and PostgreSQL: compare them with each other only.

![Throughput and propagation](bench.svg)
"""
_THROUGHPUT = """\
gunicorn with 2 workers and the service's own configuration serves each; wrk asks over so many kept connections. Medians
of {rounds} interleaved rounds of {seconds} s. The bare WSGI application returns the bytes and headers of the gate. The
empty view, the row by the ORM and the Python peers run in the service's settings, with its middleware, ATOMIC_REQUESTS
and persistent connections; of that middleware the service's own reads skip what only people need, as they do for every
client without a cookie, and as the empty endpoint does. The gate is not in the access log, so neither are the bare
application and the flags of the Python peers. The decision takes two values, so the peers read two flags; "one flag"
reads one of them.
Unleash is asked by its frontend API, the fastest of its paths that evaluates flags.
"""
_MIDDLEWARE = """\
Microseconds of the processor for a request of an empty view, in one process and without a socket: {without_any} with no
middleware, {with_all} with all. Each adds to those before it:
"""
_PROPAGATION = """\
Milliseconds from the acknowledged stop to the last request that was *sent* and still let through; negative: before the
acknowledgement. Of the service two instances are asked at gate and state, on new connections for each stop. Unleash is
asked over HTTP; a client of its SDK polls every 15 s on top of that.
"""
_SECTIONS = ("throughput", "middleware", "propagation")


def write_report(result: Json) -> str:
    """A page with a section for each measurement that the result has."""
    makers = {"throughput": _throughput, "middleware": _middleware, "propagation": _propagation}
    parts = [_HEAD]
    for name in _SECTIONS:
        if name in result:
            found = result[name]
            parts += [f"\n## {name.capitalize()}\n\nMeasured at {found['at']} on {found['on']}.\n\n"]
            parts += makers[name](found)
    return "".join(parts)


def _throughput(found: Json) -> Iterator[str]:
    yield _THROUGHPUT.format(**found)
    counts = list(next(iter(found["subjects"].values()))["connections"])
    head = ["requests/s · p50 / p99 ms, over", *(f"{count} connections" for count in counts)]
    yield _table(
        head,
        (
            [
                subject["label"],
                *(
                    f"{each['rate']:,.0f} · {each['p50_ms']:.1f} / {each['p99_ms']:.1f}"
                    for each in subject["connections"].values()
                ),
            ]
            for subject in found["subjects"].values()
        ),
    )
    yield from _not_run(found)
    yield f"\nThroughput over {RATE_CONNECTIONS} connections, p99 over {P99_CONNECTIONS}, as ratios within rounds:\n"
    rows = []
    for each in found["goals"]:
        goal = Goal(each["subject"], each["base"], each["limit"], each["kind"])
        verdict = {True: "met", False: "**not met**", None: "for the record"}[each["is_met"]]
        rows.append([describe(goal), f"{each['ratio']:.2f}", verdict])
    yield _table(["goal", "ratio", ""], rows)


def _middleware(found: Json) -> Iterator[str]:
    yield _MIDDLEWARE.format(**found)
    yield _table(["middleware", "µs"], ([f"`{name}`", f"{cost:.1f}"] for name, cost in found["costs"].items()))


def _propagation(found: Json) -> Iterator[str]:
    yield _PROPAGATION
    head = ["", "stops", "min", "median", "p99", "max", "let through after it", "acknowledged in, median ms"]
    rows = []
    for system in found["systems"].values():
        delay = system["delay_ms"]
        late = f"{system['violations']} of {system['stops']}"
        if system["unseen"]:
            late += f", {system['unseen']} for longer than was watched"
        values = [f"{delay[name]:.0f}" for name in ("min", "median", "p99", "max")]
        row = [system["label"], str(system["stops"]), *values, late, f"{system['acknowledged_ms']['median']:.0f}"]
        rows.append(row)
    yield _table(head, rows)
    yield from _not_run(found)
    yield f"\nThe lease is {found['lease_ms']} ms; an acknowledgement shall take at most 50 ms more at the median.\n"


def describe(goal: Goal) -> str:
    """A goal in words."""
    what = "throughput" if goal.kind == "rate" else "p99"
    limit = "" if goal.limit is None else f", {'at least' if goal.kind == 'rate' else 'at most'} {goal.limit:g}"
    return f"{what} of {goal.subject} / {goal.base}{limit}"


def _not_run(found: Json) -> Iterator[str]:
    for name, reason in found["not_run"].items():
        yield f"\n**Not run:** {name}: {reason}\n"


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)
