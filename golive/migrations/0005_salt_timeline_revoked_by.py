"""Columns that the stop's promises need: all nullable, so that a release before this one goes on working."""

from django.db import migrations, models

from golive.migrations.operations.lasting_column import AddLastingField


class Migration(migrations.Migration):
    dependencies = [("golive", "0004_api_tokens")]

    operations = [
        AddLastingField("Event", "salt", models.TextField(null=True)),
        migrations.AddField("GoLiveState", "timeline", models.IntegerField(editable=False, null=True)),
        migrations.AddField("ApiToken", "revoked_by", models.TextField(editable=False, null=True)),
    ]
