"""Which requests may take a thread, and what is answered where they may not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.test import RequestFactory

from golive import admission
from golive.admission import ANONYMOUS_THREADS, CHECK_THREADS, RESERVED, STOP_THREADS, Admission, Kind, classify
from golive.identity import session_keys
from tests.support.forks import ask_fork, held_by_another_thread

THREADS = 16
OTHERS = THREADS - RESERVED - STOP_THREADS
TOKEN = f"vgl_{'a' * 10}_{'b' * 43}"
ENGAGE = "/api/governance/go-live/kill-switch/engage"
ENGAGE_FORM = "/admin/golive/golivestate/apply/engage/"
CHECKLIST = "/api/governance/go-live/checklist"
HISTORY = "/api/governance/go-live/history"


def environ_of(method: str, path: str, *, token: str = "", key: str = "", accept: str = "*/*") -> dict[str, Any]:
    environ = RequestFactory().generic(method, path, headers={"Accept": accept}).META
    if token:
        environ["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    if key:
        environ["HTTP_COOKIE"] = f"csrftoken=x; {settings.SESSION_COOKIE_NAME}={key}"
    return environ


class Application:
    """Answers 200 and says what it was asked; its answers end when the test closes them."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.failure: BaseException | None = None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.asked.append(environ)
        if self.failure is not None:
            raise self.failure
        start_response("200 OK", [])
        return [b"done"]


@pytest.fixture
def application() -> Application:
    return Application()


class Worker:
    """Requests that are under way until `end()`."""

    def __init__(self, application: Application) -> None:
        self._admission = Admission(application, threads=THREADS)
        self.status = ""
        self.headers: dict[str, str] = {}
        self.bodies: list[Any] = []

    def ask(self, *request: str, **shown: str) -> bool:
        """Whether the request was let in."""

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            self.status, self.headers = status, dict(headers)

        self.bodies.append(self._admission(environ_of(*request, **shown), start_response))
        return self.status == "200 OK"

    def ask_until_refused(self, *request: str, **shown: str) -> int:
        """How many were let in before the first that was not."""
        for number in range(100):
            if not self.ask(*request, **shown):
                return number
        raise AssertionError("never refused")

    def end(self) -> None:
        while self.bodies:
            close = getattr(self.bodies.pop(), "close", lambda: None)
            close()


@pytest.fixture
def worker(application: Application) -> Worker:
    return Worker(application)


@pytest.fixture
def key() -> str:
    return session_keys.make_key()


# -- kinds -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/health"),
        ("GET", "/livez/"),
        ("GET", "/api/status"),
        ("GET", "/api/governance/go-live/state/"),
        ("GET", "/api/system/status"),
        ("POST", "/ofrep/v1/evaluate/flags/execution-allowed"),
        ("OPTIONS", "/api/status"),
        ("GET", "/static/golive/status.css"),
        ("GET", "/api/nothing"),
        ("GET", "/administration"),
    ],
)
def test_kind__of_what_waits_for_nobody__is_none_and_never_limited(method: str, path: str, key: str) -> None:
    assert classify(environ_of(method, path)) is None
    assert classify(environ_of(method, path, key=key)) is None
    assert classify(environ_of(method, path, token=TOKEN)) is None


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", ENGAGE, Kind.STOP),
        ("POST", f"{ENGAGE}/", Kind.STOP),
        ("POST", "/api/governance/go-live/disable", Kind.STOP),
        ("POST", "/api/system/status/reopen", Kind.STOP),
        ("POST", "/api/hooks/alertmanager", Kind.STOP),
        ("POST", ENGAGE_FORM, Kind.STOP),
        ("POST", "/admin/golive/golivestate/apply/disable/", Kind.STOP),
        ("POST", "/admin/golive/systemmetadata/apply/reopen/", Kind.STOP),
        ("GET", ENGAGE_FORM, Kind.AUTHENTICATED),
        ("POST", "/api/governance/go-live/kill-switch/release", Kind.AUTHENTICATED),
        ("POST", "/admin/golive/golivestate/apply/release/", Kind.AUTHENTICATED),
        ("PATCH", "/api/system/status", Kind.AUTHENTICATED),
        ("GET", "/admin/golive/golivestate/", Kind.AUTHENTICATED),
        ("GET", HISTORY, Kind.AUTHENTICATED),
        ("GET", CHECKLIST, Kind.AUTHENTICATED),
        ("POST", "/api/nothing", Kind.AUTHENTICATED),
    ],
)
def test_kind__by_method_path_and_who_shows_an_account(method: str, path: str, expected: Kind, key: str) -> None:
    anonymous = Kind.CHECKS if path == CHECKLIST else Kind.ANONYMOUS

    assert classify(environ_of(method, path, token=TOKEN)) is expected
    assert classify(environ_of(method, path, key=key)) is expected
    assert classify(environ_of(method, path)) is anonymous


