"""The database goes away under the running service, in every way that it can, and comes back.

Real gunicorn, and a PostgreSQL of the tests' own: stopped, killed, frozen, with its connections cut, its rows locked
by somebody else. Unknown is closed, every answer comes in time, and nobody has to restart anything.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.patience import SLACK, wait_until
from tests.support.postgres import PostgresServer
from tests.support.server import ROOT, GunicornServer, Response, clean_environment, request

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]

READ_SECONDS, WRITE_SECONDS = 3.0, 5.0
RECOVERY_SECONDS = 2.0
# As the migrations leave it.
LEASE_SECONDS = 0.25
WORKERS, THREADS = 2, 16
# The main thread, one that reads, one that asks for the end of an outage, and two that look whether a stop is possible.
OTHER_THREADS = 5
AT_ONCE = 8

STATE = "/api/governance/go-live/state"
ROOM, APPLY = "/admin/golive/golivestate/", "/admin/golive/golivestate/apply"
BACKEND = "/admin/golive/systemmetadata/apply"


# -- the service and its operator --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Page:
    """What an operator's browser got."""

    status: int
    text: str
    seconds: float


class Operator:
    """A browser without scripts: it keeps cookies, follows redirects and posts forms."""

    def __init__(self, server: GunicornServer) -> None:
        self._server = server
        self._jar = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._jar))

    @property
    def cookies(self) -> str:
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._jar)

    def get(self, path: str) -> Page:
        return self._open(urllib.request.Request(self._server.url(path), headers={"Accept": "text/html"}))

    def post(self, path: str, **form: str) -> Page:
        token = next((cookie.value or "" for cookie in self._jar if cookie.name == "csrftoken"), "")
        body = urllib.parse.urlencode({**form, "csrfmiddlewaretoken": token}).encode()
        return self._open(urllib.request.Request(self._server.url(path), body, headers={"Accept": "text/html"}))

    def sign_in(self, name: str, password: str) -> None:
        self.get("/admin/login/")
        page = self.post("/admin/login/?next=/admin/", username=name, password=password)
        assert page.status == 200, page.text
        assert "Log out" in page.text

    def _open(self, asked: urllib.request.Request) -> Page:
        began = time.monotonic()
        try:
            answer = self._opener.open(asked, timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            text = answer.read().decode()
        return Page(answer.status, text, time.monotonic() - began)


@dataclass(frozen=True)
class Service:
    """The running service, the database under it, and somebody who is signed in."""

    postgres: PostgresServer
    server: GunicornServer
    operator: Operator

    def get(self, path: str, **headers: str) -> Response:
        return request("GET", self.server.url(path), headers=headers)

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        return self.postgres.execute(statement, "valhalla")

    def count_events(self) -> int:
        return int(self.execute("SELECT count(*) FROM golive_event")[0][0])

    def is_engaged(self) -> bool:
        return bool(self.execute("SELECT kill_switch_engaged FROM go_live_state")[0][0])

    def count_threads(self) -> list[int]:
        """Of each worker."""
        return [len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in self.server.worker_pids()]


def run_manage(database_url: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=clean_environment({"DATABASE_URL": database_url}),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


@pytest.fixture(scope="module")
def started() -> Iterator[Service]:
    with PostgresServer() as postgres:
        url = postgres.create_database("valhalla")
        run_manage(url, "migrate", "--noinput", "--verbosity", "0")
        (password,) = re.findall(r"^Password: (\S+)$", run_manage(url, "create_operator"), re.MULTILINE)
        with GunicornServer({"DATABASE_URL": url}, workers=WORKERS) as server:
            operator = Operator(server)
            operator.sign_in("operator", password)
            yield Service(postgres, server, operator)


@pytest.fixture
def service(started: Service) -> Iterator[Service]:
    """The service with everything in order, whatever the test before it left behind."""
    check_recovered(started)
    yield started
    started.postgres.thaw()


# -- what must be true of every answer ---------------------------------------------------------------------------------


def is_ok(answer: Response) -> bool:
    return answer.status == 200


def is_unknown(answer: Response) -> bool:
    """503 problem+json: the state cannot be known, so nothing executes."""
    problem = answer.json()
    return (
        answer.status == 503
        and answer.headers["Content-Type"] == "application/problem+json"
        and answer.headers["Retry-After"] == "1"
        and (problem["code"], problem["status"], problem["execution_allowed"]) == ("STATE_UNKNOWN", 503, False)
    )


def is_unready(answer: Response) -> bool:
    return answer.status == 503 and answer.json()["ok"] is False and not answer.json()["checks"]["database"]["ok"]


def is_failing_checklist(answer: Response) -> bool:
    required = answer.json()["required"]
    return is_ok(answer) and answer.json()["ok"] is False and not required["backend_complete"]["ok"]


def is_runbook_with_blocker(answer: Response) -> bool:
    runbook = answer.json()
    blockers = {item["id"] for item in runbook["blockers"]}
    return is_ok(answer) and "database" in blockers and runbook["ok_to_enable_go_live"] is False


def is_markdown_with_blocker(answer: Response) -> bool:
    return is_ok(answer) and "**NOT OK to enable go-live**" in answer.text and "(`database`)" in answer.text


def is_page_saying_unknown(answer: Response) -> bool:
    return is_ok(answer) and 'data-code="STATE_UNKNOWN"' in answer.text


def is_error_page(answer: Response) -> bool:
    return answer.status == 503 and "STATE_UNKNOWN" in answer.text and "Traceback" not in answer.text


def is_json_identity(answer: Response) -> bool:
    return is_ok(answer) and answer.json() == {"ok": True, "service": "valhalla"}


# What is asked -> what must be true of the answer while the database is away.
DURING: dict[tuple[str, str], Callable[[Response], bool]] = {
    ("/health", "*/*"): lambda answer: is_ok(answer) and answer.json() == {"status": "ok"},
    ("/readyz", "*/*"): is_unready,
    ("/api/status", "*/*"): is_unknown,
    ("/api/system/status", "*/*"): is_unknown,
    (STATE, "*/*"): is_unknown,
    ("/api/governance/go-live/checklist", "*/*"): is_failing_checklist,
    ("/api/governance/go-live/history", "*/*"): is_unknown,
    ("/api/governance/runbook/status", "*/*"): is_runbook_with_blocker,
    ("/api/governance/runbook/markdown", "*/*"): is_markdown_with_blocker,
    ("/", "text/html"): is_page_saying_unknown,
    ("/", "application/json"): is_json_identity,
    ("/admin/login/", "text/html"): is_error_page,
    ("/admin/", "text/html"): is_error_page,
    (ROOM, "text/html"): is_error_page,
    ("/admin/golive/event/", "text/html"): is_error_page,
}
WITHOUT_DATABASE = {("/health", "*/*"), ("/", "application/json")}


def ask_many(service: Service, asked: list[tuple[str, str]], *, at_once: int = AT_ONCE) -> list[tuple[str, Response]]:
    """All of these, so many at once, by somebody who is signed in."""
    cookies = service.operator.cookies

    def ask(item: tuple[str, str]) -> tuple[str, Response]:
        path, accept = item
        return path, service.get(path, Accept=accept, Cookie=cookies)

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(ask, asked))


def check_during_outage(service: Service, *, rounds: int = 2) -> None:
    """Each path answers what it must, in time, with others at the same time, once no lease lasts."""
    time.sleep(LEASE_SECONDS)
    asked = [*DURING] * rounds

    answers = ask_many(service, asked)

    for item, (path, answer) in zip(asked, answers, strict=True):
        assert DURING[item](answer), f"{item}: {answer.status} {answer.text[:2000]}"
        assert answer.seconds < SLACK * READ_SECONDS, f"{item} took {answer.seconds:.2f} s"
        if item in WITHOUT_DATABASE:
            assert answer.seconds < SLACK * 1, f"{path} took {answer.seconds:.2f} s"


def check_recovered(service: Service) -> None:
    """By itself and soon: every worker answers rightly again, and goes on doing so."""

    def is_back() -> bool:
        # Many at once, for each worker finds out by itself, and one that answers says nothing of the other.
        answers = ask_many(service, [(STATE, "*/*"), ("/readyz", "*/*")] * AT_ONCE)
        return all(answer.status == 200 for _, answer in answers)

    wait_until(is_back, seconds=RECOVERY_SECONDS, problem="the service did not recover")
    asked = [item for item in DURING if item != ("/admin/login/", "text/html")] * 3
    for path, answer in ask_many(service, asked):
        # A run of the checks that began before the end of the outage may still be the newest.
        assert answer.status == 200 or path == "/readyz", f"{path}: {answer.status} {answer.text[:2000]}"
        assert answer.seconds < SLACK * READ_SECONDS


# -- outages -----------------------------------------------------------------------------------------------------------


@contextmanager
def stopped(postgres: PostgresServer) -> Iterator[None]:
    postgres.stop()
    try:
        yield
    finally:
        postgres.start_again()


@contextmanager
def killed(postgres: PostgresServer) -> Iterator[None]:
    postgres.kill()
    try:
        yield
    finally:
        postgres.start_again()


@contextmanager
def frozen(postgres: PostgresServer) -> Iterator[None]:
    """Connections stay open, new ones are taken by the kernel, and nothing answers."""
    postgres.freeze()
    try:
        yield
    finally:
        postgres.thaw()


@pytest.mark.parametrize("outage", [stopped, killed, frozen])
def test_outage__of_the_database__is_answered_in_time_and_ends_by_itself(
    service: Service, outage: Callable[[PostgresServer], Any]
) -> None:
    workers = service.server.worker_pids()

    with outage(service.postgres):
        check_during_outage(service)
    check_recovered(service)

    assert service.server.worker_pids() == workers, "a worker was restarted"


def test_outage__frozen_under_a_crowd__is_answered_in_time_and_piles_up_no_threads(service: Service) -> None:
    """Three times as many at once as there are threads: those at the end of the queue must not wait in turn."""
    asked = [("/readyz", "*/*"), (STATE, "*/*"), (ROOM, "text/html"), ("/health", "*/*")] * 12

    with frozen(service.postgres):
        time.sleep(LEASE_SECONDS)
        answers = ask_many(service, asked, at_once=len(asked))
        during = service.count_threads()
    check_recovered(service)

    for item, (path, answer) in zip(asked, answers, strict=True):
        assert DURING[item](answer), f"{path}: {answer.status} {answer.text[:2000]}"
        assert answer.seconds < SLACK * READ_SECONDS, f"{path} took {answer.seconds:.2f} s"
    # The main thread, the pool, at most one more for each of the pool (to run checks), one that reads the rows, and one
    # that asks for the end.
    assert all(count <= 2 * THREADS + OTHER_THREADS for count in during), during
    wait_until(
        # The main thread, the pool, one that reads the rows, and one that watches whether a stop is possible.
        lambda: all(count <= THREADS + OTHER_THREADS for count in service.count_threads()),
        seconds=5,
        problem=f"threads stay behind: {service.count_threads()}",
    )


# What is answered from the leased snapshot, and how each answer looks that says "execute" and one that does not.
LEASED: dict[str, tuple[int, int]] = {
    "/gate/pay": (200, 403),
    "/gate-503/pay": (200, 503),
    "/api/status": (200, 503),
    STATE: (200, 503),
}
CROWD = 64


@dataclass(frozen=True)
class Asked:
    """One request of the crowd, and its answer."""

    path: str
    status: int
    began: float
    ended: float

    @property
    def is_allowing(self) -> bool:
        return self.status == LEASED[self.path][0]


def ask_on(server: GunicornServer, path: str, until: Callable[[], bool], asked: list[Asked]) -> None:
    """Ask for this path again and again, on one connection that stays open."""
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=60)) as kept:
        while not until():
            began = time.monotonic()
            kept.request("GET", path)
            answer = kept.getresponse()
            answer.read()
            asked.append(Asked(path, answer.status, began, time.monotonic()))
            time.sleep(0.03)


