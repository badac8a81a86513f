"""`manage.py golive`: inspect and operate the controls from a shell. Works when the web tier is down."""

from __future__ import annotations

import getpass
import json
import re
import socket
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, Error, connections

from golive.controls import holders
from golive.controls.apply import apply_change
from golive.controls.reconcile import reconcile
from golive.database import installation
from golive.database.failures import explain_cause
from golive.domain.changes import (
    ALL_PERMISSIONS,
    CHANGES,
    EDIT,
    LEASE,
    STOP_OF,
    Acknowledgement,
    Actor,
    Change,
    Channel,
    Direction,
)
from golive.domain.decision import Decision, decide
from golive.domain.errors import (
    ChecklistFailedError,
    GoLiveError,
    NotAppliedError,
    RefusedError,
    StateUnknownError,
)
from golive.domain.reasons import MAX_NAME_LENGTH, clean_text
from golive.domain.rows import MAX_LEASE_MS
from golive.management.shell import consent
from golive.management.shell.token_command import WRONG_USAGE, add_token, run_token
from golive.state import history, singletons
from golive.state.export import export_events, write_events
from golive.text import make_visible
from golive.web import representations

ALLOWED, NOT_ALLOWED, UNKNOWN = 0, 1, 2
REFUSED, NOT_APPLIED = 1, 2
DEFAULT_HISTORY_LENGTH = 20
MAX_FORCED = 3


