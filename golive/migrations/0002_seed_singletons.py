from django.db import migrations

from golive.migrations.operations.seed import seed


class Migration(migrations.Migration):
    dependencies = [("golive", "0001_initial")]

    # Backward nothing: the rows and the record stay until the tables go.
    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
