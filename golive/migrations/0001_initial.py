from django.db import migrations, models

from golive.migrations.adoption.operation import CreateOrAdopt
from golive.migrations.operations.append_only import allow_alteration, refuse_alteration


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Event",
            fields=[
                ("sequence", models.BigIntegerField(primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
                ("actor", models.TextField()),
                ("user_id", models.BigIntegerField(null=True)),
                ("on_behalf_of", models.TextField(null=True)),
                ("channel", models.TextField()),
                ("subject", models.TextField()),
                ("action", models.TextField()),
                ("reason", models.TextField()),
                ("changed", models.BooleanField()),
                ("override", models.BooleanField()),
                ("before", models.JSONField(null=True)),
                ("after", models.JSONField(null=True)),
                ("failed_checks", models.JSONField(null=True)),
                ("request_id", models.TextField(null=True)),
                ("remote_addr", models.TextField(null=True)),
                ("hash_version", models.IntegerField()),
                ("previous_hash", models.TextField(null=True, unique=True)),
                ("hash", models.TextField(unique=True)),
            ],
            options={
                "db_table": "golive_event",
                "ordering": ("-sequence",),
                "default_permissions": ("view",),
                "indexes": [models.Index(fields=["subject", "-sequence"], name="golive_event_subject")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("sequence__gte", 1)), name="golive_event_sequence_positive"
                    )
                ],
            },
        ),
        CreateOrAdopt(
            name="GoLiveState",
            fields=[
                ("id", models.IntegerField(default=1, primary_key=True, serialize=False)),
                ("go_live_enabled", models.BooleanField(db_default=False, default=False)),
                ("kill_switch_engaged", models.BooleanField(db_default=True, default=True)),
                ("changed_by", models.TextField(editable=False, null=True)),
                ("reason", models.TextField(editable=False, null=True)),
                ("updated_at", models.DateTimeField(editable=False, null=True)),
                ("revision", models.BigIntegerField(db_default=1, default=1, editable=False)),
                ("lease_ms", models.IntegerField(db_default=250, default=250, editable=False)),
                ("event_head", models.TextField(editable=False, null=True)),
            ],
            options={
                "verbose_name": "go-live control",
                "verbose_name_plural": "go-live control",
                "db_table": "go_live_state",
                "permissions": (
                    ("engage_kill_switch", "Can engage the kill switch (stop execution)"),
                    ("disable_go_live", "Can disable go-live (stop execution)"),
                    ("release_kill_switch", "Can release the kill switch"),
                    ("enable_go_live", "Can enable go-live"),
                    ("override_checklist", "Can override a failing checklist"),
                ),
                "default_permissions": ("view",),
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("id", 1)), name="go_live_state_singleton"),
                    models.CheckConstraint(
                        condition=models.Q(("lease_ms__range", (0, 5000))), name="go_live_state_lease_range"
                    ),
                ],
            },
        ),
        CreateOrAdopt(
            name="SystemMetadata",
            fields=[
                ("id", models.IntegerField(default=1, primary_key=True, serialize=False)),
                ("version", models.TextField(db_default="1.0.0", default="1.0.0")),
                ("backend_complete", models.BooleanField(db_default=False, default=False)),
                ("notes", models.TextField(blank=True, null=True)),
                ("updated_at", models.DateTimeField(editable=False, null=True)),
                ("completed_at", models.DateTimeField(editable=False, null=True)),
                ("revision", models.BigIntegerField(db_default=1, default=1, editable=False)),
            ],
            options={
                "verbose_name": "system status",
                "verbose_name_plural": "system status",
                "db_table": "system_metadata",
                "permissions": (
                    ("complete_backend", "Can mark the backend complete, reopen it, and edit version and notes"),
                ),
                "default_permissions": ("view",),
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("id", 1)), name="system_metadata_singleton")
                ],
            },
        ),
        migrations.RunPython(refuse_alteration, allow_alteration, elidable=False),
    ]
