"""The guard's client: what counts as a yes, for how long, and what a gate that misbehaves can do."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from golive import guard
from golive.domain.decision import MESSAGES, Code
from golive.guard import ALLOWED, STATE_UNKNOWN, GateClient
from tests.forks import ask_fork, held_by_another_thread
from tests.guard.fake_gate import DENIED, FakeGate, answer, answer_and_close, close, drip, hang, pour, slow
from tests.server import ROOT, find_free_port

TIMEOUT = 0.4


@pytest.fixture
def gate() -> Iterator[FakeGate]:
    with FakeGate(answer()) as fake:
        yield fake


def ask(gate: FakeGate) -> str:
    return GateClient(gate.url, timeout_seconds=TIMEOUT).check()


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

    began = time.monotonic()
    assert ask(gate) == STATE_UNKNOWN
    assert time.monotonic() - began < TIMEOUT + 0.3


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
    assert client.check() == ALLOWED
    gate.behaviour = misbehaviour
    assert client.check() == STATE_UNKNOWN

    gate.behaviour = answer()

    assert [client.check() for _ in range(3)][-1] == ALLOWED


# -- for how long ------------------------------------------------------------------------------------------------------


def test_answer__within_its_lease__is_used_again(gate: FakeGate) -> None:
    gate.behaviour = answer(lease_ms=300)
    client = GateClient(gate.url)

    assert {client.check() for _ in range(50)} == {ALLOWED}
    assert len(gate.asked_at) == 1
    gate.behaviour = DENIED
    time.sleep(0.31)
    assert client.check() == "KILL_SWITCH_ENGAGED"


@pytest.mark.parametrize("lease_ms", [0, "", "-5", "1.5", "abc", "٣٠٠", "9" * 40])
def test_answer__without_a_lease__is_used_once(gate: FakeGate, lease_ms: object) -> None:
    gate.behaviour = answer(lease_ms=lease_ms)
    client = GateClient(gate.url)

    assert [client.check() for _ in range(3)] == [ALLOWED] * 3
    assert len(gate.asked_at) == 3


def test_lease__counts_from_before_the_question(gate: FakeGate) -> None:
    """The answer takes 200 ms of its 250: what is left is 50, however late it came."""
    gate.behaviour = slow(0.2, answer(lease_ms=250))
    client = GateClient(gate.url)
    assert client.check() == ALLOWED

    gate.behaviour = DENIED
    time.sleep(0.1)

    assert client.check() == "KILL_SWITCH_ENGAGED"


def test_lease__longer_than_any_of_ours__is_cut(gate: FakeGate) -> None:
    gate.behaviour = answer(lease_ms=999_999_999)
    client = GateClient(gate.url)

    client.check()

    assert client._kept[1] - time.clock_gettime(time.CLOCK_BOOTTIME) <= guard.LEASE_MOST_MS / 1000


def test_answer__under_way_when_somebody_comes__is_not_theirs(gate: FakeGate) -> None:
    """The first question is sent, then execution is stopped, then the second caller comes: it must hear of the stop."""
    gate.behaviour = slow(0.3, answer(lease_ms=0))
    client = GateClient(gate.url)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.check)
        while not gate.asked_at:
            time.sleep(0.005)
        gate.behaviour = DENIED
        second = pool.submit(client.check)

        assert (first.result(), second.result()) == (ALLOWED, "KILL_SWITCH_ENGAGED")


def test_callers__that_come_together__share_a_question(gate: FakeGate) -> None:
    gate.behaviour = slow(0.05, answer())
    client = GateClient(gate.url)

    with ThreadPoolExecutor(64) as pool:
        assert set(pool.map(lambda _: client.check(), range(64))) == {ALLOWED}

    assert len(gate.asked_at) <= 4
    assert gate.connections == 1


def test_connection__is_used_again_and_made_anew_when_the_gate_has_closed_it(gate: FakeGate) -> None:
    client = GateClient(gate.url)
    assert {client.check() for _ in range(5)} == {ALLOWED}
    assert gate.connections == 1

    gate.behaviour = answer_and_close
    assert {client.check() for _ in range(5)} == {ALLOWED}
    assert gate.connections > 1
    with FakeGate(answer(more="Connection: close\r\n")) as closing:
        other = GateClient(closing.url)
        assert [other.check() for _ in range(3)] == [ALLOWED] * 3
        assert closing.connections == 3


def test_connection__with_more_than_the_answer__is_not_used_again(gate: FakeGate) -> None:
    """Else the rest, whenever it comes, would be taken for the next answer."""

    def follow(connection: socket.socket) -> None:
        connection.sendall(answer() if connection in seen else DENIED + b"a body")
        seen.add(connection)

    seen: set[socket.socket] = set()
    gate.behaviour = follow
    client = GateClient(gate.url)

    assert [client.check() for _ in range(3)] == ["KILL_SWITCH_ENGAGED"] * 3


def test_connection__on_which_something_comes_unasked__is_not_used_again(gate: FakeGate) -> None:
    def follow(connection: socket.socket) -> None:
        connection.sendall(DENIED)
        time.sleep(0.02)
        connection.sendall(answer())

    gate.behaviour = follow
    client = GateClient(gate.url)

    for _ in range(3):
        assert client.check() == "KILL_SWITCH_ENGAGED"
        time.sleep(0.1)


def test_gate__that_hangs_under_many__keeps_one_thread_waiting(gate: FakeGate) -> None:
    gate.behaviour = hang
    client = GateClient(gate.url, timeout_seconds=TIMEOUT)
    before = threading.active_count()

    began = time.monotonic()
    with ThreadPoolExecutor(64) as pool:
        answers = pool.map(lambda _: client.check(), range(64))
        assert threading.active_count() <= before + 64 + 2
        assert set(answers) == {STATE_UNKNOWN}

    assert time.monotonic() - began < 2 * TIMEOUT + 0.5


# -- the event loop, forks, and no Django ------------------------------------------------------------------------------


def test_async__a_gate_that_hangs__does_not_block_the_event_loop(gate: FakeGate) -> None:
    gate.behaviour = hang
    client = GateClient(gate.url, timeout_seconds=TIMEOUT)

    async def run() -> tuple[list[str], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        codes = await asyncio.gather(*(client.check_async() for _ in range(64)))
        ticking.cancel()
        return codes, ticks

    codes, ticks = asyncio.run(run())

    assert set(codes) == {STATE_UNKNOWN}
    assert ticks > 15


def test_async__callers_that_give_up__leave_the_others_theirs(gate: FakeGate) -> None:
    gate.behaviour = slow(0.15, answer())
    client = GateClient(gate.url)

    async def run() -> list[str]:
        leaving = [asyncio.create_task(client.check_async()) for _ in range(5)]
        await asyncio.sleep(0.05)
        for task in leaving:
            task.cancel()
        return [await client.check_async() for _ in range(2)]

    assert asyncio.run(run()) == [ALLOWED, ALLOWED]


def test_fork__asks_by_itself(gate: FakeGate) -> None:
    client = GateClient(gate.url)
    assert client.check() == ALLOWED

    assert ask_fork(client.check) == ALLOWED
    assert client.check() == ALLOWED
    assert gate.connections == 2


def test_fork__while_another_thread_asks__is_not_held_up(gate: FakeGate) -> None:
    client = GateClient(gate.url, timeout_seconds=TIMEOUT)

    with held_by_another_thread(client._lock):
        assert ask_fork(client.check) == ALLOWED


@pytest.mark.parametrize("module", ["golive.guard", "guard"])
def test_guard__imports_without_django(module: str) -> None:
    """As part of the package, and as one file that somebody has copied."""
    hidden = ("django", "asgiref", "psycopg", "environ", "golive.domain")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({hidden}))\n"
        f"import {module} as guard\n"
        "print(guard.GateClient('http://127.0.0.1:9/gate/').check())\n"
    )
    folder = ROOT if "." in module else ROOT / "golive"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=folder, capture_output=True, text=True, check=False, timeout=20
    )

    assert (done.stdout.strip(), done.returncode) == (STATE_UNKNOWN, 0), done.stderr


def test_messages__are_those_of_the_decision() -> None:
    assert {str(code): MESSAGES[code] for code in Code if code is not Code.ALLOWED} == guard.MESSAGES
