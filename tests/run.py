"""What `make test` runs: pytest on SQLite and on PostgreSQL, side by side, and one summary of all.

`python -m tests.run [--strict | --fast] [arguments for pytest]`. A run of everything also measures which lines and
branches the test processes reach, on both databases together (`.coverage`). What the machine lacks (Chromium,
PostgreSQL, pgbouncer, nginx, Caddy, HAProxy, Node.js, Alertmanager, wrk) is left out and said so. With `--strict`, or
CI=true in the environment, that is a failure, and so is every skipped test.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from tests.support import profiles
from tests.support.postgres import SCHEMES, PostgresError, PostgresServer
from tests.support.server import ROOT, clean_environment

# Pure code: what it does cannot depend on the database, so once is enough.
WITHOUT_DATABASE = (
    "tests/consistency/test_checker.py",
    "tests/domain/",
    "tests/guard/",
    "tests/proxies/",
    "tests/migration_graph/",
    "tests/package/",
    "tests/api/test_openfeature_node.py",
    "tests/browser/test_audit_report.py",
    "tests/browser/test_openfeature_pages.py",
    "tests/test_architecture.py",
    "tests/test_docstrings.py",
    "tests/test_explain.py",
    "tests/test_import_contracts.py",
    "tests/test_requirements.py",
    "tests/management/test_audit_command.py",
    "tests/postgresql/test_circuit_breaker.py",
    "tests/valhalla/test_environment.py",
)
# Parts of about the same length, which run beside the rest: most of their time they wait for leases and processes.
SERVICES = ("tests/api/", "tests/browser/")
DEPLOYS = ("tests/deploys/", "tests/consistency/")
OVER_HTTP = ("tests/http/", "tests/enforcement/", "tests/bench/")
PURE = ("tests/domain/", "tests/guard/", "tests/migration_graph/", "tests/package/", "tests/proxies/")
# How many at once: enough to fill the waits, few enough that none is starved.
MAX_SIDE_BY_SIDE = max(2, 2 * (os.cpu_count() or 1))
# What `--fast` runs: all that starts no server, in parts, of which the last needs no database.
FAST = {
    "SQLite, controls": ("tests/controls/", "tests/identity/", "tests/postgresql/"),
    "SQLite, state": ("tests/readiness/", "tests/state/", "tests/test_gate.py", "tests/test_text.py"),
    "SQLite, http": ("tests/database/", "tests/enforcement/", "tests/http/"),
    "Pure": (
        *("tests/domain/", "tests/migration_graph/", "tests/test_admission.py", "tests/test_middleware.py"),
        *("tests/test_architecture.py", "tests/test_import_contracts.py", "tests/valhalla/"),
    ),
}
# Of these folders, what starts a server or processes of its own.
NOT_FAST = ("tests/enforcement/test_use_tz.py", "tests/http/test_wire.py", "tests/valhalla/test_environment.py")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Debian puts servers where only root's PATH leads.
SERVER_FOLDERS = ("/usr/sbin", "/usr/local/sbin")
PROXIES = ("nginx", "caddy", "haproxy")
NO_POOLER = "no pgbouncer on the PATH. On Debian: apt-get install pgbouncer"
NO_GRAPHVIZ = "no dot on the PATH. On Debian: apt-get install graphviz"
NO_PROXY = f"no {' or no '.join(PROXIES)} on the PATH. On Debian: apt-get install {' '.join(PROXIES)}"
NODE = ("node", "npm")
NO_NODE = f"no {' or no '.join(NODE)} on the PATH. On Debian: apt-get install nodejs npm"
NO_BROWSER = f"no Chromium on the PATH ({', '.join(BROWSERS)}). On Debian: apt-get install chromium"
NO_ALERTMANAGER = (
    "no prometheus-alertmanager on the PATH. On Debian: apt-get install --no-install-recommends prometheus-alertmanager"
)
NO_WRK = "no wrk on the PATH. On Debian: apt-get install wrk"
INTERRUPT_SECONDS = 60
# pytest's exit code when no test was selected.
NOTHING_SELECTED = 5


def find_chromium() -> str | None:
    """The path of a Chromium that browser tests can drive, or None."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def find_server_program(name: str) -> str | None:
    """The path of a server that tests start themselves (pgbouncer, nginx, caddy), or None."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *SERVER_FOLDERS]))


def find_pgbouncer() -> str | None:
    """The path of the pooler that tests can put before PostgreSQL, or None."""
    return find_server_program("pgbouncer")


def find_wrk() -> str | None:
    """The path of the program that the benchmark makes its load with, or None."""
    return shutil.which("wrk")


@dataclass(frozen=True)
class Run:
    """One pytest process to be: its database (empty: a SQLite file), which tests by marker, which folders and not."""

    name: str
    database_url: str
    markers: str
    without: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What one run did: counts of tests, a line for each skipped one, and in `problem` what else went wrong."""

    name: str
    passed: int = 0
    failed: int = 0
    expected_failures: int = 0
    skipped: tuple[str, ...] = ()
    seconds: float = 0.0
    problem: str = ""

    @property
    def is_empty(self) -> bool:
        return not (self.passed or self.failed or self.expected_failures or self.skipped)

    @property
    def failures(self) -> int:
        """Never 0 for a run that went wrong: one that broke down stands for one failure at least."""
        return max(self.failed, 1 if self.problem else 0)

    @property
    def line(self) -> str:
        counts = [f"{self.passed} passed", f"{self.failed} failed", f"{len(self.skipped)} skipped"]
        if self.expected_failures:
            counts.append(f"{self.expected_failures} failed as expected")
        return f"{self.name + ':':<12} {', '.join(counts)} in {self.seconds:.0f} s"


