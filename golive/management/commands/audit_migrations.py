"""`manage.py audit_migrations [PATH]`: is the migration graph sound, and if not, which edit broke it?"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from golive.migration_graph import cli
from golive.migration_graph.cli import Options
from golive.migration_graph.model import AppliedRows, Kind


class Command(BaseCommand):
    help = (
        "Audit the graph of migrations, of Alembic or Django, without importing or running them. "
        "Exit code 0 sound, 1 errors found, 2 unusable input. docs/migrations/findings.md explains every finding."
    )
    # Must work when nothing else does: without a database, and with migrations that cannot be loaded.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        cli.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        code = cli.run(
            Options.choose(options),
            default_path=str(getattr(settings, "BASE_DIR", ".")),
            read_applied=_read_applied,
            out=self.stdout,
            errors=self.stderr,
            is_coloured=_choose_colour(options),
        )
        if code:
            self.stdout.flush()
            raise SystemExit(code)


def _read_applied(url: str, kind: Kind) -> AppliedRows:
    # Imported lazily, so that a plain audit does not load the database drivers.
    from golive.database.applied_migrations import read_applied

    return read_applied(url, kind)


def _choose_colour(options: dict[str, Any]) -> bool | None:
    if options["no_color"] or options["force_color"]:
        return bool(options["force_color"])
    return None