@contextmanager
def executing(service: Service) -> Iterator[None]:
    """Inside, execution is allowed: by SQL, since the record is not looked at here."""
    service.execute("UPDATE go_live_state SET go_live_enabled = true, kill_switch_engaged = false")
    try:
        yield
    finally:
        service.execute("UPDATE go_live_state SET go_live_enabled = false, kill_switch_engaged = true")
        time.sleep(LEASE_SECONDS)


def test_outage__frozen_under_64_connections__closes_in_time_and_opens_within_a_second(service: Service) -> None:
    is_over, counts = threading.Event(), list[int]()
    paths = [list(LEASED)[number % len(LEASED)] for number in range(CROWD)]
    with executing(service), ThreadPoolExecutor(CROWD) as pool:
        time.sleep(2 * LEASE_SECONDS)
        runs = [list[Asked]() for _ in paths]
        done = [
            pool.submit(ask_on, service.server, path, is_over.is_set, run)
            for path, run in zip(paths, runs, strict=True)
        ]

        def await_answers(number: int) -> None:
            """So many more on each connection."""
            due = [len(run) + number for run in runs]
            wait_until(
                lambda: all(len(run) >= many for run, many in zip(runs, due, strict=True)),
                seconds=30,
                problem="no answers come",
            )

        try:
            await_answers(2)
            with frozen(service.postgres):
                frozen_at = time.monotonic()
                for _ in range(20):
                    time.sleep(0.2)
                    counts += service.count_threads()
                await_answers(2)
                thawed_at = time.monotonic()
            wait_until(
                lambda: all(run[-1].began > thawed_at and run[-1].is_allowing for run in runs),
                seconds=1,
                problem="it does not open",
            )
            opened_at = time.monotonic()
            await_answers(2)
        finally:
            is_over.set()
        for each in done:
            each.result()
        asked = [each for run in runs for each in run]

    slowest = max(asked, key=lambda each: each.ended - each.began)
    assert slowest.ended - slowest.began < SLACK * READ_SECONDS, slowest
    assert {each.status in LEASED[each.path] for each in asked} == {True}
    during = [each for each in asked if frozen_at + LEASE_SECONDS < each.began and each.ended < thawed_at]
    assert len(during) >= CROWD
    assert not [each for each in during if each.is_allowing]
    assert max(counts) <= THREADS + OTHER_THREADS, counts
    before = [each for each in asked if each.ended < frozen_at]
    after = [each for each in asked if each.began > opened_at]
    assert {each.path for each in before} == {each.path for each in after} == {*LEASED}
    assert [each for each in (*before, *after) if not each.is_allowing] == []


