"""The command line: measures, prints, and keeps the result with a picture of it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import django

import tests.support.environment  # noqa: F401 - no developer's .env decides

os.environ["DJANGO_SETTINGS_MODULE"] = "valhalla.settings"
django.setup()

from tests.bench.load import FAILURES, BenchError  # noqa: E402 - after Django's start
from tests.bench.middleware import run_middleware  # noqa: E402
from tests.bench.plot import draw  # noqa: E402
from tests.bench.propagation import run_propagation  # noqa: E402
from tests.bench.report import write_report  # noqa: E402
from tests.bench.throughput import QUICK, Plan, run_throughput  # noqa: E402
from tests.run import NO_WRK, find_wrk  # noqa: E402
from tests.support.postgres import PostgresError  # noqa: E402
from tests.support.server import ROOT  # noqa: E402

Json = dict[str, Any]
QUICK_STOPS = 2


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers go as well
    try:
        result = _measure(options)
    except (PostgresError, *FAILURES) as error:
        print(f"tests.bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    _keep(result, options.output)
    return 0


def _measure(options: argparse.Namespace) -> Json:
    if options.middleware:
        return {"middleware": run_middleware()}
    if options.what == "propagation":
        stops = QUICK_STOPS if options.quick else options.stops
        return {"propagation": run_propagation(stops=stops, with_peers=options.peers and not options.quick)}
    if find_wrk() is None:
        raise BenchError(NO_WRK)
    plan = QUICK if options.quick else Plan(options.seconds, options.rounds, with_peers=options.peers)
    return {"throughput": run_throughput(plan)}


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("throughput", "propagation"), default="throughput")
    parser.add_argument("--seconds", type=int, default=1, help="of each measurement (1)")
    parser.add_argument("--rounds", type=int, default=6, help="of everything; the median counts (6)")
    parser.add_argument("--stops", type=int, default=60, help="of the service, for the propagation (60)")
    parser.add_argument("--without-peers", dest="peers", action="store_false", help="neither install nor measure them")
    parser.add_argument("--quick", action="store_true", help="once, shortly, without peers: whether it works")
    parser.add_argument("--middleware", action="store_true", help="measure what each middleware costs instead")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder of bench.json, .md and .svg (docs)")
    return parser.parse_args(arguments)


def _keep(result: Json, folder: Path) -> None:
    """Beside what was kept of the other measurements."""
    path = folder / "bench.json"
    kept: Json = json.loads(path.read_text()) if path.exists() else {}
    measured = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "on": _describe_machine()}
    kept |= {name: {**measured, **values} for name, values in result.items()}
    path.write_text(json.dumps(kept, indent=1) + "\n")
    (folder / "bench.svg").write_text(draw(kept))
    (folder / "bench.md").write_text(write_report(kept))
    print(f"\nKept in {path}, bench.md and bench.svg beside it")


def _describe_machine() -> str:
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f} at the end"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
