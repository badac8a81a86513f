"""Django's executor, but with each migration and its record in one transaction.

Django records a migration with deferred statements (indexes, foreign keys) after its transaction, and so it does with
every unapplied one: a process killed in between leaves a schema from which no later migrate can continue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.core.management.commands import migrate as django_migrate
from django.db.migrations.executor import MigrationExecutor


@dataclass
class UnderWay:
    """The migration being applied or unapplied, None if none is. Stays set when a migration fails.

    A non-atomic migration keeps its partial work when it fails, so it cannot simply be retried.
    """

    migration: str | None = None
    is_atomic: bool = True


class AtomicExecutor(MigrationExecutor):
    """Use it through `bound_executor`, whose guard runs before each migration."""

    guard: Callable[[], None] = staticmethod(lambda: None)
    under_way = UnderWay()

    def apply_migration(self, state: Any, migration: Any, fake: bool = False, fake_initial: bool = False) -> Any:
        self._begin(migration)
        if fake_initial and not fake:
            fake, state = self.detect_soft_applied(state, migration)
        if fake or not self._is_transactional(migration):
            state = super().apply_migration(state, migration, fake=fake)
        else:
            self._report("apply_start", migration)
            with self.connection.schema_editor(atomic=True) as editor:
                state = migration.apply(state, editor)
                _flush(editor)
                self.record_migration(migration)  # type: ignore[call-arg]  # the stubs have an older signature
            self._report("apply_success", migration)
        self.under_way.migration = None
        return state

    def unapply_migration(self, state: Any, migration: Any, fake: bool = False) -> Any:
        self._begin(migration)
        if fake or not self._is_transactional(migration):
            state = super().unapply_migration(state, migration, fake=fake)
        else:
            self._report("unapply_start", migration)
            with self.connection.schema_editor(atomic=True) as editor:
                state = migration.unapply(state, editor)
                _flush(editor)
                for app_label, name in migration.replaces:
                    self.recorder.record_unapplied(app_label, name)
                self.recorder.record_unapplied(migration.app_label, migration.name)
            self._report("unapply_success", migration)
        self.under_way.migration = None
        return state

    def _begin(self, migration: Any) -> None:
        self.guard()
        self.under_way.migration = str(migration)
        self.under_way.is_atomic = self._is_transactional(migration)

    def _report(self, action: str, migration: Any) -> None:
        if self.progress_callback:
            self.progress_callback(action, migration, False)

    def _is_transactional(self, migration: Any) -> bool:
        return bool(migration.atomic and self.connection.features.can_rollback_ddl)


def _flush(editor: Any) -> None:
    statements, editor.deferred_sql = editor.deferred_sql, []
    for statement in statements:
        editor.execute(statement, None)


@contextmanager
def bound_executor(guard: Callable[[], None]) -> Iterator[UnderWay]:
    """Replace the executor in the module of Django's migrate command, which has no hook for it."""

    class Guarded(AtomicExecutor):
        under_way = UnderWay()

    Guarded.guard = staticmethod(guard)
    names = vars(django_migrate)
    original = names["MigrationExecutor"]
    names["MigrationExecutor"] = Guarded
    try:
        yield Guarded.under_way
    finally:
        names["MigrationExecutor"] = original
