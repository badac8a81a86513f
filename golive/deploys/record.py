"""What a migrate has applied, compared with what the deploy events say; and the checks before and after."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from golive import schema, state
from golive.controls import Difference
from golive.domain.errors import StateUnknownError
from golive.domain.rows import DEPLOY
from golive.migrations._adoption import find_all_faults
from golive.models import Event

APP = "golive"


class DeployError(Exception):
    """A migrate that must not begin, or did not end as it should; the message says what to do."""


def is_installed(using: str) -> bool:
    """Whether all migrations of this app are applied, so that its tables can be expected."""
    loader = MigrationLoader(connections[using])
    leaves = [node for node in loader.graph.leaf_nodes() if node[0] == APP]
    return all(node in loader.applied_migrations for node in leaves)


def compare_with_events(using: str) -> Difference:
    """What differs between the applied migrations and what the deploy events add up to.

    Not what this process did: one that was killed before it could write its event is made up for by the next.
    """
    recorded: set[str] = set()
    for event in Event.objects.using(using).filter(subject=DEPLOY).order_by("sequence"):
        after: dict[str, Any] = event.after or {}
        recorded |= set(after.get("applied", ()))
        recorded -= set(after.get("unapplied", ()))
    applied = {f"{app}.{name}" for app, name in MigrationRecorder(connections[using]).applied_migrations()}
    return Difference(tuple(sorted(applied - recorded)), tuple(sorted(recorded - applied)))


def check_before(using: str) -> list[str]:
    """Refuse what must not begin (DeployError), before anything is altered; returns warnings.

    Migrations that are applied and unknown here mean that a newer release has migrated. With nothing to apply that is a
    rollback, which is fine; with something to apply the two releases have parted, and their order is not known.
    """
    connection = connections[using]
    executor = MigrationExecutor(connection)
    known = set(executor.loader.disk_migrations) | set(executor.loader.replacements)
    replaced = {key for migration in executor.loader.replacements.values() for key in migration.replaces}
    unknown = sorted(
        f"{app}.{name}"
        for app, name in executor.loader.applied_migrations
        if app in executor.loader.migrated_apps and (app, name) not in known | replaced
    )
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    pending = [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
    if unknown and pending:
        raise DeployError(
            f"The database has migrations that this release does not know ({_list(unknown)}), and this release has "
            f"migrations that the database lacks ({_list(pending)}). Deploy a release that has both."
        )
    if (APP, "0001_initial") not in executor.loader.applied_migrations and connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            faults = find_all_faults(cursor)
        if faults:
            raise DeployError(faults)
    if unknown:
        return [
            f"A newer release has migrated this database ({_list(unknown)}); nothing is pending, so this one can run."
        ]
    return []


def _list(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def check_after(using: str) -> None:
    """Raise DeployError unless the tables are as the models say and both rows can be read."""
    faults: list[Any] = schema.find_faults(schema.describe(using=using), using=using)
    try:
        state.read_both(using=using)
    except StateUnknownError as error:
        faults.append(error.detail)
    if faults:
        told = "\n".join(f"  {fault}" for fault in faults)
        raise DeployError(f"The migrations are applied, but the database is not as it must be:\n{told}")
