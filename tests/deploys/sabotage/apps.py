"""What can go wrong in a process that migrates, at a moment that a test chooses; and the mutations of the code.

SABOTAGE holds any number of these, separated by `;`:

- `kill|stop before|inside|after NAME`: SIGKILL or SIGSTOP to itself before migration NAME, inside its transaction (when
  it is recorded), or after it.
- `kill before|after commit N`: SIGKILL around the N-th COMMIT, from 1.
- the name of a mutation: one of `MUTATIONS`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from itertools import count
from typing import Any

from django.apps import AppConfig
from django.core.management.commands import migrate as django_migrate
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


class SabotageConfig(AppConfig):
    name = "tests.deploys.sabotage"

    def ready(self) -> None:
        for order in filter(None, os.environ.get("SABOTAGE", "").split(";")):
            if order in MUTATIONS:
                MUTATIONS[order]()
                continue
            what, when, *where = order.split()
            if where[0] == "commit":
                _act_at_commit(SIGNALS[what], when, int(where[1]))
            else:
                _act_at_migration(SIGNALS[what], when, where[0])


def _replace(owner: object, name: str, value: object) -> None:
    assert hasattr(owner, name), f"{owner} has no {name} any more: this sabotage does nothing"
    setattr(owner, name, value)


def _act(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def _act_at_commit(number: signal.Signals, when: str, which: int) -> None:
    original = vars(BaseDatabaseWrapper)["_commit"]
    numbers = count(1)

    def commit(self: Any) -> None:
        is_it = next(numbers) == which
        if is_it and when == "before":
            _act(number)
        original(self)
        if is_it:
            _act(number)

    _replace(BaseDatabaseWrapper, "_commit", commit)


def _act_at_migration(number: signal.Signals, when: str, name: str) -> None:
    if when == "inside":
        for method in ("record_applied", "record_unapplied"):
            _act_at_record(number, method, name)
        return
    action = {"before": "apply_start", "after": "apply_success"}[when]
    report = django_migrate.Command.migration_progress_callback

    def progress(self: Any, said: str, migration: Any = None, fake: bool = False) -> None:
        report(self, said, migration, fake)
        if said == action and str(migration) == name:
            _act(number)

    _replace(django_migrate.Command, "migration_progress_callback", progress)


def _act_at_record(number: signal.Signals, method: str, name: str) -> None:
    original = vars(MigrationRecorder)[method]

    def record(self: Any, app: str, migration: str) -> None:
        if f"{app}.{migration}" == name:
            _act(number)
        original(self, app, migration)

    _replace(MigrationRecorder, method, record)


def _record_as_django_does() -> None:
    """Each migration recorded after its transaction, as Django's own executor does it."""
    from golive.deploys.executor import AtomicExecutor

    _replace(AtomicExecutor, "apply_migration", MigrationExecutor.apply_migration)
    _replace(AtomicExecutor, "unapply_migration", MigrationExecutor.unapply_migration)


def _lock_in_a_transaction() -> None:
    """A lock that ends with the statement's own transaction."""
    from golive.deploys import record_table

    _replace(record_table, "_LOCK", f"{record_table._LOCK}; COMMIT")


def _lock_on_own_connection() -> None:
    """A lock of the transaction that migrates, around everything."""
    from golive.deploys.safe_migrate import SafeMigrate
    from golive.deploys.sessions import LOCK_KEY

    def enter(self: Any, stack: Any) -> None:
        stack.enter_context(transaction.atomic(using=self._using))
        with connections[self._using].cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", LOCK_KEY)

    _replace(SafeMigrate, "_enter", enter)


def _wait_inside_the_lock() -> None:
    """A waiter that sleeps in the server instead of polling."""
    from golive.deploys import lock, record_table

    _replace(record_table, "_TRY_LOCK", "SELECT true FROM pg_advisory_xact_lock(%s, %s)")
    _replace(lock, "ANSWER_SECONDS", 60.0)


def _trust_the_lock() -> None:
    """A holder that does not notice when it is none any more, and a successor that lets it be."""
    from golive.deploys import lock

    _replace(lock.MigrationLock, "_watch", lambda self: None)
    _replace(lock.MigrationLock, "check", lambda self: None)
    _replace(lock.MigrationLock, "_end_orphans", lambda self: None)


def _hurry() -> None:
    """No mutation: a database that hangs is given up sooner, for the sake of the test's own time."""
    from golive.deploys import lock

    _replace(lock, "ANSWER_SECONDS", 2.0)


MUTATIONS: dict[str, Callable[[], None]] = {
    "record-as-django-does": _record_as_django_does,
    "lock-in-a-transaction": _lock_in_a_transaction,
    "lock-on-own-connection": _lock_on_own_connection,
    "wait-inside-the-lock": _wait_inside_the_lock,
    "trust-the-lock": _trust_the_lock,
    "hurry": _hurry,
}
