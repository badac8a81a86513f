from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("golive", "0003_groups")]

    operations = [
        migrations.CreateModel(
            name="CredentialFailure",
            fields=[
                ("address", models.TextField(primary_key=True, serialize=False)),
                ("failures", models.IntegerField()),
                ("ends_at_ms", models.BigIntegerField()),
            ],
            options={"db_table": "golive_credential_failure", "default_permissions": ()},
        ),
        migrations.CreateModel(
            name="ApiToken",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.TextField()),
                ("prefix", models.TextField(editable=False, unique=True)),
                ("secret_hash", models.TextField(editable=False)),
                ("scopes", models.JSONField()),
                ("created_by", models.TextField(editable=False)),
                ("created_at", models.DateTimeField(editable=False)),
                ("expires_at", models.DateTimeField(null=True)),
                ("last_used_at", models.DateTimeField(editable=False, null=True)),
                ("revoked_at", models.DateTimeField(editable=False, null=True)),
            ],
            options={
                "verbose_name": "API token",
                "db_table": "golive_apitoken",
                "ordering": ("name", "-created_at"),
                "permissions": (("revoke_apitoken", "Can revoke API token"),),
                "default_permissions": ("view", "add"),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("revoked_at__isnull", True)),
                        fields=("name",),
                        name="golive_apitoken_name_in_use",
                    )
                ],
            },
        ),
    ]
