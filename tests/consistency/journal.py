"""What was seen while a testbed runs: reads, kept until they are judged, and operations.

Safe to use from many threads.
"""

from __future__ import annotations

import itertools
import json
import secrets
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.consistency.checker import Change, History, Read, Violation
from tests.consistency.record import Entry, Operation, fetch_entries, find_disagreements, join

now = time.monotonic
# Around a violation, in seconds, what is written down.
AROUND = 3.0


class Journal:
    """Reads are judged and dropped at each `judge`, so that hours need no more memory than minutes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reads: list[Read] = []
        self._operations: list[Operation] = []
        self._entries: list[Entry] = []
        # Another journal may have been kept on the same database.
        self._name, self._marks = secrets.token_hex(4), itertools.count(1)
        self.failures: Counter[str] = Counter()

    def make_mark(self) -> str:
        with self._lock:
            return f"op-{self._name}-{next(self._marks)}"

    def add_read(self, read: Read) -> None:
        with self._lock:
            self._reads.append(read)

    def await_reads(self, count: int, *, since: float, seconds: float) -> None:
        """Return when so many requests that were sent after that moment have been answered, or when the time is up."""
        gives_up_at = now() + seconds
        while now() < gives_up_at:
            with self._lock:
                if sum(read.sent_at > since for read in self._reads) >= count:
                    return
            time.sleep(0.02)

    def add_failure(self, source: str) -> None:
        """A request that got no answer, which proves nothing."""
        with self._lock:
            self.failures[source] += 1

    def add_operation(self, operation: Operation) -> Operation:
        with self._lock:
            self._operations.append(operation)
        return operation

    def operations(self) -> list[Operation]:
        with self._lock:
            return list(self._operations)

    def judge(self, url: str) -> Judgement:
        """Judge what was answered before this call; what comes later waits for the next one. Needs the database.

        A change that is committed after the record has been read cannot have been seen in an answer before that.
        """
        asked_at = now()
        self._entries += fetch_entries(url, after=self._entries[-1].sequence if self._entries else 0)
        with self._lock:
            reads, self._reads = self._reads, []
            due: list[Read] = []
            for read in reads:
                (due if max(read.answered_at, read.until or 0) < asked_at else self._reads).append(read)
            operations = list(self._operations)
        changes = join(self._entries, operations)
        history = History(changes)
        settled = [operation for operation in operations if operation.answered_at < asked_at]
        return Judgement(
            due,
            history,
            history.find_violations(due),
            [*find_disagreements(self._entries, settled), *history.find_disorder()],
            changes,
        )


class Judgement:
    """The reads that were judged, and what is wrong with them (`violations`) or with the record (`problems`)."""

    def __init__(
        self,
        reads: Sequence[Read],
        history: History,
        violations: Sequence[Violation],
        problems: Sequence[str],
        changes: Sequence[Change],
    ) -> None:
        self.reads, self.history, self.violations, self.problems = reads, history, violations, problems
        self._changes = changes

    def write(self, folder: Path | None = None) -> Path:
        """Write what happened around each violation as JSON lines; the file."""
        folder = folder or Path(tempfile.mkdtemp(prefix="valhalla-violation-"))
        path = folder / "history.jsonl"
        moments = [violation.read.sent_at for violation in self.violations]
        with path.open("w") as file:
            for kind, each in self._find_around(moments):
                file.write(json.dumps({"kind": kind, **asdict(each)}) + "\n")
            file.writelines(json.dumps({"kind": "violation", "text": str(each)}) + "\n" for each in self.violations)
            file.writelines(json.dumps({"kind": "problem", "text": each}) + "\n" for each in self.problems)
        return path

    def _find_around(self, moments: Sequence[float]) -> Iterable[tuple[str, Change | Read]]:
        for change in self._changes:
            yield "change", change
        for read in self.reads:
            if any(abs(read.sent_at - moment) < AROUND for moment in moments):
                yield "read", read
