"""Who reads over HTTP: every kind of answer that says whether execution is allowed, one entry of `KINDS` each."""

from __future__ import annotations

import http.client
import json
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.consistency import WORKER
from tests.consistency.checker import ALLOWED, Read
from tests.consistency.journal import Journal, now

UNKNOWN = "STATE_UNKNOWN"
# Longer than any answer may take, shorter than a worker may be paused.
TIMEOUT_SECONDS = 6.0
PACE_SECONDS = 0.006
# A connection is used so often; the kernel gives the next one to any worker.
USES = 60


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Kind:
    """One way to ask. `find_code` tells the decision from an answer; None: not allowed, without saying why."""

    name: str
    method: str
    path: str
    find_code: Callable[[Answer], str | None]
    body: bytes | None = None


def _find_gate_code(answer: Answer) -> str | None:
    return ALLOWED if answer.status == http.HTTPStatus.OK else answer.headers.get("X-GoLive-Code")


def _find_state_code(answer: Answer) -> str | None:
    values = json.loads(answer.body)
    return ALLOWED if values.get("execution_allowed") is True else values.get("code")


def _find_status_code(answer: Answer) -> str | None:
    values = json.loads(answer.body)
    execution = values.get("execution", {})
    return ALLOWED if execution.get("allowed") is True else execution.get("code")


def _find_flag_code(answer: Answer) -> str | None:
    values = json.loads(answer.body)
    flags = values.get("flags", [values])
    return ALLOWED if any(flag.get("key") == _FLAG and flag.get("value") is True for flag in flags) else None


def _find_view_code(answer: Answer) -> str | None:
    return ALLOWED if answer.status == http.HTTPStatus.OK else json.loads(answer.body).get("code")


_FLAG, _FLAGS = "execution-allowed", "/ofrep/v1/evaluate/flags"
_JSON = {"Content-Type": "application/json", "Accept": "application/json"}
# Of the control plane, and of the guarded project beside it.
KINDS = (
    Kind("gate", "GET", "/gate/consistency", _find_gate_code),
    Kind("gate-503", "POST", "/gate-503/consistency", _find_gate_code),
    Kind("state", "GET", "/api/governance/go-live/state", _find_state_code),
    Kind("status", "GET", "/api/status", _find_status_code),
    Kind("ofrep", "POST", f"{_FLAGS}/{_FLAG}", _find_flag_code, b"{}"),
    Kind("ofrep-bulk", "POST", _FLAGS, _find_flag_code, b"{}"),
)
SHOP_KINDS = (Kind("view", "GET", "/pay", _find_view_code),)


class Reader(threading.Thread):
    """Asks one service in all ways, at random, until told to stop: on new connections, or on some that it keeps."""

    def __init__(
        self,
        port: int,
        kinds: Sequence[Kind],
        journal: Journal,
        rng: random.Random,
        *,
        kept: int = 0,
        pace: float = PACE_SECONDS,
    ) -> None:
        super().__init__(name=f"reader-{port}-{kept}", daemon=True)
        self._port, self._kinds, self._journal, self._rng = port, kinds, journal, rng
        self._slots: list[_Connection | None] = [None] * max(kept, 1)
        self._uses = USES if kept else 1
        self._pace, self._stopping = pace, threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(self._rng.uniform(0, 2 * self._pace)):
            slot = self._rng.randrange(len(self._slots))
            kind = self._rng.choice(self._kinds)
            try:
                self._ask(slot, kind)
            except (OSError, http.client.HTTPException, ValueError):
                self._journal.add_failure(kind.name)
                self._drop(slot)

    def stop(self) -> None:
        self._stopping.set()
        self.join(TIMEOUT_SECONDS + 1)
        for slot in range(len(self._slots)):
            self._drop(slot)

    def _ask(self, slot: int, kind: Kind) -> None:
        connection = self._slots[slot] or _Connection(self._port)
        self._slots[slot] = connection
        read = connection.ask(kind)
        self._journal.add_read(read)
        if connection.uses >= self._uses:
            self._drop(slot)

    def _drop(self, slot: int) -> None:
        connection, self._slots[slot] = self._slots[slot], None
        if connection is not None:
            connection.close()


class _Connection:
    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        # Before the request's moment: what counts is when the request itself is sent.
        self._http.connect()
        # Its end closes the socket, and a second request would silently open another.
        self._http.auto_open = 0
        self.uses = 0

    def ask(self, kind: Kind) -> Read:
        self.uses += 1
        sent_at = now()
        self._http.request(kind.method, kind.path, kind.body, _JSON)
        response = self._http.getresponse()
        answer = Answer(response.status, dict(response.headers.items()), response.read())
        answered_at = now()
        code = kind.find_code(answer)
        return Read(
            kind.name,
            None if code == UNKNOWN else code,
            sent_at,
            answered_at,
            int(answer.headers.get(WORKER) or 0),
        )

    def close(self) -> None:
        self._http.close()