def test_connections_cut__under_the_idle_service__nobody_notices(service: Service) -> None:
    ask_many(service, [("/api/status", "*/*")] * 40)
    cut = service.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'valhalla'"
    )

    answers = ask_many(service, [item for item in DURING if item[0] != "/admin/login/"] * 3)

    assert len(cut) > 1
    assert Counter(answer.status for _, answer in answers) == {200: len(answers)}


def test_outage__log_of_the_service__holds_no_secret(service: Service) -> None:
    with stopped(service.postgres):
        ask_many(service, [*DURING])

    assert service.postgres.password not in service.server.log_text()


# -- changes while the database is in trouble --------------------------------------------------------------------------


def make_releasable(service: Service) -> None:
    """Kill switch released, so that engaging it changes something."""
    service.operator.get(ROOM)
    completed = service.operator.post(f"{BACKEND}/complete/", reason="Prepare the test.")
    assert completed.status == 200, completed.text

    def release() -> bool:
        released = service.operator.post(f"{APPLY}/release/", reason="Prepare the test.")
        return released.status == 200 and not service.is_engaged()

    # Again, if a check of the checklist had no time on a busy machine.
    wait_until(release, seconds=RECOVERY_SECONDS, problem="the kill switch was not released")


def test_engage__frozen_database__answers_in_5_seconds_that_it_was_not_done(service: Service) -> None:
    make_releasable(service)
    events = service.count_events()

    with frozen(service.postgres):
        page = service.operator.post(f"{APPLY}/engage/", reason="Stop.")
    check_recovered(service)

    assert page.status == 503
    assert page.seconds < SLACK * WRITE_SECONDS
    assert re.search(r"STATE_UNKNOWN|NOT_APPLIED", page.text)
    assert "Traceback" not in page.text
    # It was honest: nothing of it came through when the database went on.
    assert (service.count_events(), service.is_engaged()) == (events, False)


