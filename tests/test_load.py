"""Load on what is open to everybody reaches neither the gate nor a stop: by who is let in, never by the clock."""

from __future__ import annotations

import re
import tempfile
import threading
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import pytest
from django.contrib.auth import SESSION_KEY

from golive.admission import RESERVED
from golive.identity.sign_in import MAX_HASHES
from tests.api.callers import make_token
from tests.api.service import Service, manage, running_service
from tests.support.accounts import OPERATORS, make_user, sign_in
from tests.support.patience import wait_until
from tests.support.postgres import PostgresServer
from tests.support.served import server_environment
from tests.support.server import GunicornServer, Response, request
from valhalla.environment import SERVER_THREADS

SECONDS = 60
ENGAGE = "/api/governance/go-live/kill-switch/engage"
ROOM, ENGAGE_FORM = "/admin/golive/golivestate/", "/admin/golive/golivestate/apply/engage/"
LOGIN = "/admin/login/"
BROWSER = "text/html,*/*;q=0.8"
CSRF = "c" * 32


@dataclass
class Held:
    """One worker whose waits the test holds, somebody who is signed in, and a token."""

    server: GunicornServer
    folder: Path
    session: str
    token: str

    def count_waiting(self, name: str) -> int:
        return len(list(self.folder.glob(f"{name}-*")))

    def let_go(self, name: str) -> None:
        (self.folder / name).touch()

    def ask(self, method: str, path: str, *, body: str = "", **headers: str) -> Response:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return request(method, self.server.url(path), headers=named, body=body or None, timeout=SECONDS)

    def engage(self, token: str | None = None) -> Response:
        return self.ask("POST", ENGAGE, Authorization=f"Bearer {token or self.token}")

    def engage_in_the_room(self) -> Response:
        return self.post_form(ENGAGE_FORM, cookie=f"; sessionid={self.session}", reason="Stop.")

    def sign_in(self, address: str) -> Response:
        return self.post_form(LOGIN, address=address, username="nobody", password="wrong")

    def post_form(self, path: str, *, cookie: str = "", address: str = "", **fields: str) -> Response:
        headers = {
            "Accept": BROWSER,
            "Cookie": f"csrftoken={CSRF}{cookie}",
            "Content_Type": "application/x-www-form-urlencoded",
            "X_Forwarded_For": address,
        }
        return self.ask("POST", path, body=urllib.parse.urlencode({**fields, "csrfmiddlewaretoken": CSRF}), **headers)

    def assert_gate_and_probe_answer(self) -> None:
        assert self.ask("GET", "/health").status == HTTPStatus.OK
        assert self.ask("GET", "/gate/").headers["X-GoLive-Code"] == "KILL_SWITCH_ENGAGED"


@pytest.fixture
def held(database: None) -> Iterator[Held]:
    client = sign_in(make_user("ann", groups=[OPERATORS]))
    assert SESSION_KEY in client.session
    environment = server_environment()
    with tempfile.TemporaryDirectory(prefix="valhalla-held-") as name:
        folder = Path(name)
        token = manage(environment, "golive", "token", "create", "pager", "--scope", "engage").strip()
        environment |= {"HELD_FOLDER": name, "GOLIVE_TRUSTED_PROXIES": "1"}
        server = GunicornServer(environment, workers=1, application="tests.support.held_wsgi:application")
        with server:
            try:
                yield Held(server, folder, client.cookies["sessionid"].value, token)
            finally:
                for each in ("hash", "lease"):
                    (folder / each).touch()


@contextmanager
def many(count: int) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(count) as pool:
        yield pool


