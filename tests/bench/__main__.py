"""The command line: measures, prints, and keeps the result with a picture of it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import django

import tests.environment  # noqa: F401 - no developer's .env decides

os.environ["DJANGO_SETTINGS_MODULE"] = "valhalla.settings"
django.setup()

from tests.bench.load import NO_WRK, BenchError, find_wrk  # noqa: E402 - after Django's start
from tests.bench.middleware import run_middleware  # noqa: E402
from tests.bench.plot import draw  # noqa: E402
from tests.bench.propagation import run_propagation  # noqa: E402
from tests.bench.throughput import run_throughput  # noqa: E402
from tests.postgres import PostgresError  # noqa: E402
from tests.server import ROOT, ServerError  # noqa: E402

Json = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    try:
        if options.middleware:
            result = {"middleware": run_middleware()}
        elif options.what == "propagation":
            result = {"propagation": run_propagation(stops=options.stops, with_peers=options.peers)}
        elif find_wrk() is None:
            raise BenchError(NO_WRK)
        else:
            result = {
                "throughput": run_throughput(seconds=options.seconds, rounds=options.rounds, with_peers=options.peers)
            }
    except (BenchError, PostgresError, ServerError) as error:
        print(f"tests.bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    _keep(result, options.output)
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("throughput", "propagation"), default="throughput")
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement (2)")
    parser.add_argument("--rounds", type=int, default=3, help="of everything; the median counts (3)")
    parser.add_argument("--stops", type=int, default=60, help="of the service, for the propagation (60)")
    parser.add_argument("--without-peers", dest="peers", action="store_false", help="install and measure no peers")
    parser.add_argument("--middleware", action="store_true", help="measure what each middleware costs instead")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder of bench.json and bench.svg (docs)")
    return parser.parse_args(arguments)


def _keep(result: Json, folder: Path) -> None:
    """Beside what was kept of the other measurements."""
    path = folder / "bench.json"
    kept: Json = json.loads(path.read_text()) if path.exists() else {}
    measured = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "on": _describe_machine()}
    kept |= {name: {**measured, **values} for name, values in result.items()}
    path.write_text(json.dumps(kept, indent=1) + "\n")
    (folder / "bench.svg").write_text(draw(kept))
    print(f"\nKept in {path} and drawn in {path.with_suffix('.svg')}")


def _describe_machine() -> str:
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f} at the end"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
