"""Django's executor, with each migration and its record in one transaction.

Django records a migration that has deferred statements (indexes, foreign keys) after its transaction, and an unapplied
one always so: a process killed in between leaves a schema that no later migrate can go on from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.migrations.executor import MigrationExecutor


class AtomicExecutor(MigrationExecutor):
    """Use it through `bind_guard`, which also asks before each migration whether to go on."""

    guard: Callable[[], None] = staticmethod(lambda: None)

    def apply_migration(self, state: Any, migration: Any, fake: bool = False, fake_initial: bool = False) -> Any:
        self.guard()
        if fake or fake_initial or not self._is_transactional(migration):
            return super().apply_migration(state, migration, fake=fake, fake_initial=fake_initial)
        if self.progress_callback:
            self.progress_callback("apply_start", migration, False)
        with self.connection.schema_editor(atomic=True) as editor:
            state = migration.apply(state, editor)
            _flush(editor)
            self.record_migration(migration)  # type: ignore[call-arg]  # the stubs have an older signature
        if self.progress_callback:
            self.progress_callback("apply_success", migration, False)
        return state

    def unapply_migration(self, state: Any, migration: Any, fake: bool = False) -> Any:
        self.guard()
        if fake or not self._is_transactional(migration):
            return super().unapply_migration(state, migration, fake=fake)
        if self.progress_callback:
            self.progress_callback("unapply_start", migration, False)
        with self.connection.schema_editor(atomic=True) as editor:
            state = migration.unapply(state, editor)
            _flush(editor)
            for app_label, name in migration.replaces:
                self.recorder.record_unapplied(app_label, name)
            self.recorder.record_unapplied(migration.app_label, migration.name)
        if self.progress_callback:
            self.progress_callback("unapply_success", migration, False)
        return state

    def _is_transactional(self, migration: Any) -> bool:
        return bool(migration.atomic and self.connection.features.can_rollback_ddl)


def _flush(editor: Any) -> None:
    statements, editor.deferred_sql = editor.deferred_sql, []
    for statement in statements:
        editor.execute(statement, None)