@pytest.mark.parametrize("count", [16, 32])
def test_sign_ins__many_wrong_ones_at_once__keep_nobody_from_a_thread(held: Held, count: int) -> None:
    """From as many addresses. No hash ends before the test says so: whoever is answered needed none of its threads."""
    with many(count) as pool:
        try:
            asked = [pool.submit(held.sign_in, f"192.0.2.{number}") for number in range(count)]
            wait_until(lambda: sum(each.done() for each in asked) == count - MAX_HASHES, SECONDS)
            wait_until(lambda: held.count_waiting("hash") == MAX_HASHES, SECONDS)

            held.let_go("lease")
            held.assert_gate_and_probe_answer()
            assert held.engage().status == HTTPStatus.OK
            assert held.engage_in_the_room().status == HTTPStatus.FOUND
            assert "Log out" in held.ask("GET", ROOM, Cookie=f"sessionid={held.session}").text
            assert sum(each.done() for each in asked) == count - MAX_HASHES
        finally:
            held.let_go("hash")
        answers = Counter(each.result(SECONDS).status for each in asked)

    assert answers == {HTTPStatus.SERVICE_UNAVAILABLE: count - MAX_HASHES, HTTPStatus.OK: MAX_HASHES}


def test_sign_in__while_all_hashes_are_taken__is_503_at_once_with_a_sentence(held: Held) -> None:
    with many(MAX_HASHES) as pool:
        try:
            for number in range(MAX_HASHES):
                pool.submit(held.sign_in, f"192.0.2.{number}")
            wait_until(lambda: held.count_waiting("hash") == MAX_HASHES, SECONDS)
            answer = held.sign_in("198.51.100.1")
        finally:
            held.let_go("hash")

    assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert re.search(r"<h1>Others are signing in at this moment\. Go back and try again", answer.text)
    assert int(answer.headers["Retry-After"]) >= 1


def test_sign_in__one_from_each_address_at_a_time__leaves_a_hash_to_another_address(held: Held) -> None:
    with many(MAX_HASHES + 4) as pool:
        try:
            flood = [pool.submit(held.sign_in, "192.0.2.1") for _ in range(4)]
            wait_until(lambda: sum(each.done() for each in flood) == 3, SECONDS)
            operator = pool.submit(held.sign_in, "198.51.100.1")
            wait_until(lambda: held.count_waiting("hash") == 2, SECONDS)
        finally:
            held.let_go("hash")

        assert operator.result(SECONDS).status == HTTPStatus.OK


def test_stops__that_all_wait_for_a_long_lease__leave_threads_to_the_gate(held: Held) -> None:
    """H15: 16 at once with a lease of 5000. What finds no thread was certainly not done."""
    # One token each: the stops of one credential would be gathered.
    tokens = [make_token("engage", name=f"pager-{number}") for number in range(20)]
    with many(20) as pool:
        try:
            asked = [pool.submit(held.engage, token) for token in tokens]
            room = SERVER_THREADS - RESERVED
            wait_until(lambda: sum(each.done() for each in asked) == 20 - room, SECONDS)
            wait_until(lambda: held.count_waiting("lease") == room, SECONDS)

            held.assert_gate_and_probe_answer()
            assert held.ask("GET", "/api/status").status == HTTPStatus.OK
        finally:
            held.let_go("lease")
        answers = [each.result(SECONDS) for each in asked]

    assert Counter(answer.status for answer in answers) == {HTTPStatus.OK: room, HTTPStatus.SERVICE_UNAVAILABLE: 6}
    refused = [answer for answer in answers if answer.status != HTTPStatus.OK]
    assert {(answer.json()["code"], answer.headers["Retry-After"]) for answer in refused} == {("NOT_APPLIED", "1")}
    assert len({answer.json()["event"] for answer in answers if answer.status == HTTPStatus.OK}) == room


# -- connections -------------------------------------------------------------------------------------------------------

