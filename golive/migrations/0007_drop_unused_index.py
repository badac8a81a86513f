"""Drop an unused index that slowed writes down: the last change of a row is looked up by the event's sequence."""

from django.db import migrations

from golive.migrations.operations.concurrent_index import RemoveIndexConcurrently


class Migration(migrations.Migration):
    # DROP INDEX CONCURRENTLY, so that no stop waits for it. If interrupted, it can simply be run again.
    atomic = False

    dependencies = [("golive", "0006_event_indexes")]

    operations = [RemoveIndexConcurrently("Event", "golive_event_changed")]
