"""`manage.py golive token`: make, list and revoke API tokens. The underscore says that it is no command by itself."""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from golive import installation, tokens
from golive.domain.rows import format_time
from golive.domain.scopes import SCOPES
from golive.models import ApiToken

WRONG_USAGE = 2
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def add_token(parser: ArgumentParser, add_actor: Callable[[ArgumentParser], None]) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = actions.add_parser("create", help="make a token; it is shown this once")
    create.add_argument("name", help="who will use it; the record shows it as token:NAME")
    create.add_argument("--scope", action="append", required=True, help=f"one of {', '.join(SCOPES)}; may be repeated")
    create.add_argument("--expires", metavar="TIME", help="12h, 90d or 4w from now (default: never)")
    add_actor(create)
    listing = actions.add_parser("list", help="list all tokens, the revoked ones too")
    listing.add_argument("--json", action="store_true", help="for programs")
    revoke = actions.add_parser("revoke", help="refuse a token from now on, everywhere")
    revoke.add_argument("name")


def run_token(command: BaseCommand, options: dict[str, Any], *, actor_name: Callable[[dict[str, Any]], str]) -> None:
    """Raises InvalidRequestError for what a rule refuses, CommandError for wrong usage, and database errors."""
    if options["action"] == "create":
        _create(command, options, actor_name(options))
    elif options["action"] == "list":
        _list(command, as_json=options["json"])
    else:
        token = tokens.revoke_token(options["name"])
        command.stderr.write(f"Environment: {installation.describe()}")
        command.stdout.write(f"{token.name}: revoked.")


def _create(command: BaseCommand, options: dict[str, Any], created_by: str) -> None:
    token, text = tokens.make_token(
        options["name"], scopes=options["scope"], created_by=created_by, expires_in=_read_time(options["expires"])
    )
    command.stderr.write(
        f"{token.name}: {', '.join(token.scopes)}; expires {format_time(token.expires_at) or 'never'}. "
        f"The token is shown this once only.\nEnvironment: {installation.describe()}"
    )
    # Alone on its stream, so that a script can take it from there.
    command.stdout.write(text)


def _read_time(text: str | None) -> timedelta | None:
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,5})([hdw])", text, re.ASCII)
    if found is None:
        raise CommandError("--expires takes a number with h, d or w, such as 90d", returncode=WRONG_USAGE)
    return int(found[1]) * _UNITS[found[2]]


def _list(command: BaseCommand, *, as_json: bool) -> None:
    now = datetime.now(UTC)
    rows = [_describe(token, now) for token in tokens.list_tokens()]
    if as_json:
        command.stdout.write(json.dumps(rows, indent=2))
        return
    if not rows:
        command.stdout.write("There are no tokens.")
    for row in rows:
        command.stdout.write(
            f"{row['name']:<24} {row['state']:<8} vgl_{row['prefix']}_…  {','.join(row['scopes'])}  "
            f"expires {row['expires_at'] or 'never'}  used {row['last_used_at'] or 'never'}  by {row['created_by']}"
        )


def _describe(token: ApiToken, now: datetime) -> dict[str, Any]:
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
    }
