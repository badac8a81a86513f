"""The runner of the checks: it always ends in time, and no check harms another, the request or the database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from django.db import connection, transaction

from golive.domain.checklist import Checklist, CheckResult, Severity
from golive.domain.errors import StateUnknownError
from golive.readiness import registry, runner
from golive.readiness.registry import Check, Finding, register, unregister
from golive.readiness.runner import run_all, run_checklist, run_checks
from golive.state import singletons
from tests.support.faults import proxied, renamed_table, rerouted, run_sql
from tests.support.forks import ask_fork, held_by_another_thread
from tests.support.patience import ends_within, wait_until

# Promise 2 of docs/explain/design.md: what is unknown is answered within 3 seconds.
LIMIT_SECONDS = 3.0
pytestmark = pytest.mark.check_limits


def make_check(run: Callable[[], Any], id: str = "made", **options: Any) -> Check:
    return Check(**{"id": id, "severity": Severity.BLOCKER, "message": "What is checked", "run": run, **options})


def pass_check() -> Finding:
    return Finding(True, "All is well.")


def read_check() -> Finding:
    singletons.read_both()
    return Finding(True, "Both rows can be read.")


def results_of(checklist: Checklist) -> dict[str, CheckResult]:
    return {result.id: result for result in checklist.results}


def run_in_time(run: Callable[[], Checklist], seconds: float = LIMIT_SECONDS) -> Checklist:
    with ends_within(seconds):
        return run()


@pytest.fixture(autouse=True)
def no_thread_left_behind(database: None) -> Iterator[None]:
    """While the database is still there for them: whatever a test left running must end."""
    yield
    wait_until(lambda: not [each for each in threading.enumerate() if each.name == "golive-checks"])


class Hanging:
    """A check that hangs until it is released, and counts how often it was started."""

    def __init__(self) -> None:
        self.started = 0
        self.released = threading.Event()
        self.ended = threading.Event()

    def __call__(self) -> Finding:
        self.started += 1
        self.released.wait(120)
        self.ended.set()
        return Finding(True, "It ended.")


@pytest.fixture
def hanging(no_thread_left_behind: None) -> Iterator[Hanging]:
    check = Hanging()
    yield check
    check.released.set()


# -- the registry ------------------------------------------------------------------------------------------------------


@pytest.fixture
def registered() -> Iterator[str]:
    """The id of a check of another app."""
    register("payments", severity=Severity.WARN, message="Payments are configured")(pass_check)
    yield "payments"
    unregister("payments")


def test_register__another_app_s_check__is_run_last_and_taken_out_again(registered: str) -> None:
    result = run_all().results[-1]
    assert (result.id, result.ok, result.severity) == ("payments", True, Severity.WARN)
    assert (result.message, result.detail) == ("Payments are configured", "All is well.")

    unregister(registered)

    assert "payments" not in results_of(run_all())


def test_register__the_id_is_taken__is_refused_and_the_first_stays(registered: str) -> None:
    with pytest.raises(ValueError, match="payments"):
        register(registered, severity=Severity.BLOCKER, message="Another")(pass_check)

    assert results_of(run_all())[registered].severity is Severity.WARN


def test_unregister__an_unknown_id__does_nothing() -> None:
    unregister("nobody")


def test_run_checklist__required__are_those_of_the_contract() -> None:
    assert [result.id for result in run_checklist().required] == [
        "backend_complete",
        "migrations_applied",
        "migration_graph",
        "environment",
        "events_intact",
        "stop_possible",
    ]


def test_run_checklist__checks_for_the_runbook_only__are_not_in_it() -> None:
    only_runbook = {result.id for result in run_all().results} - {result.id for result in run_checklist().results}

    assert only_runbook == {"database", "singleton_rows", "kill_switch_released", "execution"}


def test_run_all__twice__says_the_same() -> None:
    # What consumers get an entity tag for must not differ between calls.
    assert run_all() == run_all()


def test_run_checks__none__is_not_ok() -> None:
    assert run_checks([]).ok is False


# -- what a check may do -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("severity", Severity)
@pytest.mark.parametrize("ok", [True, False])
def test_run_checks__a_finding__becomes_the_result(severity: Severity, ok: bool) -> None:
    found = run_checks([make_check(lambda: Finding(ok, "What was found."), severity=severity)])

    assert found.results == (CheckResult("made", ok, severity, "What is checked", "What was found."),)


def _exit() -> Finding:
    raise SystemExit(0)


def _raise() -> Finding:
    raise RuntimeError("password=hunter2")


def _return_nothing() -> Any:
    return None


def _unknown() -> Finding:
    raise StateUnknownError("Row 1 is missing.")


@pytest.mark.parametrize("run", [_raise, _exit, _return_nothing, _unknown], ids=lambda run: run.__name__)
def test_run_checks__a_check_that_cannot_run__has_failed_and_harms_no_other(run: Callable[[], Finding]) -> None:
    found = run_checks([make_check(read_check, "before"), make_check(run), make_check(read_check, "after")])

    assert [(result.id, result.ok) for result in found.results] == [("before", True), ("made", False), ("after", True)]
    assert found.ok is False


def test_run_checks__a_check_that_raises__does_not_tell_what_the_exception_says() -> None:
    (result,) = run_checks([make_check(_raise)]).results

    assert "RuntimeError" in result.detail
    assert "hunter2" not in result.detail


def test_run_checks__the_state_is_unknown__says_why() -> None:
    (result,) = run_checks([make_check(_unknown)]).results

    assert result.detail == "Row 1 is missing."


def _break_statement() -> Finding:
    run_sql("SELECT * FROM no_such_table")
    return Finding(True, "Never found.")


def test_run_checks__a_check_that_breaks_its_statement__harms_no_other() -> None:
    found = run_checks([make_check(_break_statement), make_check(read_check, "after")])

    assert [result.ok for result in found.results] == [False, True]


def _catch_broken_statement() -> Finding:
    try:
        run_sql("SELECT * FROM no_such_table")
    except Exception:  # noqa: BLE001 - as careless code does
        return Finding(True, "It does not matter.")
    return Finding(False, "Never found.")


def test_run_checks__a_check_that_hides_its_broken_statement__harms_no_other() -> None:
    found = run_checks([make_check(_catch_broken_statement), make_check(read_check, "after")])

    assert results_of(found)["after"].ok is True


WRITES = {
    "update": "UPDATE go_live_state SET kill_switch_engaged = false",
    "delete": "DELETE FROM system_metadata",
    "table": "CREATE TABLE made_by_a_check (id integer)",
}


@pytest.mark.parametrize("write", WRITES)
def test_run_checks__a_check_that_writes__cannot_and_has_failed(write: str) -> None:
    before = singletons.read_both()

    def run() -> Finding:
        run_sql(WRITES[write])
        return Finding(True, "Written.")

    found = run_checks([make_check(run), make_check(read_check, "after")])

    assert [result.ok for result in found.results] == [False, True]
    assert singletons.read_both() == before
    assert "made_by_a_check" not in connection.introspection.table_names()


def test_run_checks__a_check_that_writes_in_its_own_transaction__cannot() -> None:
    before = singletons.read_both()

    def run() -> Finding:
        with transaction.atomic():
            run_sql(WRITES["update"])
        return Finding(True, "Written.")

    run_checks([make_check(run)])

    assert singletons.read_both() == before


def test_run_checks__somebody_writes_meanwhile__all_checks_see_one_moment() -> None:
    seen: list[int] = []

    def look() -> Finding:
        seen.append(singletons.read_go_live().lease_ms)
        return Finding(True, "Looked.")

    def write_elsewhere() -> Finding:
        def write() -> None:
            run_sql("UPDATE go_live_state SET lease_ms = 100")
            connection.close()

        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
        return Finding(True, "Written by somebody else.")

    run_checks([make_check(look, "a"), make_check(write_elsewhere, "b"), make_check(look, "c")])

    assert seen == [250, 250]
    assert singletons.read_go_live().lease_ms == 100


# -- hanging -----------------------------------------------------------------------------------------------------------


def test_run_checks__a_check_hangs__is_a_blocker_within_its_limit_and_the_others_run(hanging: Hanging) -> None:
    todo = [make_check(read_check, "before"), make_check(hanging), make_check(read_check, "after")]

    found = run_in_time(lambda: run_checks(todo, each_seconds=0.3))

    assert [result.ok for result in found.results] == [True, False, True]
    assert found.failed[0].id == "made"
    assert "0.3 s" in found.failed[0].detail


def test_run_checks__a_check_hangs__is_not_started_again_while_it_does(hanging: Hanging) -> None:
    todo = [make_check(hanging), make_check(read_check, "after")]

    for _ in range(4):
        found = run_in_time(lambda: run_checks(todo, each_seconds=0.2))
        assert [result.ok for result in found.results] == [False, True]

    assert hanging.started == 1


def test_run_checks__a_check_that_hung_has_ended__is_run_again(hanging: Hanging) -> None:
    run_checks([make_check(hanging)], each_seconds=0.2)
    hanging.released.set()
    assert hanging.ended.wait(60)

    wait_until(lambda: run_checks([make_check(pass_check)]).ok)


def test_run_checks__several_hang__all_end_in_time_and_the_rest_is_told(hanging: Hanging) -> None:
    todo = [make_check(hanging, f"hang-{number}") for number in range(6)] + [make_check(pass_check, "last")]

    found = run_in_time(lambda: run_checks(todo, run_seconds=1.0, each_seconds=0.2), seconds=2.0)

    assert len(found.results) == 7
    assert not any(result.ok for result in found.results[:6])


def test_run_checks__with_the_limits_of_the_service__a_hang_ends_in_time(hanging: Hanging) -> None:
    todo = [make_check(hanging, f"hang-{number}") for number in range(4)]

    found = run_in_time(lambda: run_checks(todo))

    assert not any(result.ok for result in found.results)


def pass_late() -> Finding:
    time.sleep(0.11)
    return pass_check()


def test_run_checks__a_check_ends_just_when_its_time_is_up__is_not_given_up_for_ever() -> None:
    for _ in range(20):
        run_checks([make_check(pass_late)], each_seconds=0.01)

    wait_until(lambda: run_checks([make_check(pass_check)]).ok)


def test_run_checks__many_runs_at_once__all_are_answered() -> None:
    found: list[Checklist] = []
    threads = [threading.Thread(target=lambda: found.append(run_all())) for _ in range(6)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(found) == 6
    assert all(results_of(each)["singleton_rows"].ok for each in found)


@pytest.mark.postgresql
def test_run_checks__a_statement_hangs__is_a_blocker_within_its_limit_and_the_rest_is_answered() -> None:
    def sleep() -> Finding:
        run_sql("SELECT pg_sleep(30)")
        return Finding(True, "Slept.")

    todo = [make_check(sleep), make_check(read_check, "after"), make_check(pass_check, "other", needs_database=False)]

    try:
        found = run_in_time(lambda: run_checks(todo, each_seconds=0.3))
    finally:
        # The server does not notice that nobody waits any more.
        run_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)'")

    assert [result.id for result in found.results] == ["made", "after", "other"]
    assert (found.results[0].ok, found.results[2].ok) == (False, True)


@pytest.mark.postgresql
def test_run_checks__a_statement_waits_for_a_lock__ends_in_time() -> None:
    with transaction.atomic():
        run_sql("LOCK TABLE system_metadata IN ACCESS EXCLUSIVE MODE")
        found = run_in_time(run_all)

    assert "backend_complete" in {result.id for result in found.failed}


def test_run_checklist__for_two_changes_at_once__one_runs_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a run of its own, and there is never more than one connection for them."""
    open_runs, most = 0, 0
    together, both_asked = threading.Event(), threading.Barrier(2)

    def run(checks: Iterable[Check], **limits: float) -> Checklist:
        nonlocal open_runs, most
        open_runs += 1
        most = max(most, open_runs)
        if open_runs == 2:
            together.set()
        together.wait(0.3)
        open_runs -= 1
        return Checklist.of([])

    monkeypatch.setattr(runner, "run_checks", run)

    def ask() -> None:
        both_asked.wait(10)
        run_checklist()

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert most == 1


