"""`manage.py golive token`: create, list and revoke API tokens."""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from golive.controls import token_changes
from golive.database import installation
from golive.domain.changes import Actor, Channel
from golive.domain.rows import format_time
from golive.domain.scopes import SCOPES
from golive.identity import token_owners, tokens
from golive.models import ApiToken
from golive.text import make_visible

WRONG_USAGE = 2
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def add_token(parser: ArgumentParser, add_actor: Callable[[ArgumentParser], None]) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="create a token; it is shown only once")
    create.add_argument("name", help="who will use it; the record shows it as token:NAME")
    create.add_argument("--scope", action="append", required=True, help=f"one of {', '.join(SCOPES)}; may be repeated")
    create.add_argument("--expires", metavar="TIME", help="12h, 90d or 4w from now (default: never)")
    add_actor(create)
    listing = actions.add_parser("list", help="list all tokens, the revoked ones too")
    listing.add_argument("--json", action="store_true", help="for programs")
    revoke = actions.add_parser("revoke", help="refuse a token from now on, everywhere")
    revoke.add_argument("name")
    add_actor(revoke)


def run_token(command: BaseCommand, options: dict[str, Any], *, read_actor: Callable[[dict[str, Any]], Actor]) -> None:
    """Raises the errors of `golive.controls.token_changes`, CommandError for wrong usage, and database errors."""
    if options["action"] == "create":
        _create(command, options, read_actor(options))
    elif options["action"] == "list":
        _list(command, as_json=options["json"])
    else:
        token = token_changes.revoke_token_named(options["name"], actor=read_actor(options), channel=Channel.CLI)
        command.stderr.write(f"Environment: {installation.describe()}")
        command.stdout.write(f"{token.name}: revoked.")


def _create(command: BaseCommand, options: dict[str, Any], actor: Actor) -> None:
    token, text = token_changes.make_token(
        options["name"],
        scopes=options["scope"],
        actor=actor,
        channel=Channel.CLI,
        expires_in=_read_time(options["expires"]),
    )
    command.stderr.write(
        f"{token.name}: {', '.join(token.scopes)}; expires {format_time(token.expires_at) or 'never'}. "
        f"The token is shown only once.\nEnvironment: {installation.describe()}"
    )
    # The only output on stdout, so that a script can capture it.
    command.stdout.write(text)


def _read_time(text: str | None) -> timedelta | None:
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,5})([hdw])", text, re.ASCII)
    if match is None:
        raise CommandError("--expires takes a number with h, d or w, such as 90d", returncode=WRONG_USAGE)
    return int(match[1]) * _UNITS[match[2]]


def _list(command: BaseCommand, *, as_json: bool) -> None:
    now = datetime.now(UTC)
    faults = token_owners.find_owner_faults(now=now)
    rows = [_describe(token, now, faults.get(token.pk)) for token in tokens.list_tokens()]
    if as_json:
        command.stdout.write(json.dumps(rows, indent=2))
        return
    if not rows:
        command.stdout.write("There are no tokens.")
    for row in rows:
        revoked = f"  revoked by {row['revoked_by'] or 'unknown'}" if row["revoked_at"] else ""
        fault = f"  NOTE: {row['owner_fault']}" if row["owner_fault"] else ""
        line = (
            f"{row['name']:<24} {row['state']:<8} vgl_{row['prefix']}_…  {','.join(map(str, row['scopes']))}  "
            f"expires {row['expires_at'] or 'never'}  used {row['last_used_at'] or 'never'}  by {row['created_by']}"
        )
        command.stdout.write(make_visible(f"{line}{revoked}{fault}"))


def _describe(token: ApiToken, now: datetime, owner_fault: str | None) -> dict[str, Any]:
    return {
        "name": token.name,
        "state": tokens.describe_state(token, now=now),
        "prefix": token.prefix,
        "scopes": token.scopes,
        "created_by": token.created_by,
        "created_at": format_time(token.created_at),
        "expires_at": format_time(token.expires_at),
        "last_used_at": format_time(token.last_used_at),
        "revoked_at": format_time(token.revoked_at),
        "revoked_by": token.revoked_by,
        "owner_fault": owner_fault,
    }
