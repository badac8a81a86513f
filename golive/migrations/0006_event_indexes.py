"""Indexes for the lookups of a stop and of every checklist, so that their cost does not grow with the event log."""

from django.db import migrations, models

from golive.migrations.operations.concurrent_index import AddIndexConcurrently


class Migration(migrations.Migration):
    # CREATE INDEX CONCURRENTLY, so that no stop waits for it. If interrupted, it can simply be run again.
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
