"""A shared lock on a file, for SQLite, whose only lock is for writing.

Each process locks its own byte, at the offset of its process id (POSIX record locks), so that a process can test the
bytes of all others. The kernel releases the lock with the process, and a fork does not inherit it.
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
class _Locks:
    """The locks of this process: for each file, the holding threads' names by number, and its open descriptor.

    Each file is opened only once: a process that closes any descriptor of a file loses all its locks on it.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    held: dict[str | None, dict[int, str]] = field(default_factory=dict)
    descriptors: dict[str, int] = field(default_factory=dict)


_locks = _Locks()
_numbers = itertools.count(1)


@contextmanager
def share(path: str | None) -> Iterator[None]:
    """Hold the shared lock. `path` None: within this process only. Raises OSError."""
    locks, number = _locks, next(_numbers)
    with locks.lock:
        if path is not None and path not in locks.descriptors:
            locks.descriptors[path] = _lock_own_byte(path)
        locks.held.setdefault(path, {})[number] = threading.current_thread().name
    try:
        yield
    finally:
        with locks.lock:
            del locks.held[path][number]
            if path is not None and not locks.held[path]:
                os.close(locks.descriptors.pop(path))


def find_holders(path: str | None) -> list[tuple[str, str]]:
    """The current holders as (key, description); those of all other processes count as one. Raises OSError."""
    with _locks.lock:
        names = dict(_locks.held.get(path, {}))
        is_held_by_others = path is not None and Path(path).exists() and _do_others_hold(path)
    holders = [(str(number), f"the thread {name} of pid {os.getpid()}") for number, name in names.items()]
    return [*holders, (OTHERS, OTHERS)] if is_held_by_others else holders


def _lock_own_byte(path: str) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        # Blocks only while another process is testing this byte.
        fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, os.getpid())
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _do_others_hold(path: str) -> bool:
    own = _locks.descriptors.get(path)
    descriptor = own if own is not None else os.open(path, os.O_RDWR | os.O_CLOEXEC)
    ranges = ((os.getpid(), 0), (0, os.getpid() + 1))  # the bytes before our own, and after it (0: to the end)
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


def _reset_after_fork() -> None:
    """A forked child holds no locks; leaving a block that the parent entered then has no effect."""
    global _locks  # noqa: PLW0603 - a thread of the parent may hold its lock
    _locks = _Locks()


os.register_at_fork(after_in_child=_reset_after_fork)