def test_run_checklist__another_change_takes_all_the_time__has_failed_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "RUN_SECONDS", 0.05)

    with runner._change_slot:
        found = run_checklist()

    assert found.ok is False
    assert {result.detail for result in found.results} == {runner.ANOTHER_CHANGE}
    assert run_checklist().results


def test_run_checklist__in_a_fork_that_was_made_during_a_run__runs() -> None:
    with held_by_another_thread(runner._change_slot):
        answer = ask_fork(lambda: str(runner._change_slot.acquire(timeout=5)))

    assert answer == "True"


# -- a database that is away -------------------------------------------------------------------------------------------


def needing_database() -> set[str]:
    return {check.id for check in registry._registry.values() if check.needs_database}


@pytest.mark.postgresql
def test_run_all__the_server_is_down__has_every_result_in_time() -> None:
    with rerouted(HOST="127.0.0.1", PORT=1):
        found = run_in_time(run_all)

    results = results_of(found)
    assert results.keys() == registry._registry.keys()
    assert {id for id in needing_database() if results[id].ok} == set()
    assert results["environment"].ok is True
    assert results["database"].detail == runner.NO_DATABASE


@pytest.mark.postgresql
def test_run_all__the_server_is_frozen__has_every_result_in_time_and_recovers_by_itself() -> None:
    with proxied() as proxy:
        proxy.freeze()
        for _ in range(2):
            results = results_of(run_in_time(run_all))
            assert results.keys() == registry._registry.keys()
            assert {id for id in needing_database() if results[id].ok} == set()

        proxy.thaw()
        wait_until(lambda: results_of(run_all())["singleton_rows"].ok)