def test_engage__stopped_database__answers_at_once_and_works_afterwards(service: Service) -> None:
    make_releasable(service)
    events = service.count_events()

    with stopped(service.postgres):
        page = service.operator.post(f"{APPLY}/engage/", reason="Stop.")
    check_recovered(service)
    untouched = (service.count_events(), service.is_engaged())
    repeated = service.operator.post(f"{APPLY}/engage/", reason="Stop.")

    assert page.status == 503
    assert page.seconds < SLACK * WRITE_SECONDS
    assert untouched == (events, False)
    assert repeated.status == 200
    assert service.is_engaged()


def test_engage__stopped_database__tells_the_operator_that_nothing_was_done(service: Service) -> None:
    """The state is unknown to everybody now, but once the database is back execution goes on."""
    make_releasable(service)

    with stopped(service.postgres):
        page = service.operator.post(f"{APPLY}/engage/", reason="Stop.")
    check_recovered(service)

    assert re.search(r"NOT_APPLIED|nothing was done", page.text)


def test_engage__row_held_by_another__is_not_applied_and_reads_stay_quick(service: Service) -> None:
    make_releasable(service)
    events = service.count_events()

    with psycopg.connect(service.postgres.url("valhalla")) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SELECT 1 FROM go_live_state WHERE id = 1 FOR UPDATE")
        engaging = pool.submit(service.operator.post, f"{APPLY}/engage/", reason="Stop.")
        reads = []
        while not engaging.done():
            reads.append(service.get(STATE))
        page = engaging.result()
        other.rollback()

    assert page.status == 503
    assert page.seconds < SLACK * WRITE_SECONDS
    assert "Another session holds what the change needs; nothing was done." in page.text
    assert "Stop." in page.text, "what was typed is still there"
    assert len(reads) > 10
    assert {(read.status, read.json()["code"]) for read in reads} == {(200, "GO_LIVE_DISABLED")}
    assert max(read.seconds for read in reads) < 1
    assert (service.count_events(), service.is_engaged()) == (events, False)


