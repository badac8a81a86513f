"""`manage.py verify_deployment --url URL`: check a deployment after a deploy."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from golive.deploys.verification import Result, Verifier

FAILED, WRONG_USAGE = 1, 2
_MARKS = {True: "ok", False: "FAIL", None: "skip"}


class Command(BaseCommand):
    help = (
        "Look at a deployment: every endpoint with its latency, rows, schema, event log, served release. "
        "Run it where the service's DATABASE_URL is set. Exit code 0 all well, 1 something failed, 2 wrong usage."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--url", required=True, help="where it is served, such as https://valhalla.onrender.com")
        parser.add_argument("--release", help="the commit that must be served (default: RENDER_GIT_COMMIT)")
        parser.add_argument(
            "--token-file", type=Path, help="a file with a token of scopes read and engage (default: GOLIVE_TOKEN)"
        )
        parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS", help="for each request")
        parser.add_argument("--json", action="store_true", help="results as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        parts = urlsplit(options["url"])
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise CommandError("--url must begin with http:// or https://", returncode=WRONG_USAGE)
        results = Verifier(
            options["url"],
            token=_read_token(options["token_file"]),
            release=options["release"] or getattr(settings, "RELEASE", None),
            timeout_seconds=options["timeout"],
        ).run()
        failed = [result for result in results if result.ok is False]
        if options["json"]:
            self.stdout.write(
                json.dumps({"ok": not failed, "results": [asdict(result) for result in results]}, indent=2)
            )
        else:
            self._print(results)
            skipped = sum(result.ok is None for result in results)
            self.stdout.write(f"\n{len(results) - len(failed) - skipped} ok, {len(failed)} failed, {skipped} skipped")
        if failed:
            self.stdout.flush()
            raise SystemExit(FAILED)

    def _print(self, results: list[Result]) -> None:
        width = max(len(result.id) for result in results)
        for result in results:
            latency = f"{result.latency_ms:7.1f} ms" if result.latency_ms is not None else " " * 10
            self.stdout.write(f"{_MARKS[result.ok]:4}  {result.id:{width}}  {latency}  {result.detail}")


def _read_token(path: Path | None) -> str | None:
    """Read the token from a file or the environment, not from an argument, which every local user can see."""
    if path is None:
        return os.environ.get("GOLIVE_TOKEN", "").strip() or None
    try:
        return path.read_text().strip() or None
    except OSError as error:
        raise CommandError(f"--token-file {path} cannot be read: {error.strerror}", returncode=WRONG_USAGE) from error
