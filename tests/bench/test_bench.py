"""The benchmark measures what it says: its arithmetic, its picture, and once shortly the whole."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.bench.goals import GOALS, judge
from tests.bench.load import Measurement
from tests.bench.plot import draw
from tests.bench.propagation import Outcome
from tests.bench.report import write_report
from tests.support.server import ROOT, clean_environment


def make_results(**rates: float) -> dict[str, dict[int, list[Measurement]]]:
    """Every subject at 100 requests per second, but for these; a second round at a tenth of that."""
    names = {name for goal in GOALS for name in (goal.subject, goal.base)}
    return {
        name: {
            16: [Measurement(rate=100, p50_ms=1, p99_ms=10)] * 2,
            64: [Measurement(rates.get(name, 100) / slow, p50_ms=5, p99_ms=20) for slow in (1, 10)],
        }
        for name in names
    }


def test_goals__equal_subjects__fail_where_more_is_asked() -> None:
    verdicts = {(v.goal.subject, v.goal.base, v.goal.kind): v for v in judge(make_results())}

    assert verdicts["gate", "bare", "rate"].is_met is True
    assert verdicts["gate", "unleash", "rate"].is_met is False
    assert verdicts["gate", "unleash-2", "rate"].is_met is None
    assert verdicts["state", "empty", "p99"].is_met is True
    assert {verdict.ratio for verdict in verdicts.values()} == {1.0}


@pytest.mark.parametrize(("rate", "is_met"), [(95, True), (94, False)])
def test_goals__throughput__is_compared_at_64_connections(rate: float, is_met: bool) -> None:
    (verdict,) = (
        v
        for v in judge(make_results(state=rate))
        if (v.goal.subject, v.goal.base) == ("state", "empty") and v.goal.kind == "rate"
    )

    assert verdict.is_met is is_met


def test_goals__subject_not_measured__has_no_verdict() -> None:
    results = make_results()
    del results["unleash"]

    assert not [verdict for verdict in judge(results) if verdict.goal.base == "unleash"]


def test_median__of_rounds__is_taken_for_each_value() -> None:
    found = Measurement.median([Measurement(1, 9, 5), Measurement(3, 7, 6), Measurement(2, 8, 100)])

    assert found == Measurement(2, 8, 6)


def test_outcome__request_let_through_after_the_acknowledgement__is_a_violation() -> None:
    found = Outcome(delays_ms=[-2.0, 0.0, 0.5, -300.0], acknowledged_ms=[1, 2, 3, 4]).summarize()

    assert found["violations"] == 1
    assert found["delay_ms"] == {"min": -300.0, "median": -1.0, "p99": 0.5, "max": 0.5}


def test_plot__shows_every_subject_and_every_stop() -> None:
    subjects = {name: {"label": f"<{name}>", "connections": {"64": {"rate": 10.0}}} for name in ("gate", "bare")}
    outcome = Outcome(delays_ms=[-2.0, 700.0, 99_999.0], acknowledged_ms=[1, 2, 3]).summarize()
    result: dict[str, Any] = {
        "throughput": {"subjects": subjects},
        "propagation": {"systems": {"service": {"label": "The service", **outcome}}},
    }

    root = ET.fromstring(draw(result))

    kinds = [element.get("class") for element in root.iter() if element.tag.endswith("circle")]
    assert kinds == ["ours", "late", "late"]
    assert {"<gate>", "<bare>", "The service"} <= {element.text for element in root.iter()}


def test_report__names_what_was_not_run_and_what_was_not_met() -> None:
    made = {"at": "now", "on": "a machine"}
    subject = {"label": "The gate", "connections": {"64": {"rate": 1234.0, "p50_ms": 1.0, "p99_ms": 2.0}}}
    goals = [{"subject": "gate", "base": "bare", "limit": 0.9, "kind": "rate", "ratio": 0.5, "is_met": False}]
    throughput = {
        "rounds": 3,
        "seconds": 1,
        "subjects": {"gate": subject},
        "goals": goals,
        "not_run": {"unleash": "no node"},
    }

    page = write_report({"throughput": {**made, **throughput}})

    assert "| The gate | 1,234 · 1.0 / 2.0 |" in page
    assert "| throughput of gate / bare, at least 0.9 | 0.50 | **not met** |" in page
    assert "**Not run:** unleash: no node" in page


def run_quick(folder: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench", *arguments, "--quick", f"--output={folder}"]
    done = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "bench.svg").read_text().startswith("<svg")
    assert "not run" not in (folder / "bench.md").read_text().lower()
    return dict(json.loads((folder / "bench.json").read_text()))


@pytest.mark.slow
@pytest.mark.postgresql
@pytest.mark.wrk
def test_bench__once_shortly__measures_the_service(tmp_path: Path) -> None:
    found = run_quick(tmp_path)["throughput"]

    assert set(found["subjects"]) == {"gate", "state", "status", "ofrep", "bare", "empty", "empty-endpoint", "orm"}
    assert all(subject["connections"]["16"]["rate"] > 10 for subject in found["subjects"].values())
    assert {goal["subject"] for goal in found["goals"]} == {"gate", "state", "status", "ofrep"}


@pytest.mark.slow
@pytest.mark.postgresql
def test_propagation__once_shortly__finds_no_violation(tmp_path: Path) -> None:
    found = run_quick(tmp_path, "propagation")["propagation"]["systems"]["service"]

    assert (found["stops"], found["violations"], found["unseen"]) == (2, 0, 0)
    assert found["answers"] > 100
    assert found["acknowledged_ms"]["min"] >= 250
