"""A column that is never dropped while its table stands: the hashes of events are made of what it holds."""

from typing import Any

from django.db import migrations


class AddLastingField(migrations.AddField):
    """As AddField; migrating back leaves the column in the table, and forward again takes it as it is.

    Without its salt no event of version 2 can be verified any more, and the table refuses to have it written again.
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
        """Nothing: an older release works beside a column that it does not know."""
