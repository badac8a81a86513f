"""Create two groups for operators. Only created here: an administrator's later changes to them are preserved."""

from typing import Any

from django.db import migrations

_PERMISSIONS = {
    "golivestate": {
        "view_golivestate": "Can view go-live control",
        "engage_kill_switch": "Can engage the kill switch (stop execution)",
        "disable_go_live": "Can disable go-live (stop execution)",
        "release_kill_switch": "Can release the kill switch",
        "enable_go_live": "Can enable go-live",
    },
    "systemmetadata": {
        "view_systemmetadata": "Can view system status",
        "complete_backend": "Can mark the backend complete, reopen it, and edit version and notes",
    },
    "event": {"view_event": "Can view event"},
}
_OPERATORS = ("view_golivestate", "view_systemmetadata", "view_event", "engage_kill_switch", "disable_go_live")


def make_groups(apps: Any, schema_editor: Any) -> None:
    alias = schema_editor.connection.alias
    content_types = apps.get_model("contenttypes", "ContentType").objects.using(alias)
    permissions = apps.get_model("auth", "Permission").objects.using(alias)
    groups = apps.get_model("auth", "Group").objects.using(alias)
    created_permissions = {}
    # Django creates permissions only after all migrations, and keeps existing ones.
    for model, names in _PERMISSIONS.items():
        content_type, _ = content_types.get_or_create(app_label="golive", model=model)
        for codename, name in names.items():
            created_permissions[codename], _ = permissions.get_or_create(
                content_type=content_type, codename=codename, defaults={"name": name}
            )
    for group_name, codenames in (("Operators", _OPERATORS), ("Release managers", tuple(created_permissions))):
        group, created = groups.get_or_create(name=group_name)
        if created:
            group.permissions.set([created_permissions[codename] for codename in codenames])


class Migration(migrations.Migration):
    dependencies = [
        ("golive", "0002_seed_singletons"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    # No-op in reverse: the groups may have members.
    operations = [migrations.RunPython(make_groups, migrations.RunPython.noop)]