@dataclass(frozen=True)
class Options:
    strict: bool
    fast: bool
    markers: str
    arguments: tuple[str, ...]

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> Options:
        parser = argparse.ArgumentParser(prog="python -m tests.run", description=__doc__, allow_abbrev=False)
        parser.add_argument("--strict", action="store_true", help="nothing may be left out or skipped")
        parser.add_argument("--fast", action="store_true", help="on SQLite alone, only what starts no server")
        parser.add_argument("-m", dest="markers", default="", help="as pytest's, on top of what each run selects")
        known, others = parser.parse_known_args(arguments)
        is_ci = os.environ.get("CI", "").lower() in ("true", "1")
        return cls((known.strict or is_ci) and not known.fast, known.fast, known.markers, tuple(others))

    @property
    def is_everything(self) -> bool:
        """Whether the whole suite was asked for, so that what it does not reach means something."""
        return not (self.fast or self.markers or self.arguments)


def main(arguments: Sequence[str]) -> int:
    options = Options.parse(arguments)
    signal.signal(signal.SIGTERM, _exit_on_signal)
    if options.fast:
        return _run_fast(options)
    with ExitStack() as stack:
        left_out: list[str] = []
        first, *others = _split(Run("SQLite", "", "not postgresql"), options, services=SERVICES, pure=PURE)
        runs = [first, *others]
        try:
            runs = [first, *_make_postgres_runs(stack, options), *others]
        except PostgresError as error:
            left_out.append(f"all tests on PostgreSQL: {error}")
        missing = _find_missing_programs()
        left_out += missing.values()
        without = "".join(f" and not {marker}" for marker in missing)
        runs = [replace(run, markers=run.markers + without) for run in runs]
        if options.strict and left_out:
            return _report([Outcome("Set-up", problem=f"cannot run {reason}") for reason in left_out], [])
        outcomes = _run_side_by_side(runs, options)
        return _report(_judge(outcomes, options), left_out, _describe_coverage() if options.is_everything else "")


def _find_missing_programs() -> dict[str, str]:
    """Of each program that the machine lacks: the marker of the tests that need it -> what is left out, and why."""
    needed = {
        "browser": (find_chromium(), f"all tests in a browser: {NO_BROWSER}"),
        "pooler": (find_pgbouncer(), f"all tests behind a connection pooler: {NO_POOLER}"),
        "graphviz": (shutil.which("dot"), f"all tests that draw with Graphviz: {NO_GRAPHVIZ}"),
        "proxy": (all(find_server_program(name) for name in PROXIES), f"all tests of proxies: {NO_PROXY}"),
        "alertmanager": (
            find_server_program("prometheus-alertmanager"),
            f"the test of the Alertmanager: {NO_ALERTMANAGER}",
        ),
        "node": (all(shutil.which(name) for name in NODE), f"all tests of OpenFeature in JavaScript: {NO_NODE}"),
        "wrk": (find_wrk(), f"the test of the benchmark: {NO_WRK}"),
    }
    return {marker: reason for marker, (is_there, reason) in needed.items() if not is_there}


