"""`manage.py migrate`: Django's command made safe for deploys: a lock, bounded waits, verification and a record."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import migrate as django_migrate
from django.db import connections

from golive.controls.deploys import record_deploy
from golive.deploys import record
from golive.deploys.attempts import Attempts
from golive.deploys.connection import Limits, direct_connection, libpq_parameters, working_session
from golive.deploys.executor import bound_executor
from golive.deploys.lock import ANSWER_SECONDS, LockError, MigrationLock
from golive.deploys.record_table import prepare_table
from golive.domain.errors import GoLiveError
from golive.migration_graph.model import UnusableInputError
from golive.readiness import project_graph
from golive.text import make_lines_visible, make_visible

LOCK_TIMEOUT_SECONDS = 600.0
# Below the timeout of a read (golive.state.snapshots): readers of a table queue behind a statement that waits to alter
# it, and the service must keep answering.
DDL_LOCK_TIMEOUT_MS = 500
DDL_STATEMENT_TIMEOUT_MS = 300_000
DDL_TRIES = 10
WATCH_SECONDS = 0.25


class Command(django_migrate.Command):
    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--lock-timeout",
            type=_seconds,
            default=LOCK_TIMEOUT_SECONDS,
            metavar="SECONDS",
            help="How long to wait for another migrate to end (PostgreSQL; default %(default)g).",
        )
        parser.add_argument(
            "--ddl-lock-timeout",
            type=_at_least(1),
            default=DDL_LOCK_TIMEOUT_MS,
            metavar="MS",
            help="How long a statement may wait for a lock (PostgreSQL; default %(default)d).",
        )
        parser.add_argument(
            "--ddl-statement-timeout",
            type=_at_least(0),
            default=DDL_STATEMENT_TIMEOUT_MS,
            metavar="MS",
            help="How long one statement may run, 0 for no limit (PostgreSQL; default %(default)d).",
        )
        parser.add_argument(
            "--ddl-tries",
            type=_at_least(1),
            default=DDL_TRIES,
            metavar="N",
            help="How often to try when a lock is not available (PostgreSQL; default %(default)d).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.verbosity = options["verbosity"]
        using: str = options["database"]
        is_read_only = options["plan"] or options["check_unapplied"]
        if not is_read_only and _is_ours(options) and _is_forward(options):
            self._audit()
        # Inside a transaction, as in some tests, it is impossible to wait, record or retry.
        if is_read_only or connections[using].in_atomic_block:
            super().handle(*args, **options)
            return
        limits = Limits(
            options["lock_timeout"],
            options["ddl_lock_timeout"],
            options["ddl_statement_timeout"],
            options["ddl_tries"],
        )
        try:
            with ExitStack() as stack:
                lock = self._enter(stack, using, limits)
                under_way = stack.enter_context(bound_executor(lock.check if lock is not None else _no_guard))
                self._migrate(Attempts(lock, limits, under_way, self._report), args, options)
        except (LockError, record.DeployError) as error:
            raise CommandError(make_lines_visible(str(error))) from error
        except GoLiveError as error:
            raise CommandError(
                f"Migrated, but the deploy is not recorded: {make_visible(str(error))} Run migrate again."
            ) from error

    def _audit(self) -> None:
        """Raise CommandError for a broken graph before anything is touched, naming the lines."""
        try:
            errors = project_graph.list_errors(project_graph.audit_project())
        except UnusableInputError as error:
            # Migrations without source files can still run; the checklist reports this as a blocker.
            self._warn(f"The migrations could not be audited: {make_visible(str(error))}.")
            return
        if errors:
            lines = "\n  ".join(make_visible(error) for error in errors)
            raise CommandError(
                f"The graph of migrations is not sound, and nothing was applied:\n  {lines}\n"
                "`manage.py audit_migrations --history` names the edit that broke it."
            )

    def _enter(self, stack: ExitStack, using: str, limits: Limits) -> MigrationLock | None:
        """Acquire the lock and prepare the connection; None for a database without such a lock."""
        connection = connections[using]
        if connection.vendor != "postgresql":
            return None
        stack.enter_context(direct_connection(using))
        lock = MigrationLock(
            libpq_parameters(connection),
            find_table=lambda: prepare_table(using, limit_seconds=ANSWER_SECONDS),
            role=connection.settings_dict["OPTIONS"].get("assume_role"),
            timeout_seconds=limits.lock_seconds,
            watch_seconds=min(WATCH_SECONDS, limits.ddl_lock_ms / 4000),
            report=self._report,
        )
        stack.enter_context(lock)
        stack.enter_context(working_session(using, lock, limits))
        return lock

    def _migrate(self, attempts: Attempts, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        using: str = options["database"]
        is_ours, is_forward = _is_ours(options), _is_forward(options)
        shown: list[str] = []

        def apply() -> None:
            if is_ours and is_forward:
                warnings = record.check_before(
                    using, app=options["app_label"], is_initial_faked=options["fake_initial"]
                )
                for warning in (text for text in warnings if text not in shown):
                    self._warn(warning)
                    shown.append(warning)
            super(Command, self).handle(*args, **options)

        attempts.run(apply)
        if attempts.lock is not None:
            attempts.lock.check()
        if is_ours and not options["fake"]:
            attempts.run(lambda: self._finish(using))

    def _finish(self, using: str) -> None:
        if record.is_installed(using):
            record.check_after(using)
            difference = record.compare_with_events(using)
            record_deploy(difference, release=getattr(settings, "RELEASE", None), using=using)

    def _report(self, text: str) -> None:
        if self.verbosity >= 1:
            self.stdout.write(make_lines_visible(text))
            self.stdout.flush()

    def _warn(self, text: str) -> None:
        if self.verbosity >= 1:
            self.stderr.write(self.style.WARNING(make_lines_visible(text)))


def _is_ours(options: dict[str, Any]) -> bool:
    return options["app_label"] in (None, record.APP) and record.is_kept_in(options["database"])


def _is_forward(options: dict[str, Any]) -> bool:
    return not (options["migration_name"] or options["fake"] or options["prune"])


def _no_guard() -> None:
    """SQLite allows only one writer at a time anyway."""


def _seconds(text: str) -> float:
    with suppress(ValueError):
        value = float(text)
        if math.isfinite(value) and value >= 0:
            return value
    raise argparse.ArgumentTypeError("must be a number of seconds, 0 or more")


def _at_least(minimum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        with suppress(ValueError):
            if int(text) >= minimum:
                return int(text)
        raise argparse.ArgumentTypeError(f"must be a whole number, {minimum} or more")

    return parse
