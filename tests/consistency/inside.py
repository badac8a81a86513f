"""A process that asks in Python, as a job does, and writes each answer as a line of JSON until its input ends."""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict

import django

from tests.consistency.checker import ALLOWED, Read

now = time.monotonic
PACE_SECONDS, PERMIT_PACE_SECONDS, HOLD_SECONDS = 0.01, 0.06, 0.02


def ask() -> Read:
    import golive

    sent_at = now()
    allowed = golive.is_execution_allowed()
    return Read("inside", ALLOWED if allowed else None, sent_at, now(), os.getpid())


def hold_permit() -> Read:
    """A permit that is held for a moment: no change may come between its beginning and its end."""
    from django.db import Error, close_old_connections

    import golive

    close_old_connections()
    sent_at = now()
    given_at: float | None = None
    until: float | None = None
    try:
        with golive.execution_permit():
            given_at = now()
            time.sleep(random.uniform(0, HOLD_SECONDS))
            until = now()
    except golive.ExecutionDenied as denied:
        code = str(denied.decision.code)
        return Read("permit", None if code == "STATE_UNKNOWN" else code, sent_at, now(), os.getpid())
    except Error:
        # The connection was lost, and the lock with it: the permit held for less time than it was used.
        until = None
    if given_at is None:
        return Read("permit", None, sent_at, now(), os.getpid())
    return Read("permit", ALLOWED, sent_at, given_at, os.getpid(), until)


def repeat(read: Callable[[], Read], pace: float, lock: threading.Lock) -> None:
    while True:
        line = json.dumps(asdict(read()))
        with lock:
            print(line, flush=True)
        time.sleep(random.uniform(0, 2 * pace))


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "valhalla.settings")
    django.setup()
    lock = threading.Lock()
    for read, pace in ((ask, PACE_SECONDS), (hold_permit, PERMIT_PACE_SECONDS)):
        threading.Thread(target=repeat, args=(read, pace, lock), daemon=True).start()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
