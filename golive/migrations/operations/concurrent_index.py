"""Create and drop indexes while the table is in use, without blocking writers of events, above all a stop.

PostgreSQL's CREATE and DROP INDEX CONCURRENTLY leave an invalid index behind if interrupted, so both operations can be
repeated. They require a migration with `atomic = False`.
"""

from typing import Any

from django.db import NotSupportedError, migrations

# Only on the table in the search path: an index of this name in another schema is not ours.
_EXISTING = """
SELECT i.indisvalid AND i.indisready FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
WHERE c.relname = %s AND i.indrelid = to_regclass(%s)
"""


class AddIndexConcurrently(migrations.AddIndex):
    """AddIndex that rebuilds an invalid index and leaves a valid one alone."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            _add(schema_editor, model, self.index)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            _remove(schema_editor, model, self.index)


class RemoveIndexConcurrently(migrations.RemoveIndex):
    """RemoveIndex that does nothing if the index does not exist."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            _remove(schema_editor, model, self._find_index(app_label, from_state))

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            _add(schema_editor, model, self._find_index(app_label, to_state))

    def _find_index(self, app_label: str, state: Any) -> Any:
        return state.models[app_label, self.model_name_lower].get_index_by_name(self.name)


def _add(schema_editor: Any, model: Any, index: Any) -> None:
    is_valid = _find_existing(schema_editor, model, index.name)
    if is_valid is False:
        _remove(schema_editor, model, index)
    if not is_valid:
        schema_editor.add_index(model, index, **_options(schema_editor))


def _remove(schema_editor: Any, model: Any, index: Any) -> None:
    if _find_existing(schema_editor, model, index.name) is not None:
        schema_editor.remove_index(model, index, **_options(schema_editor))


def _options(schema_editor: Any) -> dict[str, bool]:
    connection = schema_editor.connection
    if connection.vendor != "postgresql":
        return {}
    if connection.in_atomic_block:
        raise NotSupportedError("An index cannot be made concurrently in a transaction: atomic = False is missing.")
    return {"concurrently": True}


def _find_existing(schema_editor: Any, model: Any, name: str) -> bool | None:
    """Whether the index is valid; None if it does not exist."""
    connection, table = schema_editor.connection, model._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql":
            return True if name in connection.introspection.get_constraints(cursor, table) else None
        cursor.execute(_EXISTING, [name, connection.ops.quote_name(table)])
        row = cursor.fetchone()
    return None if row is None else bool(row[0])
