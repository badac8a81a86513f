"""The guard's client: what counts as a yes, for how long, and what a gate that misbehaves can do."""

from __future__ import annotations

import ast
import asyncio
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from golive import guard
from golive.domain.decision import MESSAGES, Code
from golive.guard import ALLOWED, STATE_UNKNOWN, GateClient
from tests.guard.fake_gate import DENIED, FakeGate, Held, answer, answer_and_close, close, drip, hang, pour
from tests.support.forks import ask_fork, held_by_another_thread
from tests.support.patience import ends_within, wait_until
from tests.support.server import ROOT, find_free_port

# Seconds of a client whose gate does not answer; and of one whose gate certainly does, on a busy machine too.
TIMEOUT = 0.4
PATIENT = 60.0


@pytest.fixture
def gate() -> Iterator[FakeGate]:
    with FakeGate(answer()) as fake:
        yield fake


def make_client(gate: FakeGate) -> GateClient:
    return GateClient(gate.url, timeout_seconds=PATIENT)


def ask(gate: FakeGate) -> str:
    return make_client(gate).check()


# -- what counts as a yes ----------------------------------------------------------------------------------------------


def test_yes__from_the_gate__is_one(gate: FakeGate) -> None:
    assert ask(gate) == ALLOWED
    assert gate.questions[0].startswith(b"HEAD /gate/ HTTP/1.1\r\n")


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.ALLOWED])
@pytest.mark.parametrize("status", ["403 Forbidden", "503 Service Unavailable"])
def test_no__from_the_gate__has_its_code(gate: FakeGate, code: str, status: str) -> None:
    gate.behaviour = answer(code, status=status)

    assert ask(gate) == code


@pytest.mark.parametrize(
    "said",
    [
        answer(status="204 No Content"),
        answer(status="302 Found", more="Location: /gate/\r\n"),
        answer(status="403 Forbidden"),
        answer(status="500 Internal Server Error"),
        answer("KILL_SWITCH_ENGAGED", status="200 OK"),
        answer("allowed"),
        answer("ALLOWED, ALLOWED"),
        answer(more="X-GoLive-Code: ALLOWED\r\n"),
        answer("NONSENSE", status="403 Forbidden"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(),
        b"HTTP/2 200 OK\r\nX-GoLive-Code: ALLOWED\r\n\r\n",
        b"HTTP/1.1\r\nX-GoLive-Code: ALLOWED\r\n\r\n",
        b"HTTP/1.1 200 OK X-GoLive-Code: ALLOWED\r\n\r\n",
        b"\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"\x00\xff\xfe\r\n\r\n",
        answer()[:-4],
        close,
        hang,
        drip,
        pour,
    ],
)
def test_answer__that_is_no_clear_yes__is_unknown_in_time(gate: FakeGate, said: bytes) -> None:
    gate.behaviour = said

    with ends_within(TIMEOUT):
        assert GateClient(gate.url, timeout_seconds=TIMEOUT).check() == STATE_UNKNOWN


def test_gate__that_is_not_there__is_unknown() -> None:
    assert GateClient(f"http://127.0.0.1:{find_free_port()}/gate/").check() == STATE_UNKNOWN


def test_gate__whose_name_does_not_resolve__is_unknown() -> None:
    assert GateClient("http://no-such-host.invalid/gate/", timeout_seconds=TIMEOUT).check() == STATE_UNKNOWN


@pytest.mark.parametrize("url", ["", "valhalla", "ftp://x/", "http://", "http://u:p@x/", "http://x:y/", "/gate/"])
def test_address__that_is_none__is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match=r"gate|[Pp]ort"):
        GateClient(url)


@pytest.mark.parametrize("misbehaviour", [hang, drip, close, b"nonsense\r\n\r\n"])
def test_gate__that_recovers__is_believed_again_by_itself(gate: FakeGate, misbehaviour: bytes) -> None:
    client = GateClient(gate.url, timeout_seconds=TIMEOUT)
    wait_until(lambda: client.check() == ALLOWED)
    gate.behaviour = misbehaviour
    assert client.check() == STATE_UNKNOWN

    gate.behaviour = answer()

    wait_until(lambda: client.check() == ALLOWED)


# -- for how long ------------------------------------------------------------------------------------------------------


