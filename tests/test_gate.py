"""The gate itself, called as a server would call it. Over real connections: tests/api/test_gate_service.py."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from golive import gate
from golive.domain.decision import Code
from golive.domain.rows import GoLiveRow
from golive.gate import Gate
from golive.state.snapshots import Snapshot
from tests.api.contract import assert_documented
from tests.support.changes import apply, go_live
from tests.support.factories import make_go_live
from tests.support.faults import renamed_table, run_sql
from tests.support.patience import wait_until

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "BREW")
ALLOWED = make_go_live(go_live_enabled=True, kill_switch_engaged=False)
ENGAGED = make_go_live(go_live_enabled=True, kill_switch_engaged=True)
DISABLED = make_go_live(go_live_enabled=False, kill_switch_engaged=False)
DENIALS = {"/gate/": 403, "/gate-503/": 503}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        return self.headers["X-GoLive-Code"]


class UnreadableBody(io.BytesIO):
    """Fails the test that reads it."""

    def read(self, *_: Any) -> bytes:
        raise AssertionError("the gate read the body")


def not_the_gate(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("418 I'm a Teapot", [("Content-Type", "text/plain"), ("Content-Length", "0")])
    return [b""]


APPLICATION = Gate(not_the_gate)


def ask(path: str = "/gate/", method: str = "GET", application: Any = APPLICATION, **environ: Any) -> Answer:
    values: dict[str, Any] = {"PATH_INFO": path, "REQUEST_METHOD": method, **environ}
    setup_testing_defaults(values)
    started: list[Any] = []
    body = b"".join(application(values, lambda status, headers: started.extend((status, headers))))
    status, headers = started
    assert len({name for name, _ in headers}) == len(headers)
    return Answer(int(status.split()[0]), dict(headers), body)


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Snapshot]:
    """Let the gate see this row, with a lease that ends in so many seconds."""

    def show(row: GoLiveRow | None, *, seconds: float = 0.0) -> Snapshot:
        snapshot = Snapshot(row, None, time.clock_gettime(time.CLOCK_BOOTTIME) + seconds)
        monkeypatch.setattr(gate, "read_snapshot", lambda: snapshot)
        return snapshot

    return show


# -- the decision ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", DENIALS)
def test_gate__allowed__is_200_for_every_method(show: Callable[..., Snapshot], path: str, method: str) -> None:
    show(ALLOWED)

    answer = ask(path, method)

    assert (answer.status, answer.code, answer.headers["X-GoLive-Revision"]) == (200, "ALLOWED", "7")
    assert_documented(method, path, answer.status, answer.headers, answer.body)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("path", "status"), DENIALS.items())
@pytest.mark.parametrize(
    ("row", "code"),
    [(ENGAGED, Code.KILL_SWITCH_ENGAGED), (DISABLED, Code.GO_LIVE_DISABLED), (None, Code.STATE_UNKNOWN)],
    ids=["engaged", "disabled", "unknown"],
)
def test_gate__not_allowed__denies_every_method(
    show: Callable[..., Snapshot], row: GoLiveRow | None, code: Code, path: str, status: int, method: str
) -> None:
    show(row)

    answer = ask(path, method, HTTP_X_REQUEST_ID="abc")

    assert (answer.status, answer.code) == (status, code)
    assert ("X-GoLive-Revision" in answer.headers) == (row is not None)
    assert answer.headers["X-Request-ID"] == "abc"
    assert_documented(method, path, answer.status, answer.headers, answer.body)
    if method != "HEAD":
        told = json.loads(answer.body)
        assert told["code"] == told["error"] == code
        assert told["execution_allowed"] is False
        assert (told["status"], told["instance"], told["request_id"]) == (status, path, "abc")


@pytest.mark.parametrize("row", [ALLOWED, ENGAGED, None])
def test_gate__any_answer__is_not_kept_and_has_a_length(show: Callable[..., Snapshot], row: GoLiveRow | None) -> None:
    show(row)

    full, head = ask(), ask(method="HEAD")

    assert full.headers["Cache-Control"] == "no-store"
    assert full.headers["X-Content-Type-Options"] == "nosniff"
    assert full.headers["Retry-After"] == "1"
    assert int(full.headers["Content-Length"]) == len(full.body) > 0
    assert (head.body, len(head.headers["Content-Length"])) == (b"", len(full.headers["Content-Length"]))


def test_gate__a_value_that_is_no_boolean__is_unknown(show: Callable[..., Snapshot]) -> None:
    show(make_go_live(go_live_enabled="yes", kill_switch_engaged=False))

    assert (ask().status, ask().code) == (403, "STATE_UNKNOWN")


@pytest.mark.parametrize("path", DENIALS)
def test_gate__that_fails__denies(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    def fail() -> Snapshot:
        raise RuntimeError("made to fail")

    monkeypatch.setattr(gate, "read_snapshot", fail)

    answer = ask(path)

    assert (answer.status, answer.code) == (DENIALS[path], "STATE_UNKNOWN")
    assert b"made to fail" not in answer.body


def test_gate__a_new_snapshot__is_seen_at_once(show: Callable[..., Snapshot]) -> None:
    application = Gate(not_the_gate)
    seen = []
    for row in (ALLOWED, ENGAGED, ALLOWED, None, ALLOWED, DISABLED):
        show(row)
        seen += [ask(application=application).status for _ in range(2)]

    assert seen == [200, 200, 403, 403, 200, 200, 403, 403, 200, 200, 403, 403]


def test_gate__threads_that_see_different_snapshots__each_answer_from_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is prepared for one snapshot must never go out under another."""
    rows = [replaced(ALLOWED if number % 2 else ENGAGED, number) for number in range(40)]
    snapshots = [Snapshot(row, None, 0.0) for row in rows]
    turn = iter(range(10**9))
    monkeypatch.setattr(gate, "read_snapshot", lambda: snapshots[next(turn) % len(snapshots)])
    application = Gate(not_the_gate)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(application=application), range(4000)))

    for answer in answers:
        assert answer.status == (200 if int(answer.headers["X-GoLive-Revision"]) % 2 else 403)
        assert (answer.code == "ALLOWED") == (answer.status == 200)


