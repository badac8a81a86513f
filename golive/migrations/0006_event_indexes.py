"""What a stop and every checklist look up, by index: it costs the same however long the record is."""

from django.db import migrations, models

from golive.migrations.operations.concurrent_index import AddIndexConcurrently


class Migration(migrations.Migration):
    # CREATE INDEX CONCURRENTLY: a stop does not wait for it. Cut off, it is simply run again.
    atomic = False

    dependencies = [("golive", "0005_salt_timeline_revoked_by")]

    operations = [
        AddIndexConcurrently(
            "Event",
            models.Index(
                condition=models.Q(("action__in", ("drift", "reconcile"))),
                fields=["subject", "-sequence"],
                name="golive_event_marks",
            ),
        ),
        AddIndexConcurrently(
            "Event",
            models.Index(
                condition=models.Q(("changed", True)), fields=["subject", "-sequence"], name="golive_event_changed"
            ),
        ),
    ]