def _run_fast(options: Options) -> int:
    markers = "not postgresql and not graphviz and not slow"
    runs = [Run(name, "", markers, NOT_FAST, folders) for name, folders in FAST.items()]
    options = replace(options, arguments=(f"--hypothesis-profile={profiles.QUICK}", *options.arguments))
    return _report(_judge(_run_side_by_side(runs, options), options), [])


def _make_postgres_runs(stack: ExitStack, options: Options) -> list[Run]:
    """Runs on private servers, or one where the caller names the server or the tests. Raises PostgresError."""
    markers = "not sqlite_only"
    configured = os.environ.get("DATABASE_URL", "")
    if urlsplit(configured).scheme in SCHEMES:
        print("PostgreSQL: the server that DATABASE_URL names")
        return [Run("PostgreSQL", configured, markers, WITHOUT_DATABASE)]
    whole = Run("PostgreSQL", "", markers, WITHOUT_DATABASE)
    runs = _split(whole, options, deploys=DEPLOYS, http=OVER_HTTP, services=SERVICES)
    return [replace(run, database_url=_start_postgres(stack)) for run in runs]


def _split(run: Run, options: Options, **parts: tuple[str, ...]) -> list[Run]:
    """The run without the folders of these parts, and a run for each part; one run if the caller chooses the tests."""
    # What the caller asks for may be a path, which pytest would add to ours.
    if options.arguments:
        return [run]
    folders = tuple(folder for part in parts.values() for folder in part)
    return [
        replace(run, without=(*run.without, *folders)),
        *(replace(run, name=f"{run.name}, {name}", folders=part) for name, part in parts.items()),
    ]


def _start_postgres(stack: ExitStack) -> str:
    """The URL of a database on a server of its own, since tests restart it and count its sessions."""
    server = stack.enter_context(PostgresServer())
    print(f"PostgreSQL: a private server on port {server.port}")
    return server.create_database("valhalla")


def _run_side_by_side(runs: Sequence[Run], options: Options) -> list[Outcome]:
    """All runs, MAX_SIDE_BY_SIDE at once. The first shows its output as it goes on, the others when they have ended."""
    with tempfile.TemporaryDirectory(prefix="valhalla-tests-") as folder, ExitStack() as stack:
        processes = [_Process(run, options, Path(folder) / str(number)) for number, run in enumerate(runs)]
        stack.push(lambda kind, *_: _end(processes, is_interrupted=kind is KeyboardInterrupt) if kind else None)
        waiting, running = list(processes), list[_Process]()
        while waiting or running:
            while waiting and len(running) < MAX_SIDE_BY_SIDE:
                running.append(waiting.pop(0))
                running[-1].start(stack, is_shown=running[-1] is processes[0])
            ended = [process for process in running if process.has_ended]
            for process in ended:
                running.remove(process)
                process.show()
            if not ended:
                time.sleep(0.2)
        outcomes = [process.judge() for process in processes]
        if options.is_everything:
            _combine_coverage([process.coverage for process in processes])
        return outcomes


def _combine_coverage(files: Sequence[Path]) -> None:
    """Write what all runs reached together to `.coverage`."""
    written = [str(path) for path in files if path.exists()]
    command = [*(sys.executable, "-m", "coverage", "combine", "--quiet"), *written]
    subprocess.run(command, cwd=ROOT, check=False)