def replaced(row: GoLiveRow, revision: int) -> GoLiveRow:
    return make_go_live(
        go_live_enabled=row.go_live_enabled, kill_switch_engaged=row.kill_switch_engaged, revision=revision
    )


# -- how long an answer stays true -------------------------------------------------------------------------------------


def test_lease__is_what_is_left_of_it_in_whole_milliseconds(show: Callable[..., Snapshot]) -> None:
    snapshot = show(ALLOWED, seconds=60)

    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    left = int(ask().headers["X-GoLive-Lease-Ms"])
    after = time.clock_gettime(time.CLOCK_BOOTTIME)

    assert snapshot.expires_at - after - 0.001 <= left / 1000 <= snapshot.expires_at - before
    time.sleep(0.02)
    assert int(ask().headers["X-GoLive-Lease-Ms"]) <= left - 20


@pytest.mark.parametrize("seconds", [0.0, -1.0, -1e6])
def test_lease__that_is_over__is_0(show: Callable[..., Snapshot], seconds: float) -> None:
    show(ALLOWED, seconds=seconds)

    assert ask().headers["X-GoLive-Lease-Ms"] == "0"


def test_lease__never_says_more_than_there_is(show: Callable[..., Snapshot]) -> None:
    """Rounded down: half a millisecond too much would outlast a stop."""
    for _ in range(200):
        snapshot = show(ALLOWED, seconds=0.0105)
        before = time.clock_gettime(time.CLOCK_BOOTTIME)
        left = int(ask().headers["X-GoLive-Lease-Ms"])
        assert before + left / 1000 <= snapshot.expires_at


# -- which paths -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        *("/gate", "/gate/", "/gate//", "/gate/x", "/gate/x/y?z", "/gate/../health", "/gate/./", "/gate/%2e"),
        *("//gate", "//gate/", "///gate/x", "/gate/\xff\xfe", "/gate/\n", "/gate/\x00", "gate", "gate/"),
        *("/gate-503", "/gate-503/", "//gate-503/x", "/gate-503/../gate"),
    ],
)
def test_path__of_the_gate__is_answered_by_it(show: Callable[..., Snapshot], path: str) -> None:
    show(ENGAGED)

    answer = ask(path)

    assert answer.status == (503 if "gate-503" in path.split("..", maxsplit=1)[0] else 403)
    assert json.loads(answer.body)["code"] == "KILL_SWITCH_ENGAGED"


