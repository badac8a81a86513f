"""A lock on a file that many hold at once, for SQLite, which has one lock only and that one for writing.

Each process locks a byte of its own, at the offset of its process id (POSIX record locks), so that it can ask for the
bytes of all others. The kernel releases it with the process, and a fork does not inherit it.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

OTHERS = "another process"


@dataclass
class _Shares:
    """Those of this process: the names of the threads, by number, for each file; and its open descriptor.

    A file is open once: when a process closes any descriptor of a file, it loses its locks on it.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    held: dict[str | None, dict[int, str]] = field(default_factory=dict)
    descriptors: dict[str, int] = field(default_factory=dict)


_shares = _Shares()
_numbers = itertools.count(1)


@contextmanager
def share(path: str | None) -> Iterator[None]:
    """Hold the lock together with others. `path` None: only within this process. Raises OSError."""
    shares, number = _shares, next(_numbers)
    with shares.lock:
        if path is not None and path not in shares.descriptors:
            shares.descriptors[path] = _lock_own_byte(path)
        shares.held.setdefault(path, {})[number] = threading.current_thread().name
    try:
        yield
    finally:
        with shares.lock:
            del shares.held[path][number]
            if path is not None and not shares.held[path]:
                os.close(shares.descriptors.pop(path))


def find_shared(path: str | None) -> list[tuple[str, str]]:
    """Who holds it now, as (key, words); all of other processes count as one. Raises OSError."""
    with _shares.lock:
        names = dict(_shares.held.get(path, {}))
        is_held_elsewhere = path is not None and Path(path).exists() and _are_others_there(path)
    found = [(str(number), f"the thread {name} of pid {os.getpid()}") for number, name in names.items()]
    return [*found, (OTHERS, OTHERS)] if is_held_elsewhere else found


def _lock_own_byte(path: str) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        # It waits only for somebody who is just looking.
        fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, os.getpid())
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _are_others_there(path: str) -> bool:
    own = _shares.descriptors.get(path)
    descriptor = own if own is not None else os.open(path, os.O_RDWR | os.O_CLOEXEC)
    ranges = ((os.getpid(), 0), (0, os.getpid() + 1))  # all before the own byte, and all after it (0: to the end)
    try:
        for length, start in ranges:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
            except (BlockingIOError, PermissionError):
                return True
            fcntl.lockf(descriptor, fcntl.LOCK_UN, length, start)
    finally:
        if own is None:
            os.close(descriptor)
    return False


def _start_anew() -> None:
    """A fork holds nothing; what it has of the parent's blocks is given back without effect."""
    global _shares  # noqa: PLW0603 - a thread of the parent may hold its lock
    _shares = _Shares()


os.register_at_fork(after_in_child=_start_anew)