# As docs/deploy/load.md states it for one worker: its threads, the snapshot, the runs of the checks (those of readers,
# and those of a guarded change), the rehearsal of a stop, and the probe of a database that hangs.
CONNECTIONS = SERVER_THREADS + 6
WORKERS = 2
OPEN = [
    ("GET", "/api/governance/go-live/checklist"),
    ("GET", "/api/governance/runbook/status"),
    ("GET", "/api/governance/runbook/markdown"),
    ("GET", "/readyz"),
    ("GET", "/api/status"),
    ("GET", "/api/system/status"),
    ("GET", "/api/governance/go-live/state"),
    ("GET", "/api/governance/go-live/history"),
    ("GET", "/"),
    ("POST", "/ofrep/v1/evaluate/flags"),
    ("POST", "/ofrep/v1/evaluate/flags/execution-allowed"),
    ("GET", "/gate/"),
    ("GET", "/health"),
    ("GET", LOGIN),
    ("POST", LOGIN),
    ("GET", "/admin/"),
    ("POST", ENGAGE),
]


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@contextmanager
def limited_service(postgres: PostgresServer, connections: int) -> Iterator[Service]:
    """A service whose role may have so many connections and no more."""
    postgres.execute("CREATE ROLE bounded LOGIN PASSWORD 'bounded'")
    postgres.create_database("bounded")
    postgres.execute("ALTER DATABASE bounded OWNER TO bounded")
    url = f"postgresql://bounded:bounded@127.0.0.1:{postgres.port}/bounded"
    with running_service(database_url=url, workers=WORKERS, GOLIVE_TRUSTED_PROXIES="1") as service:
        service.token()
        postgres.execute(f"ALTER ROLE bounded CONNECTION LIMIT {connections}")
        yield service


def hammer(service: Service, is_over: threading.Event, number: int) -> list[tuple[str, Response]]:
    """Ask all that is open to everybody, one after the other, until it is over; each begins at another place."""
    seen: list[tuple[str, Response]] = []
    step = number
    while not is_over.is_set():
        method, path = OPEN[step % len(OPEN)]
        step += 1
        headers = {
            "Accept": "text/html" if path == "/" else "*/*",
            "Authorization": f"Bearer vgl_{'x' * 10}_{'y' * 43}",
        }
        if path.startswith("/admin") or number % 2:
            del headers["Authorization"]
        form = {"username": f"u{step}", "password": "wrong", "csrfmiddlewaretoken": CSRF}
        if (method, path) == ("POST", LOGIN):
            headers |= {
                "Cookie": f"csrftoken={CSRF}",
                "Content-Type": "application/x-www-form-urlencoded",
                "X-Forwarded-For": f"192.0.2.{number}",
            }
        body = urllib.parse.urlencode(form) if path == LOGIN else "{}"
        content = body if method == "POST" else None
        seen.append((path, request(method, service.server.url(path), headers=headers, body=content, timeout=SECONDS)))
    return seen


@pytest.mark.postgresql
@pytest.mark.slow
def test_connections__everything_open_is_hammered__stay_within_the_bound_and_no_stop_is_refused(
    postgres: PostgresServer,
) -> None:
    is_over = threading.Event()
    with limited_service(postgres, WORKERS * CONNECTIONS) as service, many(32) as pool:
        runs: list[Future[list[tuple[str, Response]]]] = []
        try:
            runs = [pool.submit(hammer, service, is_over, number) for number in range(32)]
            stops = [service.call("engage", reason=f"Stop {number}", timeout=SECONDS) for number in range(20)]
            gates = [service.ask("GET", "/gate/", timeout=SECONDS) for _ in range(20)]
        finally:
            is_over.set()
        seen = [each for run in runs for each in run.result(SECONDS)]
        log = service.server.log_text()

    assert {stop.status for stop in stops} == {HTTPStatus.OK}
    assert {gate.headers["X-GoLive-Code"] for gate in gates} == {"KILL_SWITCH_ENGAGED"}
    assert "too many connections" not in log
    assert "is now STATE_UNKNOWN" not in log
    codes = {answer.headers["X-GoLive-Code"] for path, answer in seen if path == "/gate/"}
    assert codes == {"KILL_SWITCH_ENGAGED"}
    assert {answer.status for path, answer in seen if path in ("/health", "/api/governance/runbook/status", "/")} <= {
        HTTPStatus.OK,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
    assert not [answer for _, answer in seen if answer.status == HTTPStatus.INTERNAL_SERVER_ERROR]
    assert "Traceback" not in log, re.search(r"Traceback.{2000}", log, re.DOTALL)