def test_engage__frozen_while_it_waits_for_the_row__is_not_applied(service: Service) -> None:
    make_releasable(service)
    events = service.count_events()

    with psycopg.connect(service.postgres.url("valhalla")) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SELECT 1 FROM go_live_state WHERE id = 1 FOR UPDATE")
        engaging = pool.submit(service.operator.post, f"{APPLY}/engage/", reason="Stop.")
        wait_for_backend(service, "wait_event_type = 'Lock' AND query LIKE '%FOR UPDATE%'")
        with frozen(service.postgres):
            page = engaging.result()
        other.rollback()
    check_recovered(service)

    assert page.status == 503
    assert page.seconds < SLACK * WRITE_SECONDS
    assert "nothing was done" in page.text
    assert (service.count_events(), service.is_engaged()) == (events, False)


def wait_for_backend(service: Service, condition: str) -> int:
    """The process id of the service's backend of which the condition is true, as soon as there is one."""
    found: list[tuple[Any, ...]] = []

    def is_there() -> bool:
        found[:] = service.execute(
            f"SELECT pid FROM pg_stat_activity WHERE application_name = 'valhalla' AND {condition}"
        )
        return bool(found)

    wait_until(is_there, seconds=5, problem=f"no backend with {condition}")
    return int(found[0][0])


@contextmanager
def slow_commit(service: Service, seconds: float) -> Iterator[None]:
    """COMMIT of every change takes so long: a trigger that is put off until then waits."""
    service.execute(
        "CREATE FUNCTION test_wait() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END $$"
    )
    service.execute(
        "CREATE CONSTRAINT TRIGGER test_slow_commit AFTER INSERT ON golive_event DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION test_wait()"
    )
    try:
        yield
    finally:
        service.execute("DROP TRIGGER test_slow_commit ON golive_event")
        service.execute("DROP FUNCTION test_wait()")


COMMITTING = "query = 'COMMIT' AND wait_event = 'PgSleep'"


def test_engage__connection_lost_at_commit__says_that_the_outcome_is_unknown(service: Service) -> None:
    make_releasable(service)

    with slow_commit(service, 3), ThreadPoolExecutor(1) as pool:
        engaging = pool.submit(service.operator.post, f"{APPLY}/engage/", reason="Stop.")
        backend = wait_for_backend(service, COMMITTING)
        service.execute(f"SELECT pg_terminate_backend({backend}, 5000)")
        page = engaging.result()

    assert page.status == 503
    assert page.seconds < SLACK * WRITE_SECONDS
    assert "The connection was lost at COMMIT." in page.text
    assert service.operator.post(f"{APPLY}/engage/", reason="Again.").status == 200
    assert service.is_engaged()


