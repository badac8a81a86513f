"""A column that outlives a reverse migration, because event hashes are computed from it."""

from typing import Any

from django.db import migrations


class AddLastingField(migrations.AddField):
    """AddField that keeps the column when migrated backwards, and reuses it when migrated forwards again.

    Without its salt no event of version 2 could be verified, and the append-only table would not accept it again.
    """

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        connection = schema_editor.connection
        if not self.allow_migrate_model(connection.alias, model):
            return
        with connection.cursor() as cursor:
            existing = {
                column.name for column in connection.introspection.get_table_description(cursor, model._meta.db_table)
            }
        if self.name not in existing:
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Do nothing: an older release ignores an unknown column."""