class Command(BaseCommand):
    help = (
        "Show and operate the go-live controls. Exit code of status: 0 allowed, 1 not allowed, 2 unknown; "
        "of all others: 0 done, 1 refused by a rule, 2 not applied, unknown or wrong usage."
    )
    # A stop must not depend on anything else being in order.
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="subcommand", metavar="COMMAND")
        status = commands.add_parser("status", help="say whether execution is allowed")
        status.add_argument("--json", action="store_true", help="the same JSON as /api/status")
        for change in CHANGES.values():
            if change is not EDIT:
                _add_change(
                    commands.add_parser(change.name, help=f"{change.label.lower()}. {change.consequence}"), change
                )
        lease = commands.add_parser("lease", help="set how long an answer may be reused; every stop waits that long")
        lease.add_argument(
            "lease_ms", metavar="MS", help=f"milliseconds, 0 to {MAX_LEASE_MS}; 0 reads the row each time"
        )
        lease.add_argument("--reason", default="", help="why; may be left out")
        _add_actor(lease)
        listing = commands.add_parser("history", help="list the newest events, newest first")
        listing.add_argument("--json", action="store_true", help="the same JSON as the history endpoint")
        listing.add_argument(
            "--limit", type=int, default=DEFAULT_HISTORY_LENGTH, help="how many events (default %(default)s)"
        )
        listing.add_argument(
            "--verify", action="store_true", help="recompute the whole chain instead; exit code 1 if anything is wrong"
        )
        listing.add_argument(
            "--export",
            metavar="FILE",
            help="write every event instead, oldest first, one JSON object a line, over FILE if it exists (- for "
            "standard output); `python golive/verify_record.py FILE` verifies it anywhere",
        )
        reconcile = commands.add_parser("reconcile", help="record a row that was changed by SQL")
        reconcile.add_argument("--reason", required=True, help="what happened and why")
        _add_actor(reconcile)
        add_token(commands.add_parser("token", help="make, list and revoke API tokens"), _add_actor)

    def handle(self, *args: Any, **options: Any) -> None:
        name: str | None = options["subcommand"]
        if name is None:
            self.stderr.write(self.create_parser("manage.py", "golive").format_help(), style_func=str)
            self._exit(WRONG_USAGE)
        handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "status": self._show_status,
            "history": self._show_history,
            "reconcile": self._reconcile,
            "lease": self._set_lease,
            "token": self._run_token,
        }
        try:
            if name in CHANGES:
                self._apply(CHANGES[name], options)
            else:
                handlers[name](options)
        except RefusedError as error:
            raise CommandError(_describe_error(error, name), returncode=REFUSED) from error
        except GoLiveError as error:
            raise CommandError(_describe_error(error, name), returncode=NOT_APPLIED) from error
        except Error as error:
            detail = explain_cause(error, using=DEFAULT_DB_ALIAS)
            raise CommandError(make_visible(f"STATE_UNKNOWN: {detail}"), returncode=UNKNOWN) from error
        except CommandError:
            raise
        except Exception as error:
            # Not 1, which means refused by a rule. Omit the message: a driver's may contain secrets.
            what = f"{type(error).__name__}; --traceback shows where. Look at the state before you rely on a change"
            raise CommandError(f"UNEXPECTED: {what}.", returncode=UNKNOWN) from error
        finally:
            connections.close_all()

    def _show_status(self, options: dict[str, Any]) -> None:
        try:
            go_live, system = singletons.read_both()
        except StateUnknownError as error:
            decision = decide(None)
            if options["json"]:
                unknown = {"system": None, "go_live": None, "execution": representations.execution(decision)}
                release = getattr(settings, "RELEASE", None)
                self._print_json({**unknown, "release": release, "environment": installation.environment_name()})
            raise CommandError(make_visible(f"{decision.code}: {error.cause}"), returncode=UNKNOWN) from error
        decision = decide(go_live)
        if options["json"]:
            release = getattr(settings, "RELEASE", None)
            environment = installation.environment_name()
            self._print_json(
                representations.full_status(
                    go_live, system, with_details=True, release=release, environment=environment
                )
            )
        else:
            self.stdout.write(f"{decision.code}: {decision.message}")
            self._print_installation()
            for title, values in (
                ("go_live_state", representations.go_live_state(go_live, with_details=True)),
                ("system_metadata", representations.system_status(system, with_details=True)),
            ):
                self.stdout.write(f"\n{title}")
                for key, value in values.items():
                    self._print_line(f"  {key:20} {'-' if value is None else value}")
        if not decision.allowed:
            self._exit(NOT_ALLOWED)

    def _set_lease(self, options: dict[str, Any]) -> None:
        text: str = options["lease_ms"]
        if not re.fullmatch(r"[0-9]{1,4}", text, re.ASCII) or int(text) > MAX_LEASE_MS:
            raise CommandError(f"MS must be a whole number from 0 to {MAX_LEASE_MS}", returncode=NOT_APPLIED)
        self._apply(LEASE, {**options, "lease_ms": int(text)})

    def _apply(self, change: Change, options: dict[str, Any]) -> None:
        names = ("override", "expected_revision", *change.takes)
        fields = {name: options[name] for name in names if options.get(name) is not None}
        is_blind = change.direction is Direction.LIVE and "expected_revision" not in fields
        if is_blind and consent.is_terminal(self.stdout):
            is_blind = False
            fields["expected_revision"] = consent.ask(change, self.stdout, refused=REFUSED, read_line=_read_line)

        def make() -> Acknowledgement:
            return apply_change(
                change,
                actor=_actor(options),
                reason=options["reason"],
                channel=Channel.CLI,
                fields=fields,
            )

        done = self._apply_by_force(make) if options.get("force") else make()
        for remark in done.notes_on_request:
            self.stderr.write(make_visible(f"Note: {remark}"))
        what = "done" if done.changed else "nothing to change; the request is recorded"
        self.stdout.write(f"{change.name}: {what} (event {done.sequence}).")
        if done.go_live is not None:
            self._print_decision(decide(done.go_live))
            self.stdout.write(f"event_head {done.go_live.event_head}")
        if change.direction is Direction.SAFE:
            self.stdout.write(representations.permits_outstanding(done.permits_outstanding))
        if is_blind and done.changed:
            self.stdout.write(consent.describe_stop(history.find_newest(STOP_OF[change.name], before=done.sequence)))
        self._print_installation()

    def _print_installation(self) -> None:
        self.stdout.write(f"Environment: {installation.describe()}")

    def _apply_by_force(self, make: Callable[[], Acknowledgement]) -> Acknowledgement:
        """Break-glass: end the sessions that block the change and retry, at most MAX_FORCED times."""
        for _ in range(MAX_FORCED):
            try:
                return make()
            except NotAppliedError as error:
                if not any(holder.pid for holder in error.holders):
                    raise
                for ended in holders.end(error.holders):
                    self.stderr.write(make_visible(f"Ended {ended}."))
        return make()

    def _print_decision(self, decision: Decision) -> None:
        self.stdout.write(f"{decision.code}: {decision.message}")

    def _show_history(self, options: dict[str, Any]) -> None:
        if options["export"] is not None:
            self._export(options["export"])
            return
        if options["verify"]:
            self._verify(options)
            return
        if not 1 <= options["limit"] <= 10_000:
            raise CommandError("--limit must be from 1 to 10000", returncode=NOT_APPLIED)
        events, following = history.read_page(limit=options["limit"], before=None)
        if options["json"]:
            self._print_json({"events": events, "next": None if following is None else str(following)})
            return
        for event in events:
            marks = "".join((" (no change)" if not event["changed"] else "", " OVERRIDE" if event["override"] else ""))
            self._print_line(
                f"{event['sequence']:>6}  {event['at']}  {event['actor']} via {event['channel']}  "
                f"{event['action']} {event['subject']}{marks}  {event['reason'] or '-'}"
            )

    def _export(self, name: str) -> None:
        if name == "-":
            write_events(self.stdout.write)
            return
        try:
            count, head = export_events(Path(name))
        except OSError as error:
            reason = make_visible(f"{name} cannot be written: {error.strerror or error}")
            raise CommandError(reason, returncode=NOT_APPLIED) from error
        self._print_line(f"{count} events written to {name}. event_head {head or '-'}")

    def _verify(self, options: dict[str, Any]) -> None:
        verification = history.verify()
        if options["json"]:
            problems = [{"code": p.code, "place": p.place, "detail": p.detail} for p in verification.problems]
            self._print_json({"sound": verification.is_sound, "checked": verification.checked, "problems": problems})
        else:
            for problem in verification.problems:
                self._print_line(f"{problem.code}:{problem.place}: {problem.detail}")
            self.stdout.write(f"{verification.checked} events checked, {len(verification.problems)} problems.")
        if not verification.is_sound:
            self._exit(REFUSED)

    def _reconcile(self, options: dict[str, Any]) -> None:
        recorded = reconcile(actor=_actor(options), reason=options["reason"], channel=Channel.CLI)
        for detail in recorded:
            self._print_line(f"Recorded: {detail}")
        if not recorded:
            self.stdout.write("Nothing to reconcile: chain, event_head and rows agree.")
        self._print_installation()

    def _run_token(self, options: dict[str, Any]) -> None:
        run_token(self, options, read_actor=_actor)

    def _print_line(self, line: str) -> None:
        """Print untrusted text on one line."""
        self.stdout.write(make_visible(line))

    def _print_json(self, values: Any) -> None:
        # ASCII: equivalent JSON, without characters that could reverse text on a screen.
        self.stdout.write(json.dumps(values, indent=2))

    def _exit(self, code: int) -> NoReturn:
        self.stdout.flush()
        raise SystemExit(code)


