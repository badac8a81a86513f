"""Columns that the guarantees of a stop need. All nullable, so that the previous release keeps working."""

from django.db import migrations, models

from golive.migrations.operations.lasting_column import AddLastingField


class Migration(migrations.Migration):
    dependencies = [("golive", "0004_api_tokens")]

    operations = [
        AddLastingField("Event", "salt", models.TextField(null=True)),
        migrations.AddField("GoLiveState", "timeline", models.IntegerField(editable=False, null=True)),
        migrations.AddField("ApiToken", "revoked_by", models.TextField(editable=False, null=True)),
    ]
