"""An index made while the table is in use: nobody who writes an event, a stop least of all, waits for it."""

from typing import Any

from django.db import NotSupportedError, migrations

# In the search path's own table: an index of this name in another schema is none of ours.
_STANDING = """
SELECT i.indisvalid AND i.indisready FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
WHERE c.relname = %s AND i.indrelid = to_regclass(%s)
"""


class AddIndexConcurrently(migrations.AddIndex):
    """As AddIndex; on PostgreSQL by CREATE INDEX CONCURRENTLY, which cannot be undone as a whole when it fails.

    So it can be repeated: an invalid index, the leftover of a try that was cut off, is dropped and made again, and a
    valid one stays. Needs a migration with `atomic = False`.
    """

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        connection = schema_editor.connection
        if not self.allow_migrate_model(connection.alias, model):
            return
        if connection.vendor != "postgresql":
            self._forwards_at_once(schema_editor, model)
            return
        self._check_not_atomic(connection)
        standing = _find_standing(connection, model._meta.db_table, self.index.name)
        if standing is False:
            schema_editor.remove_index(model, self.index, concurrently=True)
        if standing is not True:
            schema_editor.add_index(model, self.index, concurrently=True)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        connection = schema_editor.connection
        if not self.allow_migrate_model(connection.alias, model):
            return
        if connection.vendor != "postgresql":
            schema_editor.remove_index(model, self.index)
            return
        self._check_not_atomic(connection)
        if _find_standing(connection, model._meta.db_table, self.index.name) is not None:
            schema_editor.remove_index(model, self.index, concurrently=True)

    def _forwards_at_once(self, schema_editor: Any, model: Any) -> None:
        with schema_editor.connection.cursor() as cursor:
            standing = schema_editor.connection.introspection.get_constraints(cursor, model._meta.db_table)
        if self.index.name not in standing:
            schema_editor.add_index(model, self.index)

    def _check_not_atomic(self, connection: Any) -> None:
        if connection.in_atomic_block:
            raise NotSupportedError("An index cannot be made concurrently in a transaction: atomic = False is missing.")


def _find_standing(connection: Any, table: str, name: str) -> bool | None:
    """Whether the index is valid; None if there is none."""
    with connection.cursor() as cursor:
        cursor.execute(_STANDING, [name, connection.ops.quote_name(table)])
        row = cursor.fetchone()
    return None if row is None else bool(row[0])