@pytest.mark.parametrize(
    "path", ["/readyz", CHECKLIST, "/api/governance/runbook/status", "/api/governance/runbook/markdown/"]
)
def test_kind__of_a_reader_of_the_checks(path: str) -> None:
    assert classify(environ_of("GET", path)) is Kind.CHECKS


@pytest.mark.parametrize(
    "shown",
    [
        {"token": "vgl_short_token"},
        {"token": "x"},
        {"key": "k" * 40},
        {"key": "k" * 24 + "0" * 16},
        {"key": ""},
        {"key": 'ab"; sessionid=x'},
    ],
    ids=str,
)
def test_kind__of_a_stop_that_shows_nothing_of_ours__is_anonymous(shown: dict[str, str]) -> None:
    """Whoever has no account must not fill the threads of those who stop."""
    assert classify(environ_of("POST", ENGAGE, **shown)) is Kind.ANONYMOUS


# -- limits ------------------------------------------------------------------------------------------------------------


def test_admission__of_anonymous_requests__has_a_limit_and_takes_nothing_from_the_others(
    worker: Worker, key: str
) -> None:
    assert worker.ask_until_refused("POST", "/admin/login/") == ANONYMOUS_THREADS
    assert worker.ask("GET", "/admin/golive/golivestate/", key=key)
    assert worker.ask("POST", ENGAGE_FORM, key=key)
    assert worker.ask("POST", ENGAGE, token=TOKEN)
    assert worker.ask("GET", "/api/status")


def test_admission__of_readers_of_the_checks__beyond_the_limit_may_not_wait(
    worker: Worker, application: Application
) -> None:
    """They are not refused: runbook and checklist say in their own form that nothing was checked."""
    assert all(worker.ask("GET", CHECKLIST) for _ in range(CHECK_THREADS + 2))

    assert ["golive.no_waiting" in environ for environ in application.asked] == [False] * CHECK_THREADS + [True] * 2
    assert worker.ask("GET", "/admin/login/")


def test_admission__of_readers_of_the_checks_with_a_session__beyond_the_limit_may_not_wait(
    worker: Worker, application: Application, key: str
) -> None:
    worker.ask_until_refused("GET", "/admin/", key=key)

    assert worker.ask("GET", "/api/governance/runbook/status", key=key)
    assert application.asked[-1]["golive.no_waiting"] is True


def test_admission__everybody_at_once__leaves_threads_for_stops_and_for_the_gate(
    worker: Worker, application: Application, key: str
) -> None:
    for _ in range(100):
        worker.ask("GET", CHECKLIST)
        worker.ask("POST", "/admin/login/")
        worker.ask("GET", "/admin/", key=key)
        worker.ask("POST", "/api/governance/go-live/enable", token=TOKEN)
    waiting = [environ for environ in application.asked if "golive.no_waiting" not in environ]

    assert len(waiting) == OTHERS
    assert worker.ask_until_refused("POST", ENGAGE, token=TOKEN) == STOP_THREADS


def test_admission__of_stops_alone__takes_all_threads_but_those_of_the_gate(worker: Worker) -> None:
    tokens = [f"vgl_{'a' * 10}_{letter * 43}" for letter in "bcdefghijklmnopq"]

    assert sum(worker.ask("POST", ENGAGE, token=token) for token in tokens) == THREADS - RESERVED < len(tokens)
    assert worker.ask("GET", "/health")


@pytest.mark.parametrize("is_token", [True, False])
def test_admission__of_one_credential_that_repeats_its_stop__leaves_threads_to_the_stops_of_others(
    worker: Worker, key: str, is_token: bool
) -> None:
    mine, others = ({"token": TOKEN}, {"key": key}) if is_token else ({"key": key}, {"token": TOKEN})
    path = {True: ENGAGE, False: ENGAGE_FORM}

    assert worker.ask_until_refused("POST", path[is_token], **mine) == OTHERS
    assert worker.ask_until_refused("POST", path[not is_token], **others) == STOP_THREADS
    worker.end()
    assert worker.ask_until_refused("POST", path[is_token], **mine) == OTHERS


def test_admission__of_anonymous_requests_and_readers__leaves_some_to_people_who_are_signed_in(
    worker: Worker, key: str
) -> None:
    for _ in range(20):
        worker.ask("GET", CHECKLIST)
        worker.ask("GET", "/admin/login/")

    assert worker.ask_until_refused("GET", "/admin/", key=key) == OTHERS - CHECK_THREADS - ANONYMOUS_THREADS > 0


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_admission__of_a_server_with_few_threads__lets_one_in(application: Application, threads: int) -> None:
    worker = Worker(application)
    worker._admission = Admission(application, threads=threads)

    assert worker.ask("GET", "/admin/login/")
    worker.end()
    assert worker.ask("POST", ENGAGE, token=TOKEN)