def _describe_coverage() -> str:
    command = [*(sys.executable, "-m", "coverage", "report", "--precision=1", "--format=total")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"not measured: {(done.stdout + done.stderr).strip()}"
    return f"{done.stdout.strip()} % of lines and branches, by the test processes (`coverage report -m` lists the rest)"


class _Process:
    """One run of pytest. `folder`: where its report and, if it is not shown, its output go."""

    def __init__(self, run: Run, options: Options, folder: Path) -> None:
        self._run, self._folder = run, folder
        folder.mkdir()
        self._report, self._output = folder / "junit.xml", folder / "output"
        self.coverage = folder / "coverage"
        markers = f"({run.markers}) and ({options.markers})" if options.markers else run.markers
        measured = ("-m", "coverage", "run", f"--data-file={self.coverage}") if options.is_everything else ()
        self._command = [
            *(sys.executable, *measured, "-m", "pytest", "-m", markers, f"--junit-xml={self._report}"),
            *(f"--deselect={prefix}" for prefix in run.without),
            *run.folders,
            *options.arguments,
        ]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, stack: ExitStack, *, is_shown: bool) -> None:
        # The database is the only thing that the runs do not share, and nothing comes from the developer's shell.
        database_url = self._run.database_url or f"sqlite:///{self._folder / 'db.sqlite3'}"
        settings = {**os.environ, **clean_environment({"DATABASE_URL": database_url})}
        output = None if is_shown else stack.enter_context(self._output.open("wb"))
        self.process = subprocess.Popen(
            self._command, cwd=ROOT, env=settings, stdout=output, stderr=None if is_shown else subprocess.STDOUT
        )

    @property
    def has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def show(self) -> None:
        """Print the output that was not shown as it came."""
        if self._output.exists():
            print(f"\n{f' {self._run.name} ':#^100}\n{self._output.read_text(errors='replace')}", flush=True)

    def judge(self) -> Outcome:
        """What the run, which has ended, did."""
        outcome = _read(self._report, self._run.name)
        code = None if self.process is None else self.process.returncode
        if code == NOTHING_SELECTED:
            return outcome
        return replace(outcome, problem="" if code == 0 or outcome.failed else f"pytest ended with exit code {code}")


def _end(processes: Sequence[_Process], *, is_interrupted: bool) -> None:
    """End what still runs, and give it the time to tidy up."""
    running = [each.process for each in processes if each.process is not None and each.process.poll() is None]
    for process in running:
        if not is_interrupted:  # Ctrl-C has reached them already, with the whole terminal
            process.send_signal(signal.SIGINT)
    for process in running:
        try:
            process.wait(INTERRUPT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _read(report: Path, name: str) -> Outcome:
    """Count the tests in pytest's report. A test counts once, by the worst of its entries; no report, no tests."""
    try:
        root = ET.parse(report).getroot()
    except (FileNotFoundError, ET.ParseError):
        return Outcome(name)
    verdicts: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for case in root.iter("testcase"):
        test = f"{case.get('classname')}.{case.get('name')}"
        verdict = "passed"
        for child in case:
            if child.tag in ("failure", "error"):
                verdict = "failed"
            elif child.tag == "skipped" and verdict != "failed":
                verdict = "expected" if child.get("type") == "pytest.xfail" else "skipped"
                reasons[test] = " ".join((child.get("message") or "no reason given").split())
        if verdicts.get(test) != "failed":
            verdicts[test] = verdict
    counts = list(verdicts.values())
    return Outcome(
        name,
        passed=counts.count("passed"),
        failed=counts.count("failed"),
        expected_failures=counts.count("expected"),
        skipped=tuple(f"{test}: {reasons[test]}" for test, verdict in verdicts.items() if verdict == "skipped"),
        seconds=sum(float(suite.get("time", 0)) for suite in root.iter("testsuite")),
    )


def _judge(outcomes: list[Outcome], options: Options) -> list[Outcome]:
    """Add the problems that pytest does not see: a run without a test, and in strict mode a skipped one.

    With arguments of the caller's one run may well be empty (`-k` something that needs no database), but not all.
    """
    is_narrowed = bool(options.arguments or options.markers) and not all(outcome.is_empty for outcome in outcomes)
    judged = []
    for outcome in outcomes:
        problem, failed = outcome.problem, outcome.failed
        if outcome.is_empty and not problem and not is_narrowed:
            problem = "no test ran"
        if options.strict and outcome.skipped:
            problem, failed = problem or "tests were skipped", failed + len(outcome.skipped)
        judged.append(replace(outcome, problem=problem, failed=failed))
    return judged


def _report(outcomes: list[Outcome], left_out: list[str], coverage: str = "") -> int:
    """Print the summary, the totals as its last line; the exit code."""
    print(f"\n{' Summary ':#^100}")
    for outcome in outcomes:
        print(outcome.line)
        for reason in outcome.skipped:
            print(f"  skipped {reason}")
        if outcome.problem:
            print(f"  FAILED: {outcome.problem}")
    for reason in left_out:
        print(f"Left out: {reason}")
    if coverage:
        print(f"Coverage: {coverage}")
    failures = sum(outcome.failures for outcome in outcomes)
    print(f"{sum(outcome.passed for outcome in outcomes)} passed, {failures} failed", flush=True)
    return 1 if failures else 0


def _exit_on_signal(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
