"""Programs that ask again and again whether they may go on, each over a connection of its own."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.bench.load import BenchError

_PAUSE_SECONDS = 0.004
_ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class Question:
    """What is asked, and what in an answer (status and body) means yes."""

    url: str
    is_allowing: Callable[[int, bytes], bool]
    headers: Mapping[str, str] = field(default_factory=dict)


class Reader(threading.Thread):
    """Asks until it is stopped. Times are of `time.monotonic`, in seconds."""

    def __init__(self, question: Question) -> None:
        super().__init__(daemon=True)
        self._question = question
        self._is_stopped = threading.Event()
        self.count = 0
        self.error: str | None = None
        # When the last request was sent that was answered so.
        self.last_allowed_at = self.last_denied_at = 0.0

    def run(self) -> None:
        parts = urlsplit(self._question.url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=_ANSWER_SECONDS)
        try:
            while not self._is_stopped.is_set():
                sent_at = time.monotonic()
                connection.request("GET", parts.path, headers=dict(self._question.headers))
                answer = connection.getresponse()
                is_allowing = self._question.is_allowing(answer.status, answer.read())
                self.count += 1
                if is_allowing:
                    self.last_allowed_at = sent_at
                else:
                    self.last_denied_at = sent_at
                time.sleep(_PAUSE_SECONDS)
        except (OSError, http.client.HTTPException) as error:
            self.error = f"{self._question.url}: {error!r}"
        finally:
            connection.close()

    @property
    def is_allowed(self) -> bool:
        """What its latest answer said."""
        return self.last_allowed_at > self.last_denied_at

    def stop(self) -> None:
        self._is_stopped.set()


class Readers:
    """Several at once, on new connections, so that over many rounds every worker is asked. A context manager."""

    def __init__(self, questions: Sequence[Question]) -> None:
        self._readers = [Reader(question) for question in questions]

    def __enter__(self) -> Self:
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for reader in self._readers:
            reader.stop()
        for reader in self._readers:
            reader.join()

    def await_allowed(self, seconds: float) -> bool:
        """Whether each has been allowed as its latest answer before so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if all(reader.is_allowed for reader in self._readers):
                return True
            time.sleep(0.005)
        return False

    def find_last_allowed(self) -> float:
        """When the last request was sent that was let through. Raises BenchError for one that was not answered."""
        for reader in self._readers:
            if reader.error:
                raise BenchError(reader.error)
        return max(reader.last_allowed_at for reader in self._readers)

    @property
    def is_any_allowed(self) -> bool:
        return any(reader.is_allowed for reader in self._readers)

    @property
    def count(self) -> int:
        return sum(reader.count for reader in self._readers)