def test_answer__within_its_lease__is_used_again(gate: FakeGate, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(guard, "_now", lambda: now[0])
    gate.behaviour = answer(lease_ms=300)
    client = make_client(gate)

    assert {client.check() for _ in range(50)} == {ALLOWED}
    now[0] += 0.299
    assert client.check() == ALLOWED
    assert len(gate.asked_at) == 1
    gate.behaviour = DENIED
    now[0] += 0.002
    assert client.check() == "KILL_SWITCH_ENGAGED"


@pytest.mark.parametrize("lease_ms", [0, "", "-5", "1.5", "abc", "٣٠٠", "9" * 40])
def test_answer__without_a_lease__is_used_once(gate: FakeGate, lease_ms: object) -> None:
    gate.behaviour = answer(lease_ms=lease_ms)
    client = make_client(gate)

    assert [client.check() for _ in range(3)] == [ALLOWED] * 3
    assert len(gate.asked_at) == 3


def test_lease__counts_from_before_the_question(gate: FakeGate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer takes 200 ms of its 250: what is left is 50, however late it came."""
    now = [1000.0]
    monkeypatch.setattr(guard, "_now", lambda: now[0])

    def be_slow(connection: socket.socket) -> None:
        now[0] += 0.2
        connection.sendall(answer(lease_ms=250))

    gate.behaviour = be_slow
    client = make_client(gate)
    assert client.check() == ALLOWED

    gate.behaviour = DENIED
    now[0] += 0.049
    assert client.check() == ALLOWED
    now[0] += 0.002
    assert client.check() == "KILL_SWITCH_ENGAGED"


def test_lease__longer_than_any_of_ours__is_cut(gate: FakeGate) -> None:
    gate.behaviour = answer(lease_ms=999_999_999)
    client = make_client(gate)

    client.check()

    assert client._cached[1] - time.clock_gettime(time.CLOCK_BOOTTIME) <= guard.MAX_LEASE_MS / 1000


def test_answer__under_way_when_somebody_comes__is_not_theirs(gate: FakeGate) -> None:
    """The first question is sent, then execution is stopped, then the second caller comes: it must hear of the stop."""
    gate.behaviour = held = Held(answer(lease_ms=0))
    client = make_client(gate)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.check)
        held.await_question()
        gate.behaviour = DENIED
        second = pool.submit(client.check)
        wait_until(lambda: client._waiting.qsize() == 1)
        held.let_go()

        assert (first.result(), second.result()) == (ALLOWED, "KILL_SWITCH_ENGAGED")


def test_callers__that_come_together__share_a_question(gate: FakeGate) -> None:
    gate.behaviour = held = Held(answer())
    client = make_client(gate)

    with ThreadPoolExecutor(64) as pool:
        first = pool.submit(client.check)
        held.await_question()
        gate.behaviour = answer()
        others = [pool.submit(client.check) for _ in range(63)]
        wait_until(lambda: client._waiting.qsize() == 63)
        held.let_go()
        assert {each.result() for each in (first, *others)} == {ALLOWED}

    assert len(gate.asked_at) == 2
    assert gate.connections == 1


def test_connection__is_used_again_and_made_anew_when_the_gate_has_closed_it(gate: FakeGate) -> None:
    client = make_client(gate)
    assert {client.check() for _ in range(5)} == {ALLOWED}
    assert gate.connections == 1

    gate.behaviour = answer_and_close
    assert {client.check() for _ in range(5)} == {ALLOWED}
    assert gate.connections > 1
    with FakeGate(answer(more="Connection: close\r\n")) as closing:
        other = make_client(closing)
        assert [other.check() for _ in range(3)] == [ALLOWED] * 3
        assert closing.connections == 3


def test_connection__with_more_than_the_answer__is_not_used_again(gate: FakeGate) -> None:
    """Else the rest, whenever it comes, would be taken for the next answer."""

    def follow(connection: socket.socket) -> None:
        connection.sendall(answer() if connection in seen else DENIED + b"a body")
        seen.add(connection)

    seen: set[socket.socket] = set()
    gate.behaviour = follow
    client = make_client(gate)

    assert [client.check() for _ in range(3)] == ["KILL_SWITCH_ENGAGED"] * 3


def test_connection__on_which_something_comes_unasked__is_not_used_again(gate: FakeGate) -> None:
    more, sent = threading.Event(), threading.Event()

    def follow(connection: socket.socket) -> None:
        connection.sendall(DENIED)
        more.wait(PATIENT)
        connection.sendall(answer())
        sent.set()

    gate.behaviour = follow
    client = make_client(gate)

    for _ in range(3):
        assert client.check() == "KILL_SWITCH_ENGAGED"
        more.set()
        assert sent.wait(PATIENT)
        more.clear()
        sent.clear()


@pytest.mark.parametrize("status", ["100 Continue", "102 Processing", "103 Early Hints"])
def test_interim_answer__is_no_answer_and_the_final_one_is_not_the_next(gate: FakeGate, status: str) -> None:
    """The first question is answered late, with what held before the stop, just when the second one is asked."""
    interim = f"HTTP/1.1 {status}\r\nX-GoLive-Code: ALLOWED\r\nX-GoLive-Lease-Ms: 5000\r\n\r\n".encode()
    asked: set[socket.socket] = set()

    def be_late(connection: socket.socket) -> None:
        connection.sendall(answer(lease_ms=5000) if connection in asked else interim)
        asked.add(connection)

    gate.behaviour = be_late
    client = make_client(gate)
    assert client.check() == STATE_UNKNOWN

    # On this connection, what comes is the late answer; on any other, that of now.
    gate.behaviour = lambda connection: be_late(connection) if connection in asked else connection.sendall(DENIED)
    assert client.check() == "KILL_SWITCH_ENGAGED"
    assert gate.connections == 2


@pytest.mark.parametrize(
    "said",
    [
        answer(status="204 No Content"),
        answer(status="302 Found", more="Location: /gate/\r\n"),
        answer(status="403 Forbidden"),
        answer(status="500 Internal Server Error"),
        answer(status="101 Switching Protocols", more="Upgrade: x\r\n"),
        answer("NONSENSE"),
        answer("KILL_SWITCH_ENGAGED", status="200 OK"),
        answer(more="X-GoLive-Code: ALLOWED\r\n"),
        answer(more="Connection: keep-alive, Close\r\n"),
        answer("KILL_SWITCH_ENGAGED", status="403 Forbidden", body="a body, though it was HEAD"),
        answer().replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
def test_connection__after_anything_but_a_clear_answer__is_not_used_again(gate: FakeGate, said: bytes) -> None:
    gate.behaviour = said
    client = make_client(gate)
    client.check()

    gate.behaviour = answer()

    assert client.check() == ALLOWED
    assert gate.connections == 2


def test_connection__with_the_body_of_the_last_answer_before_the_next__is_no_answer(gate: FakeGate) -> None:
    """It came too late to be seen before the next question was sent."""
    asked: set[socket.socket] = set()

    def follow(connection: socket.socket) -> None:
        connection.sendall(b"a late body" + answer(lease_ms=5000) if connection in asked else DENIED)
        asked.add(connection)

    gate.behaviour = follow
    client = make_client(gate)

    assert [client.check() for _ in range(3)] == ["KILL_SWITCH_ENGAGED", STATE_UNKNOWN, "KILL_SWITCH_ENGAGED"]
    assert gate.connections == 2


def test_connection__with_a_descriptor_above_1024__is_used_again(gate: FakeGate) -> None:
    """`select()` ends there; a server with a thousand WebSockets does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    client = make_client(gate)
    try:
        with ExitStack() as stack:
            for _ in range(1100):
                stack.enter_context(Path(os.devnull).open())
            codes = [client.check() for _ in range(20)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert codes == [ALLOWED] * 20
    assert gate.connections == 1


# -- a name with several addresses -------------------------------------------------------------------------------------


@pytest.fixture
def swallowing() -> Iterator[int]:
    """A port of 127.0.0.1 at which connections are neither made nor refused: its queue is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(10):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield int(listener.getsockname()[1])


def resolve_to(monkeypatch: pytest.MonkeyPatch, *ports: int) -> list[int]:
    """Let every name have these addresses. Returns a list of the ports that are tried, which grows."""
    tried: list[int] = []
    connect_to = guard._Connection._connect_to

    def note(
        gate_connection: guard._Connection, connection: socket.socket, address: tuple[str, int], seconds: float
    ) -> socket.socket:
        tried.append(address[1])
        return connect_to(gate_connection, connection, address, seconds)

    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr(guard._Connection, "_connect_to", note)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: list(found))
    return tried


def test_name__whose_first_address_swallows_packets__is_asked_at_the_next(
    gate: FakeGate, swallowing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.behaviour = answer(more="Connection: close\r\n")
    tried = resolve_to(monkeypatch, swallowing, gate.port)
    client = GateClient("http://valhalla/gate/", timeout_seconds=4)

    assert client.check() == ALLOWED
    assert tried == [swallowing, gate.port]
    # And what was reached is tried first from then on.
    assert client.check() == ALLOWED
    assert tried == [swallowing, gate.port, gate.port]


def test_name__whose_addresses_all_refuse_or_swallow__is_unknown(
    swallowing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = find_free_port()
    tried = resolve_to(monkeypatch, refusing, swallowing, refusing)

    with ends_within(TIMEOUT):
        assert GateClient("http://valhalla/gate/", timeout_seconds=TIMEOUT).check() == STATE_UNKNOWN

    wait_until(lambda: tried == [refusing, swallowing, refusing])


def test_gate__that_hangs_under_many__keeps_one_thread_waiting(gate: FakeGate) -> None:
    gate.behaviour = hang
    client = GateClient(gate.url, timeout_seconds=TIMEOUT)
    before = threading.active_count()

    # One after another they would take 64 times as long.
    with ends_within(2 * TIMEOUT), ThreadPoolExecutor(64) as pool:
        answers = pool.map(lambda _: client.check(), range(64))
        assert threading.active_count() <= before + 64 + 2
        assert set(answers) == {STATE_UNKNOWN}


# -- the event loop, forks, and no Django ------------------------------------------------------------------------------


def test_async__a_gate_that_hangs__does_not_block_the_event_loop(gate: FakeGate) -> None:
    """It answers only when the loop has gone round while all of them wait."""
    gate.behaviour = held = Held(answer())
    client = make_client(gate)

    async def go_round() -> None:
        await asyncio.to_thread(held.await_question)
        for _ in range(100):
            await asyncio.sleep(0)
        held.let_go()

    async def run() -> list[str]:
        going_round = asyncio.create_task(go_round())
        codes = await asyncio.gather(*(client.check_async() for _ in range(64)))
        await going_round
        return codes

    assert asyncio.run(run()) == [ALLOWED] * 64


def test_async__a_gate_that_hangs__is_unknown(gate: FakeGate) -> None:
    gate.behaviour = hang

    assert asyncio.run(GateClient(gate.url, timeout_seconds=TIMEOUT).check_async()) == STATE_UNKNOWN


def test_async__callers_that_give_up__leave_the_others_theirs(gate: FakeGate) -> None:
    gate.behaviour = held = Held(answer())
    client = make_client(gate)

    async def run() -> list[str]:
        leaving = [asyncio.create_task(client.check_async()) for _ in range(5)]
        await asyncio.to_thread(held.await_question)
        for task in leaving:
            task.cancel()
        held.let_go()
        gate.behaviour = answer()
        return [await client.check_async() for _ in range(2)]

    assert asyncio.run(run()) == [ALLOWED, ALLOWED]


def test_fork__asks_by_itself(gate: FakeGate) -> None:
    client = make_client(gate)
    assert client.check() == ALLOWED

    assert ask_fork(client.check) == ALLOWED
    assert client.check() == ALLOWED
    assert gate.connections == 2


def test_fork__while_another_thread_asks__is_not_held_up(gate: FakeGate) -> None:
    client = make_client(gate)

    with held_by_another_thread(client._lock):
        assert ask_fork(client.check) == ALLOWED


@pytest.mark.parametrize("module", ["golive.guard", "guard"])
def test_guard__imports_without_django(module: str) -> None:
    """As part of the package, and as one file that somebody has copied."""
    # The last one is new in Python 3.11; the file is for 3.9 too.
    hidden = ("django", "asgiref", "psycopg", "environ", "golive.domain", "wsgiref.types")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({hidden}))\n"
        f"import {module} as guard\n"
        "print(guard.GateClient('http://127.0.0.1:9/gate/').check())\n"
    )
    folder = ROOT if "." in module else ROOT / "golive"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENT
    )

    assert (done.stdout.strip(), done.returncode) == (STATE_UNKNOWN, 0), done.stderr


def test_guard__is_written_for_python_3_9() -> None:
    ast.parse((ROOT / "golive" / "guard.py").read_text(), feature_version=(3, 9))


def test_messages__are_those_of_the_decision() -> None:
    assert {str(code): MESSAGES[code] for code in Code if code is not Code.ALLOWED} == guard.MESSAGES