# -- the end of a request ----------------------------------------------------------------------------------------------


def test_admission__counts_until_the_answer_is_closed(worker: Worker) -> None:
    for _ in range(3):
        assert worker.ask_until_refused("POST", "/admin/login/") == ANONYMOUS_THREADS
        assert b"".join(worker.bodies[0]) == b"done"
        assert not worker.ask("POST", "/admin/login/")
        worker.end()


def test_admission__an_answer_closed_twice__counts_once(worker: Worker) -> None:
    worker.ask_until_refused("POST", "/admin/login/")
    body = worker.bodies[0]
    body.close()
    body.close()

    assert worker.ask_until_refused("POST", "/admin/login/") == 1


@pytest.mark.parametrize("failure", [RuntimeError("made to fail"), SystemExit(1)], ids=repr)
def test_admission__the_application_raises__is_over(
    worker: Worker, application: Application, failure: BaseException
) -> None:
    application.failure = failure
    for _ in range(2 * ANONYMOUS_THREADS):
        with pytest.raises(type(failure)):
            worker.ask("POST", "/admin/login/")

    application.failure = None
    assert worker.ask_until_refused("POST", "/admin/login/") == ANONYMOUS_THREADS


def test_admission__the_body_fails_to_close__is_over(application: Application) -> None:
    class Body:
        closed = 0

        def __iter__(self) -> Iterator[bytes]:
            return iter([b"x"])

        def close(self) -> None:
            Body.closed += 1
            raise RuntimeError("made to fail")

    def answer(environ: Any, start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [])
        return Body()

    worker = Worker(application)
    worker._admission = Admission(answer, threads=THREADS)
    for _ in range(2 * ANONYMOUS_THREADS):
        assert worker.ask("POST", "/admin/login/")
        with pytest.raises(RuntimeError):
            worker.bodies.pop().close()

    assert Body.closed == 2 * ANONYMOUS_THREADS


def test_admission__in_a_fork_that_was_made_while_somebody_entered__starts_anew(worker: Worker) -> None:
    worker.ask_until_refused("POST", "/admin/login/")

    with held_by_another_thread(worker._admission._lock):
        answer = ask_fork(lambda: str(worker.ask_until_refused("POST", "/admin/login/")))

    assert answer == str(ANONYMOUS_THREADS)


# -- refusals ----------------------------------------------------------------------------------------------------------


def refuse(worker: Worker, *request: str, **shown: str) -> Any:
    worker.ask_until_refused(*request, **shown)
    assert worker.status == "503 Service Unavailable"
    assert worker.headers["Retry-After"] == "1"
    assert worker.headers["Cache-Control"] == "no-store"
    content = b"".join(worker.bodies[-1])
    assert worker.headers["Content-Length"] == str(len(content))
    return json.loads(content) if worker.headers["Content-Type"] == "application/problem+json" else content.decode()


def test_refusal__of_a_stop__says_that_it_was_certainly_not_done(worker: Worker) -> None:
    problem = refuse(worker, "POST", ENGAGE, token=TOKEN)

    assert (problem["status"], problem["code"], problem["instance"]) == (503, "NOT_APPLIED", ENGAGE)
    assert problem["request_id"] == worker.headers["X-Request-ID"]
    assert "nothing was done" in problem["detail"]


def test_refusal__of_a_read__is_no_leave_to_execute(worker: Worker) -> None:
    problem = refuse(worker, "GET", HISTORY)

    assert (problem["code"], problem["execution_allowed"]) == ("STATE_UNKNOWN", False)


def test_refusal__in_a_browser__is_a_page_with_a_sentence(worker: Worker) -> None:
    page = refuse(worker, "POST", "/admin/login/", accept="text/html,*/*;q=0.8")

    assert worker.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Too many requests at this moment; nothing was done." in page
    assert "<!doctype html>" in page


def test_refusal__of_head__has_no_body(worker: Worker) -> None:
    worker.ask_until_refused("HEAD", HISTORY)

    assert list(worker.bodies[-1]) == []
    assert int(worker.headers["Content-Length"]) > 0


def test_refusal__is_logged_once_for_many(
    worker: Worker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "LOG_SECONDS", 1e9)
    for _ in range(50):
        worker.ask("POST", "/admin/login/")

    assert len([record for record in caplog.records if record.name == "golive.admission"]) == 1
