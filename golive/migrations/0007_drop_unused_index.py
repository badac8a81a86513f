"""Who changed a row last is looked up by the number of the event, so this index only made writes dearer."""

from django.db import migrations

from golive.migrations.operations.concurrent_index import RemoveIndexConcurrently


class Migration(migrations.Migration):
    # DROP INDEX CONCURRENTLY: a stop does not wait for it. Cut off, it is simply run again.
    atomic = False

    dependencies = [("golive", "0006_event_indexes")]

    operations = [RemoveIndexConcurrently("Event", "golive_event_changed")]
