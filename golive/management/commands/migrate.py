"""`manage.py migrate`: the one made safe for deploys where the setting GOLIVE_SAFE_MIGRATE is true.

Where it is not, `migrate` is what it would be if this app were not installed: Django's own, or that of another app.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.management import find_commands
from django.core.management.base import BaseCommand, CommandParser
from django.core.management.commands import migrate as django_migrate

from golive.deploys import safe_migrate
from golive.deploys.connection import Limits
from golive.text import make_lines_visible

LOCK_TIMEOUT_SECONDS = 600.0
# Below the timeout of a read (golive.state.snapshots): readers of a table queue behind a statement that waits to alter
# it, and the service must keep answering.
DDL_LOCK_TIMEOUT_MS = 500
DDL_STATEMENT_TIMEOUT_MS = 300_000
DDL_TRIES = 10


class SafeCommand(django_migrate.Command):
    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--lock-timeout",
            type=_seconds,
            default=LOCK_TIMEOUT_SECONDS,
            metavar="SECONDS",
            help="How long to wait for another migrate to end (PostgreSQL; default %(default)g).",
        )
        parser.add_argument(
            "--ddl-lock-timeout",
            type=_at_least(1),
            default=DDL_LOCK_TIMEOUT_MS,
            metavar="MS",
            help="How long a statement may wait for a lock (PostgreSQL; default %(default)d).",
        )
        parser.add_argument(
            "--ddl-statement-timeout",
            type=_at_least(0),
            default=DDL_STATEMENT_TIMEOUT_MS,
            metavar="MS",
            help="How long one statement may run, 0 for no limit (PostgreSQL; default %(default)d).",
        )
        parser.add_argument(
            "--ddl-tries",
            type=_at_least(1),
            default=DDL_TRIES,
            metavar="N",
            help="How often to try when a lock is not available (PostgreSQL; default %(default)d).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.verbosity = options["verbosity"]
        limits = Limits(
            options["lock_timeout"],
            options["ddl_lock_timeout"],
            options["ddl_statement_timeout"],
            options["ddl_tries"],
        )

        def apply() -> None:
            super(SafeCommand, self).handle(*args, **options)

        safe_migrate.SafeMigrate(options, limits, apply=apply, report=self._report, warn=self._warn).run()

    def _report(self, text: str) -> None:
        if self.verbosity >= 1:
            self.stdout.write(make_lines_visible(text))
            self.stdout.flush()

    def _warn(self, text: str) -> None:
        if self.verbosity >= 1:
            self.stderr.write(self.style.WARNING(make_lines_visible(text)))


def __getattr__(name: str) -> Any:
    # Django asks for `Command` when it runs it. By then all apps are there, and another app's may extend ours.
    if name == "Command":
        return SafeCommand if safe_migrate.is_wanted() else _find_next_command()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _find_next_command() -> type[BaseCommand]:
    """What `migrate` is without this app: that of the first other app that has one, or Django's."""
    for config in apps.get_app_configs():
        if not __name__.startswith(f"{config.name}.") and "migrate" in find_commands(
            str(Path(config.path, "management"))
        ):
            command: type[BaseCommand] = import_module(f"{config.name}.management.commands.migrate").Command
            return command
    return django_migrate.Command


def _seconds(text: str) -> float:
    with suppress(ValueError):
        value = float(text)
        if math.isfinite(value) and value >= 0:
            return value
    raise argparse.ArgumentTypeError("must be a number of seconds, 0 or more")


def _at_least(minimum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        with suppress(ValueError):
            if int(text) >= minimum:
                return int(text)
        raise argparse.ArgumentTypeError(f"must be a whole number, {minimum} or more")

    return parse
