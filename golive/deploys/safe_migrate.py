"""Django's `migrate` made safe for deploys: a lock, bounded waits, verification and a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import connections

from golive.controls.deploys import record_deploy
from golive.deploys import record
from golive.deploys.attempts import Attempts
from golive.deploys.connection import Limits, direct_connection, working_session
from golive.deploys.executor import bound_executor
from golive.deploys.lock import ANSWER_SECONDS, LockError, MigrationLock
from golive.deploys.record_table import prepare_table
from golive.domain.errors import GoLiveError
from golive.migration_graph.findings.lock_file import UnusableLockError
from golive.migration_graph.model import UnusableInputError
from golive.postgresql.base import libpq_parameters
from golive.readiness import project_graph
from golive.text import make_lines_visible, make_visible

WATCH_SECONDS = 0.25


def is_wanted() -> bool:
    """Whether this project has asked for it. An app does not change what its host's `migrate` does unasked."""
    return bool(getattr(settings, "GOLIVE_SAFE_MIGRATE", False))


class SafeMigrate:
    """One run of `migrate`, with the safeguards around it.

    `options` are the parsed options of Django's command, `limits` the waits. `apply` runs Django's own command with
    them, perhaps more than once; `report` and `warn` take the messages for the caller.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        limits: Limits,
        *,
        apply: Callable[[], None],
        report: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._limits = limits
        self._apply, self._report, self._warn = apply, report, warn
        self._using: str = options["database"]
        self._app_label: str | None = options["app_label"]
        self._is_initial_faked: bool = options["fake_initial"]
        self._is_fake: bool = options["fake"]
        self._is_read_only = bool(options["plan"] or options["check_unapplied"])
        self._is_forward = not (options["migration_name"] or options["fake"] or options["prune"])
        self._is_ours = self._app_label in (None, record.APP) and record.is_kept_in(self._using)

    def run(self) -> None:
        """Raises CommandError with the remedy."""
        if not self._is_read_only and self._is_ours and self._is_forward:
            self._audit()
        # Inside a transaction, as in some tests, it is impossible to wait, record or retry.
        if self._is_read_only or connections[self._using].in_atomic_block:
            self._apply()
            return
        try:
            with ExitStack() as stack:
                lock = self._enter(stack)
                under_way = stack.enter_context(bound_executor(lock.check if lock is not None else _no_guard))
                self._migrate(Attempts(lock, self._limits, under_way, self._report))
        except (LockError, record.DeployError) as error:
            raise CommandError(make_lines_visible(str(error))) from error
        except GoLiveError as error:
            raise CommandError(
                f"Migrated, but the deploy is not recorded: {make_visible(str(error))} Run migrate again."
            ) from error

    def _audit(self) -> None:
        """Raise CommandError for a broken graph, or a change of what was released, before anything is touched."""
        try:
            report = project_graph.audit_project()
        except UnusableLockError as error:
            raise CommandError(
                f"What was released cannot be read, and nothing was applied: {make_visible(str(error))}."
            ) from None
        except UnusableInputError as error:
            # Migrations without source files can still run; the checklist reports this as a blocker.
            self._warn(f"The migrations could not be audited: {make_visible(str(error))}.")
            return
        if errors := project_graph.list_errors(report):
            lines = "\n  ".join(make_visible(error) for error in errors)
            raise CommandError(
                f"The graph of migrations is not sound, and nothing was applied:\n  {lines}\n"
                "`manage.py audit_migrations` names the edit that broke it."
            )
        for known in project_graph.list_known_errors(report):
            self._warn(f"A known error of the migrations: {make_visible(known)}")

    def _enter(self, stack: ExitStack) -> MigrationLock | None:
        """Acquire the lock and prepare the connection; None for a database without such a lock."""
        using, limits = self._using, self._limits
        connection = connections[using]
        if connection.vendor != "postgresql":
            return None
        stack.enter_context(direct_connection(using))
        lock = MigrationLock(
            libpq_parameters(connection.get_connection_params()),
            find_table=lambda: prepare_table(using, limit_seconds=ANSWER_SECONDS),
            role=connection.settings_dict["OPTIONS"].get("assume_role"),
            timeout_seconds=limits.lock_seconds,
            watch_seconds=min(WATCH_SECONDS, limits.ddl_lock_ms / 4000),
            report=self._report,
        )
        stack.enter_context(lock)
        stack.enter_context(working_session(using, lock, limits))
        return lock

    def _migrate(self, attempts: Attempts) -> None:
        shown: list[str] = []

        def apply() -> None:
            if self._is_ours and self._is_forward:
                warnings = record.check_before(
                    self._using, app=self._app_label, is_initial_faked=self._is_initial_faked
                )
                for warning in (text for text in warnings if text not in shown):
                    self._warn(warning)
                    shown.append(warning)
            self._apply()

        attempts.run(apply)
        if attempts.lock is not None:
            attempts.lock.check()
        if self._is_ours and not self._is_fake:
            attempts.run(self._finish)

    def _finish(self) -> None:
        using = self._using
        if record.is_installed(using):
            record.check_after(using)
            difference = record.compare_with_events(using)
            record_deploy(difference, release=getattr(settings, "RELEASE", None), using=using)


def _no_guard() -> None:
    """SQLite allows only one writer at a time anyway."""