@pytest.mark.parametrize(
    "path",
    [
        *("/", "", "*", "/gatekeeper", "/gatekeeper/", "/gate-5030", "/gate-503x/", "/gate-50", "/gates/", "/Gate/"),
        *("/gate.json", "/gate;x/", "/agate/", "/api/gate/", "/health", "/api/status", "/%67ate/", "/./gate/"),
    ],
)
def test_path__of_anything_else__is_not_the_gates(show: Callable[..., Snapshot], path: str) -> None:
    show(ALLOWED)

    assert ask(path).status == 418


def test_path__below_a_script_name__is_the_gates(show: Callable[..., Snapshot]) -> None:
    show(ENGAGED)

    assert ask("/gate/", SCRIPT_NAME="/valhalla").status == 403
    assert ask("/status", SCRIPT_NAME="/gate").status == 418


def test_request__of_any_shape__gets_the_decision(show: Callable[..., Snapshot]) -> None:
    """What would make Django redirect, refuse or answer something else."""
    show(ALLOWED)
    shapes: list[dict[str, Any]] = [
        {"HTTP_HOST": "evil.example.com"},
        {"HTTP_HOST": "not a host at all \x00"},
        {"wsgi.url_scheme": "http", "HTTP_X_FORWARDED_PROTO": "http"},
        {"REQUEST_METHOD": "OPTIONS", "HTTP_ORIGIN": "https://x", "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST"},
        {"HTTP_AUTHORIZATION": "Bearer nonsense", "HTTP_COOKIE": "sessionid=\x00"},
        {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "99999999999", "wsgi.input": UnreadableBody()},
        {"QUERY_STRING": "x" * 10_000},
        {"HTTP_UPGRADE": "websocket", "HTTP_CONNECTION": "Upgrade"},
    ]
    for shape in shapes:
        method = shape.pop("REQUEST_METHOD", "GET")
        answer = ask("/gate/", method, **shape)
        assert answer.status == 200
        assert not {name for name in answer.headers if name.startswith("Access-Control")} & set(answer.headers)
        assert "Location" not in answer.headers


@pytest.mark.parametrize("offered", ["", "a b", "x" * 129, "a\nb"])
def test_request_id__that_is_not_sane__is_replaced(show: Callable[..., Snapshot], offered: str) -> None:
    show(ENGAGED)

    answer = ask(HTTP_X_REQUEST_ID=offered)

    assert answer.headers["X-Request-ID"] != offered
    assert json.loads(answer.body)["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
@pytest.mark.parametrize("row", [ALLOWED, ENGAGED])
def test_gate__keeps_the_protocol_between_server_and_application(
    show: Callable[..., Snapshot], row: GoLiveRow, method: str
) -> None:
    show(row)
    environ: dict[str, Any] = {"PATH_INFO": "/gate/", "REQUEST_METHOD": method, "SCRIPT_NAME": "", "QUERY_STRING": ""}
    setup_testing_defaults(environ)

    found = validator(Gate(not_the_gate))(environ, lambda status, headers, exc_info=None: lambda data: None)
    try:
        assert bool(b"".join(found)) == (method != "HEAD")
    finally:
        found.close()  # type: ignore[attr-defined]


# -- on the database ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("database")
def test_gate__follows_the_rows() -> None:
    assert (ask().status, ask().code) == (403, "KILL_SWITCH_ENGAGED")

    go_live()
    assert (ask().status, ask().code) == (200, "ALLOWED")

    apply("disable")
    assert (ask().status, ask().code) == (403, "GO_LIVE_DISABLED")

    apply("engage")
    assert (ask("/gate-503/").status, ask().code) == (503, "KILL_SWITCH_ENGAGED")


@pytest.mark.usefixtures("database")
def test_gate__without_the_row_or_the_table__is_unknown() -> None:
    go_live()

    with renamed_table("go_live_state"):
        wait_for(403, "STATE_UNKNOWN")
    wait_for(200, "ALLOWED")
    run_sql("DELETE FROM go_live_state")
    wait_for(403, "STATE_UNKNOWN")


def wait_for(status: int, code: str, seconds: float = 2.0) -> None:
    """Plain SQL takes effect within one lease."""
    wait_until(lambda: (ask().status, ask().code) == (status, code), seconds=seconds)
