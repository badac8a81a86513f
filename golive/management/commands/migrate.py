"""`manage.py migrate`: Django's own, made safe for deploys: it waits its turn, bounds its waits, verifies, records."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import migrate as django_migrate
from django.db import Error, connections

from golive import controls
from golive.deploys import record
from golive.deploys.executor import AtomicExecutor
from golive.deploys.lock import LockError, MigrationLock
from golive.domain.errors import GoLiveError

LOCK_TIMEOUT_SECONDS = 600.0
# Below the limit of a read (golive.deadline): whoever reads the table queues behind a statement that waits to alter it.
DDL_LOCK_TIMEOUT_MS = 1_000
DDL_STATEMENT_TIMEOUT_MS = 300_000
DDL_TRIES = 10
DDL_PAUSE_SECONDS = 2.0

_LOCK_NOT_AVAILABLE, _DEADLOCK, _QUERY_CANCELED = "55P03", "40P01", "57014"
_NOT_FOR_LIBPQ = ("context", "cursor_factory", "prepare_threshold", "server_side_binding", "pool", "assume_role")


class Command(django_migrate.Command):
    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--lock-timeout",
            type=float,
            default=LOCK_TIMEOUT_SECONDS,
            metavar="SECONDS",
            help="How long to wait for another migrate to end (PostgreSQL; default %(default)g).",
        )
        parser.add_argument(
            "--ddl-lock-timeout",
            type=int,
            default=DDL_LOCK_TIMEOUT_MS,
            metavar="MS",
            help="How long a statement may wait for a table lock (PostgreSQL; default %(default)d).",
        )
        parser.add_argument(
            "--ddl-statement-timeout",
            type=int,
            default=DDL_STATEMENT_TIMEOUT_MS,
            metavar="MS",
            help="How long one statement may run, 0 for no limit (PostgreSQL; default %(default)d).",
        )
        parser.add_argument(
            "--ddl-tries",
            type=int,
            default=DDL_TRIES,
            metavar="N",
            help="How often to try when a table lock is not had (PostgreSQL; default %(default)d).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["plan"] or options["check_unapplied"]:
            super().handle(*args, **options)
            return
        using: str = options["database"]
        try:
            with ExitStack() as stack:
                lock: MigrationLock | None = None
                if connections[using].vendor == "postgresql":
                    stack.enter_context(_direct_connection(using))
                    lock = stack.enter_context(self._lock(using, options))
                    stack.enter_context(_timeouts(using, options))
                stack.enter_context(_executor(lock.check if lock is not None else _no_guard))
                self._migrate(using, lock, args, options)
        except (LockError, record.DeployError, GoLiveError) as error:
            raise CommandError(str(error)) from error

    def _lock(self, using: str, options: dict[str, Any]) -> MigrationLock:
        connection = connections[using]
        given = connection.get_connection_params()
        parameters = {key: value for key, value in given.items() if key not in _NOT_FOR_LIBPQ}
        lock = MigrationLock(parameters, timeout_seconds=options["lock_timeout"], tell=self._tell)
        lock.watch(lambda: connection.connection.info.backend_pid if connection.connection is not None else None)
        return lock

    def _tell(self, text: str) -> None:
        if self.verbosity_wanted >= 1:
            self.stdout.write(text)

    def execute(self, *args: Any, **options: Any) -> str | None:
        self.verbosity_wanted = options["verbosity"]
        return super().execute(*args, **options)

    def _migrate(self, using: str, lock: MigrationLock | None, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        if options["app_label"] in (None, record.APP) and not options["migration_name"] and not options["fake"]:
            for warning in record.check_before(using):
                self.stderr.write(self.style.WARNING(warning))
        self._apply(using, lock, args, options)
        if lock is not None:
            lock.check()
        if not options["fake"] and options["app_label"] in (None, record.APP) and record.is_installed(using):
            record.check_after(using)
            controls.record_deploy(
                record.compare_with_events(using), release=getattr(settings, "RELEASE", None), using=using
            )

    def _apply(self, using: str, lock: MigrationLock | None, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        for attempt in range(1, options["ddl_tries"] + 1):
            if lock is not None:
                lock.forget_blockers()
            try:
                super().handle(*args, **options)
            except Error as error:
                code = getattr(error.__cause__, "sqlstate", None)
                if lock is None or code not in (_LOCK_NOT_AVAILABLE, _DEADLOCK, _QUERY_CANCELED):
                    raise
                blockers = "\n".join(f"  {blocker}" for blocker in lock.blockers) or "  nobody who was seen"
                if code == _QUERY_CANCELED:
                    raise CommandError(
                        f"A statement ran longer than {options['ddl_statement_timeout']} ms and was rolled back "
                        f"(--ddl-statement-timeout). It was blocked by:\n{blockers}"
                    ) from error
                if attempt == options["ddl_tries"]:
                    raise CommandError(
                        f"A table lock was not had within {options['ddl_lock_timeout']} ms, {attempt} times; what was "
                        f"applied before stays, the rest is as it was. Blocked by:\n{blockers}\n"
                        "Let them end, or end them (SELECT pg_terminate_backend(PID)), and run migrate again."
                    ) from error
                self._tell(
                    f"A table is locked; trying again ({attempt} of {options['ddl_tries']}). Blocked by:\n{blockers}"
                )
                time.sleep(DDL_PAUSE_SECONDS)
            else:
                return


def _no_guard() -> None:
    """SQLite has one writer at a time by itself."""


@contextmanager
def _direct_connection(using: str) -> Iterator[None]:
    """Migrate past a connection pooler, which keeps no session's lock or settings, if DATABASE_DIRECT_URL says how.

    The name of the database stays if somebody has changed it since the start, as the test runner does.
    """
    direct: dict[str, Any] | None = getattr(settings, "GOLIVE_DIRECT_DATABASE", None)
    connection = connections[using]
    if direct is None or using != "default":
        yield
        return
    before = dict(connection.settings_dict)
    is_renamed = before["NAME"] != settings.GOLIVE_DATABASE_NAME
    connection.close()
    connection.settings_dict.update(
        {
            **{key: direct[key] for key in ("HOST", "PORT", "USER", "PASSWORD")},
            "NAME": before["NAME"] if is_renamed else direct["NAME"],
            "OPTIONS": {**before["OPTIONS"], **direct.get("OPTIONS", {})},
        }
    )
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(before)


@contextmanager
def _timeouts(using: str, options: dict[str, Any]) -> Iterator[None]:
    """Bound the waits of the migrating session, on the server, and take the bounds back afterwards."""
    names = {"lock_timeout": options["ddl_lock_timeout"], "statement_timeout": options["ddl_statement_timeout"]}
    connection = connections[using]
    with connection.cursor() as cursor:
        for name, value in names.items():
            cursor.execute("SELECT set_config(%s, %s, false)", [name, str(value)])
    try:
        yield
    finally:
        if connection.connection is not None and not connection.connection.closed and not connection.in_atomic_block:
            with connection.cursor() as cursor:
                for name in names:
                    cursor.execute(f"RESET {name}")


@contextmanager
def _executor(guard: Callable[[], None]) -> Iterator[None]:
    """Django's command has no hook for its executor, so its name is bound to ours meanwhile."""

    class Guarded(AtomicExecutor):
        pass

    Guarded.guard = staticmethod(guard)
    names = vars(django_migrate)
    original = names["MigrationExecutor"]
    names["MigrationExecutor"] = Guarded
    try:
        yield
    finally:
        names["MigrationExecutor"] = original
