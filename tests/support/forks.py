"""Fork at the worst moment: while a lock is held by another thread, which the child does not have."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

# Generous, for a busy machine.
_CHILD_SECONDS = 60


@contextmanager
def held_by_another_thread(lock: AbstractContextManager[object]) -> Iterator[None]:
    """Within the block, another thread holds the lock."""
    is_held, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            is_held.set()
            may_end.wait(2 * _CHILD_SECONDS)

    holder = threading.Thread(target=hold)
    holder.start()
    assert is_held.wait(_CHILD_SECONDS)
    try:
        yield
    finally:
        may_end.set()
        holder.join()


def ask_fork(question: Callable[[], str]) -> str:
    """Run a function in a forked child and return its result; the child must exit in time."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(_CHILD_SECONDS)
        os.write(writer, question().encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return answer