@pytest.mark.postgresql
def test_run_checks__the_server_freezes_in_the_middle__has_every_result_in_time() -> None:
    with proxied() as proxy:

        def freeze() -> Finding:
            proxy.freeze()
            return Finding(True, "Frozen.")

        todo = [make_check(freeze, "freeze"), *(make_check(read_check, f"read-{number}") for number in range(4))]
        found = run_in_time(lambda: run_checks(todo))

    assert [result.ok for result in found.results] == [False] * 5 or [result.ok for result in found.results[1:]] == [
        False
    ] * 4


@pytest.mark.parametrize("table", ["go_live_state", "system_metadata", "golive_event", "django_migrations"])
def test_run_all__a_table_is_missing__has_every_result(table: str) -> None:
    with renamed_table(table):
        found = run_in_time(run_all)

    assert results_of(found).keys() == registry._registry.keys()
    assert found.ok is False


def test_run_all__no_rows__says_so() -> None:
    run_sql("DELETE FROM go_live_state")
    run_sql("DELETE FROM system_metadata")

    results = results_of(run_all())

    assert results["singleton_rows"].ok is False
    assert "missing" in results["singleton_rows"].detail
    assert results["backend_complete"].ok is False
    assert results["events_intact"].ok is False


# -- the caller --------------------------------------------------------------------------------------------------------


def test_run_all__from_inside_a_transaction_that_has_written__does_not_wait_for_it() -> None:
    with transaction.atomic():
        run_sql("UPDATE go_live_state SET lease_ms = 100")
        found = run_in_time(run_all)
        assert run_sql("SELECT lease_ms FROM go_live_state") == [(100,)]

    assert results_of(found)["singleton_rows"].ok is True
    assert singletons.read_go_live().lease_ms == 100


def test_run_all__the_caller_s_connection__is_not_used() -> None:
    with connection.execute_wrapper(lambda *args: pytest.fail("the checks use a connection of their own")):
        run_all()


@pytest.mark.postgresql
def test_run_all__done__leaves_no_connection_behind() -> None:
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    before = run_sql(count)

    for _ in range(3):
        run_all()

    wait_until(lambda: run_sql(count) == before)
