from django.db import migrations

from golive.migrations.operations.seed import seed


class Migration(migrations.Migration):
    dependencies = [("golive", "0001_initial")]

    # No-op in reverse: the rows and the event log stay until the tables are dropped.
    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
