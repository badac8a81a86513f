"""Compare the applied migrations with the deploy events; checks before and after a migrate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.db import connections, router
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from golive.database import schema
from golive.domain.deploys import Difference
from golive.domain.errors import StateUnknownError
from golive.domain.rows import DEPLOY
from golive.migrations.adoption.operation import find_all_faults
from golive.models import SINGLETON_ID, Event, GoLiveState, SystemMetadata
from golive.state import failover, singletons
from golive.text import make_visible

APP = "golive"
_MAX_NAMES = 8
_ROW_MISSING = (
    "row 1 is missing, and migrate makes it only once. Remedy: INSERT INTO TABLE (id) VALUES (1), "
    "then `manage.py golive reconcile --reason ...`"
)


class DeployError(Exception):
    """A migrate must not begin, or did not end as it should; the message says what to do."""


def is_kept_in(using: str) -> bool:
    """Whether this app has its tables in that database, according to the project's routers."""
    return router.allow_migrate_model(using, Event)


def is_installed(using: str) -> bool:
    """Whether all migrations of this app are applied, so that its tables must exist."""
    loader = MigrationLoader(connections[using])
    leaves = [node for node in loader.graph.leaf_nodes() if node[0] == APP]
    return all(node in loader.applied_migrations for node in leaves)


def compare_with_events(using: str) -> Difference:
    """The difference between the applied migrations and the sum of all deploy events.

    Not just what this process did: if one was killed before writing its event, the next one makes up for it.
    """
    recorded: set[str] = set()
    for event in Event.objects.using(using).filter(subject=DEPLOY).order_by("sequence"):
        after: dict[str, Any] = event.after or {}
        recorded |= set(after.get("applied", ()))
        recorded -= set(after.get("unapplied", ()))
    applied = {f"{app}.{name}" for app, name in MigrationRecorder(connections[using]).applied_migrations()}
    return Difference(tuple(sorted(applied - recorded)), tuple(sorted(recorded - applied)))


def check_before(using: str, *, app: str | None, is_initial_faked: bool) -> list[str]:
    """Raise DeployError if a migrate must not begin, before anything is altered; returns warnings. `app` None: all.

    Applied migrations that are unknown here come from a newer release. With nothing pending this is a rollback, which
    is fine; with pending migrations the two releases have diverged, and the order of their migrations is unknown.
    """
    connection = connections[using]
    executor = MigrationExecutor(connection)
    unknown = _find_unknown(executor.loader)
    leaves = [leaf for leaf in executor.loader.graph.leaf_nodes() if app in (None, leaf[0])]
    pending = [f"{migration.app_label}.{migration.name}" for migration, _ in executor.migration_plan(leaves)]
    if unknown and pending:
        raise DeployError(
            f"The database has migrations that this release does not know ({_list(unknown)}), and this release has "
            f"migrations that the database lacks ({_list(pending)}). Nothing was changed. Deploy a release that has "
            "both. Unknown ones that were removed on purpose, as after a squash, can be forgotten: migrate APP --prune."
        )
    is_adopting = f"{APP}.0001_initial" in pending and not is_initial_faked
    if is_adopting:
        with connection.cursor() as cursor:
            faults = find_all_faults(cursor)
        if faults:
            raise DeployError(faults)
    if unknown:
        return [
            f"A newer release has migrated this database ({_list(unknown)}); nothing is pending, so this one can run."
        ]
    return []


def _find_unknown(loader: MigrationLoader) -> list[str]:
    """Applied migrations of this project's apps that have no file, as `app.name`."""
    replaced = {key for migration in loader.replacements.values() for key in migration.replaces}
    known = {*loader.disk_migrations, *loader.replacements, *replaced}
    return sorted(
        f"{app}.{name}" for app, name in set(loader.applied_migrations) - known if app in loader.migrated_apps
    )


def _list(names: Iterable[str]) -> str:
    # Untrusted names, from a database or from files: they must not break the line.
    names = [make_visible(name) for name in names]
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more


def check_after(using: str) -> None:
    """Raise DeployError unless the tables match the models and both rows can be read."""
    faults = schema.find_faults(schema.describe(using=using), using=using)
    readers: tuple[tuple[Any, Callable[..., object]], ...] = (
        (SystemMetadata, singletons.read_system),
        (GoLiveState, singletons.read_go_live),
    )
    for model, read in readers:
        table = model._meta.db_table
        try:
            with failover.disregarded():
                read(using=using)
        except StateUnknownError as error:
            if any(fault.startswith(table) for fault in faults):
                continue  # unreadable because of a fault that is already listed
            if model._default_manager.using(using).filter(pk=SINGLETON_ID).exists():
                faults.append(f"{table}: {error.detail}")
            else:
                faults.append(f"{table}: {_ROW_MISSING.replace('TABLE', table)}")
    if faults:
        lines = "\n".join(f"  {fault}" for fault in faults)
        raise DeployError(f"The migrations are applied, but the database is not as it must be:\n{lines}")
