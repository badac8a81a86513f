"""The promise broken on purpose, each time in one place, in a process that is told so by its environment.

`CONSISTENCY_SABOTAGE` names what is broken. `CONSISTENCY_SLOW_MS` breaks nothing: it makes every refresh take so long
between what it saw and what is made of it, so that what can go wrong in between has the time to.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

SABOTAGE, SLOW = "CONSISTENCY_SABOTAGE", "CONSISTENCY_SLOW_MS"


def apply_from_environment() -> None:
    """To be called when Django is set up, before the first request. Raises KeyError for a name that is not known."""
    slow_ms = int(os.environ.get(SLOW) or 0)
    if slow_ms:
        slow_down(slow_ms / 1000)
    name = os.environ.get(SABOTAGE)
    if name:
        SABOTAGES[name]()


def slow_down(seconds: float) -> None:
    from golive.state import singletons

    read = singletons.read_rows

    def read_slowly(**options: Any) -> Any:
        reading = read(**options)
        time.sleep(seconds)
        return reading

    vars(singletons)["read_rows"] = read_slowly


def remove_wait() -> None:
    from golive.state import leases

    vars(leases)["wait_out"] = lambda lease_ms: None


def acknowledge_no_op_at_once() -> None:
    from golive.controls import apply

    def make_impatient(commit: Callable[..., Any]) -> Callable[..., Any]:
        def commit_impatiently(write: Callable[[], tuple[Any, int]], using: str) -> Any:
            def write_and_say() -> tuple[Any, int]:
                done, lease_ms = write()
                return done, lease_ms if getattr(done, "changed", True) else 0

            return commit(write_and_say, using)

        return commit_impatiently

    for name in ("commit", "commit_stop"):
        vars(apply)[name] = make_impatient(getattr(apply, name))


def join_stale_refresh() -> None:
    """A request may take the outcome of the refresh that was under way when it came."""
    from golive.state.snapshots import Snapshot, SnapshotCache

    find, lock, joined = SnapshotCache._find_answer, threading.Lock(), set[int]()

    def find_any(self: SnapshotCache, ticket: int) -> Snapshot | None:
        with lock:
            if self._begun == ticket - 1 and self._ended < self._begun:
                joined.add(ticket - 1)
            may_join = ticket - 1 in joined
        return self._outcome if may_join and self._ended >= ticket - 1 else find(self, ticket)

    vars_of(SnapshotCache)("_find_answer", find_any)


def count_lease_from_after_select() -> None:
    from golive.state import leases, snapshots

    make = snapshots._lease
    vars(snapshots)["_lease"] = lambda reading, sent_at: make(reading, leases.boottime())


def trust_standby() -> None:
    """The question whether the server is a standby is always answered with no."""
    from django.db.backends.signals import connection_created

    def ask_nothing(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        return execute(sql.replace("pg_is_in_recovery()", "false"), params, many, context)

    def watch(connection: Any, **kwargs: Any) -> None:
        if ask_nothing not in connection.execute_wrappers:
            connection.execute_wrappers.append(ask_nothing)

    connection_created.connect(watch, weak=False)


def vars_of(owner: type) -> Callable[[str, Any], None]:
    """To replace a method, past the type checker that rightly forbids it."""
    return lambda name, value: setattr(owner, name, value)


SABOTAGES: dict[str, Callable[[], None]] = {
    "wait-removed": remove_wait,
    "no-op-does-not-wait": acknowledge_no_op_at_once,
    "stale-refresh-joined": join_stale_refresh,
    "lease-from-after-select": count_lease_from_after_select,
    "standby-read": trust_standby,
}