def test_engage__frozen_at_commit__says_that_the_outcome_is_unknown(service: Service) -> None:
    """Why it must not say NOT_APPLIED: whether the server commits when it goes on is up to the server."""
    make_releasable(service)
    events = service.count_events()

    with slow_commit(service, 1), ThreadPoolExecutor(1) as pool:
        engaging = pool.submit(service.operator.post, f"{APPLY}/engage/", reason="Stop.")
        wait_for_backend(service, COMMITTING)
        with frozen(service.postgres):
            page = engaging.result()
        ended = f"SELECT 1 FROM pg_stat_activity WHERE {COMMITTING}"
        wait_until(lambda: service.execute(ended) == [], seconds=5, problem="the commit did not end")
    # Not before: a rehearsal would take as long as such a commit, and say that no stop is possible in time.
    check_recovered(service)

    assert page.status == 503
    assert page.seconds < SLACK * WRITE_SECONDS
    assert "The connection was lost at COMMIT." in page.text
    assert service.count_events() - events == int(service.is_engaged()), "the row and its event, or neither"


def test_reads__table_locked_by_another__are_unknown_in_time_and_leave_no_backends(service: Service) -> None:
    """As when somebody alters the table: a read waits at the server, and must not go on waiting when we have left."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'valhalla' AND wait_event_type = 'Lock'"

    with psycopg.connect(service.postgres.url("valhalla")) as other:
        other.execute("LOCK TABLE go_live_state IN ACCESS EXCLUSIVE MODE")
        time.sleep(LEASE_SECONDS)
        for _ in range(3):
            answers = ask_many(service, [(STATE, "*/*")] * AT_ONCE)
            assert all(is_unknown(answer) and answer.seconds < SLACK * READ_SECONDS for _, answer in answers)
            # Each worker asks again and again, one at a time, and gives up those that wait.
            time.sleep(1)
            assert service.execute(waiting)[0][0] <= 2 * WORKERS
    wait_until(lambda: service.execute(waiting) == [(0,)], seconds=5, problem="backends wait for nobody")


# -- the story ---------------------------------------------------------------------------------------------------------


def test_story__from_the_first_deploy__to_live_and_stopped_again(service: Service) -> None:
    operator = service.operator
    operator.get(ROOM)
    operator.post(f"{BACKEND}/reopen/", reason="Start from the beginning.")
    operator.post(f"{APPLY}/disable/", reason="Start from the beginning.")
    operator.post(f"{APPLY}/engage/", reason="Start from the beginning.")

    refused = operator.post(f"{APPLY}/enable/", reason="Too early.")
    unreasoned = operator.post(f"{BACKEND}/complete/", reason=" ")
    completed = operator.post(f"{BACKEND}/complete/", reason="All built.", version="2.0.0")
    released = operator.post(f"{APPLY}/release/", reason="Ready to go.")
    enabled = operator.post(f"{APPLY}/enable/", reason="Go.")
    allowed = service.get(STATE).json()
    engaged = operator.post(f"{APPLY}/engage/", reason="Smoke in the room.")
    halted = service.get(STATE).json()
    events = service.get("/api/governance/go-live/history?limit=4").json()["events"]

    assert refused.status == 412
    assert "Refused: the checklist fails." in refused.text
    assert "<code>backend_complete</code> Mark the backend complete first." in refused.text
    assert unreasoned.status == 422
    assert [page.status for page in (completed, released, enabled, engaged)] == [200, 200, 200, 200]
    assert (allowed["execution_allowed"], allowed["code"]) == (True, "ALLOWED")
    assert (halted["execution_allowed"], halted["code"]) == (False, "KILL_SWITCH_ENGAGED")
    assert (halted["changed_by"], halted["reason"]) == ("operator", "Smoke in the room.")
    assert [(event["action"], event["actor"], event["channel"], event["reason"]) for event in events] == [
        ("engage", "operator", "admin", "Smoke in the room."),
        ("enable", "operator", "admin", "Go."),
        ("release", "operator", "admin", "Ready to go."),
        ("complete", "operator", "admin", "All built."),
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", event["at"]) for event in events)
    assert halted["event_head"] == events[0]["hash"]
    status = service.get("/api/status").json()
    assert status["system"]["version"] == "2.0.0"
    assert json.loads(run_manage(service.postgres.url("valhalla"), "golive", "history", "--verify", "--json"))["sound"]
    record = operator.get("/admin/golive/event/")
    assert all(reason in record.text for reason in ("Smoke in the room.", "Go.", "Ready to go.", "All built."))
