"""Processes of their own that make changes, for the tests of concurrency: `python -m tests.controls.child ROLE JSON`.

DATABASE_URL names the database. `load` forks many processes that make random changes; `race` makes one change for each
line that it reads; `freeze` stops itself (SIGSTOP) while it holds the lock. Each answers with a line of JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import django

# Weighted: a guarded change takes ten times as long, since it runs the checklist.
NAMES = ("engage", "disable", "reopen", "complete", "complete", "edit") * 2 + ("release", "enable")


def main(role: str, options: dict[str, Any]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "valhalla.settings")
    django.setup()
    from golive.state import leases

    # The wait comes after the transaction; what is looked at here comes before.
    vars(leases)["wait_out"] = lambda lease_ms: None
    roles: dict[str, Callable[..., None]] = {"load": run_load, "race": run_race, "freeze": run_freeze}
    roles[role](**options)


def answer(values: Any) -> None:
    print(json.dumps(values), flush=True)


# -- load --------------------------------------------------------------------------------------------------------------


def run_load(processes: int, changes: int) -> None:
    """Fork, let every process make its changes, and answer with what came of each, as `make_change` tells it."""
    from golive.readiness import checks

    be_patient()
    # The whole record is verified in the end; once for every guarded change would take minutes.
    checks.EVENTS_VERIFIED = 20
    children: list[tuple[int, int]] = []
    for number in range(processes):
        source, sink = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(source)
            with os.fdopen(sink, "w") as report:
                json.dump(make_changes(number, changes), report)
            os._exit(0)
        os.close(sink)
        children.append((child, source))
    outcomes: list[dict[str, Any]] = []
    for child, source in children:
        with os.fdopen(source) as report:
            outcomes += json.load(report)
        os.waitpid(child, 0)
    answer(outcomes)


def make_changes(number: int, count: int) -> list[dict[str, Any]]:
    from golive.state import singletons

    chance = random.Random(number)
    outcomes = []
    for turn in range(count):
        name = chance.choice(NAMES)
        fields: dict[str, object] = {}
        if name in ("release", "enable"):
            fields["override"] = ["backend_complete", "events_intact"] if chance.random() < 0.5 else []
        if name == "edit":
            fields["version"] = f"{chance.randrange(3)}.0"
        if turn == 0:
            # One that is certainly out of date, whatever the others do.
            name = "complete"
            fields["expected_revision"] = 1_000_000
        elif chance.random() < 0.2:
            fields["expected_revision"] = singletons.read_go_live().revision
        outcomes.append({"name": name, **make_change(name, f"{number}-{turn}", fields)})
    return outcomes


def make_change(name: str, reason: str, fields: dict[str, object]) -> dict[str, Any]:
    """Make a change; what came of it. An error that no rule names is told with its class and words."""
    from golive.controls.apply import apply_change
    from golive.domain.changes import CHANGES, Channel
    from golive.domain.errors import GoLiveError
    from tests.support.factories import make_actor

    began = time.monotonic()
    try:
        done = apply_change(CHANGES[name], actor=make_actor(), reason=reason, channel=Channel.API, fields=fields)
    except GoLiveError as error:
        outcome: dict[str, Any] = {"code": error.code}
    except Exception as error:  # noqa: BLE001 - the test wants to see it
        outcome = {"code": f"{type(error).__name__}: {error}"}
    else:
        outcome = {"code": "DONE", "changed": done.changed, "sequence": done.sequence}
    return {"reason": reason, "seconds": time.monotonic() - began, **outcome}


# -- race --------------------------------------------------------------------------------------------------------------


def run_race(name: str, seed: int, mutation: str | None = None, can_hold: bool = False) -> None:
    """For each line that comes in: make the change, with pauses between the locks, and answer.

    With `can_hold`, nothing pauses, but a line `... until WORDS` holds on inside the transaction, once a statement with
    these words has run: "held" is answered, and the next line lets it go on.
    """
    mutate(mutation)
    be_patient()
    chance = random.Random(seed)
    until = ""

    def pause(sql: str) -> None:
        if "FOR UPDATE" in sql or "golive_event" in sql:
            time.sleep(chance.random() * 0.004)

    def hold(sql: str) -> None:
        nonlocal until
        if until and until in sql and connection.in_atomic_block:
            until = ""
            answer("held")
            sys.stdin.readline()

    from django.db import connection

    with watch(hold if can_hold else pause, mutation):
        answer("ready")
        while line := sys.stdin.readline():
            reason, _, until = line.strip().partition(" until ")
            answer(make_change(name, reason, {}))


def be_patient() -> None:
    """Give up nothing because the machine is busy: a minute for what has 2 to 5 s."""
    from golive.controls import transactions

    transactions._SETTINGS.update(lock_timeout="60000", statement_timeout="60000")
    transactions._SETTINGS["idle_in_transaction_session_timeout"] = "60000"
    vars(transactions)["WRITE_SECONDS"] = 60.0


def mutate(mutation: str | None) -> None:
    """Let the checklist find all well, since what is raced for comes after it; and break the code, if told."""
    from golive.controls import apply
    from golive.domain import effects
    from golive.domain.checklist import Checklist
    from golive.readiness import runner
    from tests.support.factories import make_result

    runner.run_checklist = lambda: Checklist.of([make_result()])
    if mutation == "reopen does not engage":
        vars(apply)["plan_steps"] = lambda *args, **options: effects.plan_steps(*args, **options)[:1]


def watch(before: Callable[[str], None], mutation: str | None = None) -> AbstractContextManager[None]:
    """Call `before` with each statement. With the mutation 'one row locked', `system_metadata` is not."""
    from django.db import connection

    from golive.controls.event_writer import EventWriter

    if mutation == "one row locked":
        # It reads both rows again, which would notice.
        setattr(EventWriter, "_check_written", lambda writer: None)  # noqa: B010 - not for the type checker

    def wrap(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if mutation == "one row locked" and "FROM system_metadata" in sql:
            sql = sql.replace(" FOR UPDATE", "")
        result = execute(sql, params, many, context)
        before(sql)
        return result

    return connection.execute_wrapper(wrap)


# -- freeze ------------------------------------------------------------------------------------------------------------


def run_freeze(name: str, after: str, is_patient: bool = False) -> None:
    """Make a change, and stop this process after the first statement that holds these words."""
    if is_patient:
        be_patient()
    is_over = False

    def stop(sql: str) -> None:
        nonlocal is_over
        if after in sql and not is_over:
            is_over = True
            os.kill(os.getpid(), signal.SIGSTOP)

    with ExitStack() as stack:
        mutate(None)
        stack.enter_context(watch(stop))
        answer(make_change(name, "frozen", {}))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