def _add_change(parser: ArgumentParser, change: Change) -> None:
    needed = "required" if change.is_reason_required else "may be left out"
    # Not argparse's `required`: the domain enforces the rule, with its own exit code.
    parser.add_argument("--reason", default="", help=f"why; {needed}")
    if change.direction is Direction.SAFE:
        parser.add_argument(
            "--force", action="store_true", help="break-glass: end the database sessions that are in the way"
        )
    if change.is_guarded:
        parser.add_argument(
            "--override",
            action="append",
            metavar="ID",
            help="a checklist item that may fail; may be repeated. The event keeps what failed",
        )
    if change.direction is Direction.LIVE:
        parser.add_argument(
            "--expected-revision",
            type=int,
            metavar="N",
            help="the revision that you looked at; refused if it has changed since. Without it, a terminal prompts",
        )
    for name in change.takes:
        parser.add_argument(f"--{name}", help=f"the new {name}")
    _add_actor(parser)


def _add_actor(parser: ArgumentParser) -> None:
    parser.add_argument("--actor", help="who acts (default: user@host)")


def _actor(options: dict[str, Any]) -> Actor:
    """Anybody with a shell here may do everything, and may choose the name."""
    # On one line: the name is shown in lists and logs.
    name = " ".join(clean_text(options.get("actor"), limit=MAX_NAME_LENGTH)[0].split())
    if not name:
        try:
            name = f"{getpass.getuser()}@{socket.gethostname()}"
        except (KeyError, OSError):  # a user id without a name, as in containers
            name = f"unknown@{socket.gethostname()}"
    return Actor(name=name, permissions=ALL_PERMISSIONS)


def _read_line() -> str:
    return sys.stdin.readline()


def _describe_error(error: GoLiveError, name: str) -> str:
    lines = [make_visible(f"{error.code}: {error.detail}")]
    if isinstance(error, ChecklistFailedError):
        lines += [make_visible(f"  {result.id}: {result.detail}") for result in error.failed]
    if isinstance(error, NotAppliedError):
        lines += [make_visible(f"  in the way: {holder}") for holder in error.holders]
    if name != "token":
        lines.append(f"Environment: {installation.describe()}")
    return "\n".join(lines)
