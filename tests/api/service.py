"""The running service for tests of the API: gunicorn on a database of its own, on the vendor that the tests run on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from golive.domain.changes import CHANGES
from golive.domain.scopes import SCOPES
from tests.api.contract import assert_documented
from tests.support.patience import wait_until
from tests.support.postgres import SCHEMES, fresh_database
from tests.support.server import ROOT, GunicornServer, Response, clean_environment, request


@dataclass
class Service:
    """gunicorn and what it needs; every answer of `ask` is held against the OpenAPI document."""

    server: GunicornServer
    environment: dict[str, str]
    _tokens: dict[tuple[str, ...], str] = field(default_factory=dict)

    def manage(self, *arguments: str, code: int = 0) -> str:
        """Run a management command; what it prints."""
        return manage(self.environment, *arguments, code=code)

    def token(self, *scopes: str) -> str:
        """A token with these scopes; none named: with all."""
        scopes = scopes or tuple(SCOPES)
        if scopes not in self._tokens:
            given = [part for scope in scopes for part in ("--scope", scope)]
            self._tokens[scopes] = self.manage("golive", "token", "create", f"t{len(self._tokens)}", *given).strip()
        return self._tokens[scopes]

    def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        content: bytes | str = b"",
        headers: dict[str, str] | None = None,
        timeout: float = 60,
    ) -> Response:
        shown = {"Authorization": f"Bearer {token}"} if token else {}
        given = {"Content-Type": "application/json", **shown, **(headers or {})}
        answer = request(method, self.server.url(path), headers=given, body=content or None, timeout=timeout)
        assert_documented(method, path.partition("?")[0], answer.status, dict(answer.headers.items()), answer.body)
        return answer

    def call(self, name: str, *, token: str | None = None, timeout: float = 60, **fields: Any) -> Response:
        """Ask for a change of the table, with a token that may do everything unless told."""
        change = CHANGES[name]
        content = json.dumps(fields)
        return self.ask(change.method, change.path, token=token or self.token(), content=content, timeout=timeout)

    def allow_execution(self) -> None:
        """All the way toward live, if it is not there."""
        if self.ask("GET", "/gate/").status != 200:
            for name in ("complete", "release", "enable"):
                # Again, if a check of the checklist had no time on a busy machine.
                wait_until(partial(self._is_done, name))

    def _is_done(self, name: str) -> bool:
        answer = self.call(name, reason="ready")
        assert answer.status == 200 or answer.json()["code"] == "CHECKLIST_FAILED", answer.text
        return answer.status == 200

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", "/api/governance/go-live/state").json()
        return found


def manage(environment: dict[str, str], *arguments: str, code: int = 0) -> str:
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=clean_environment(environment), capture_output=True, text=True, check=False
    )
    assert done.returncode == code, f"{' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout


def is_on_postgresql() -> bool:
    return urlsplit(os.environ.get("DATABASE_URL", "")).scheme in SCHEMES


@contextmanager
def running_service(*, workers: int = 2, database_url: str | None = None, **variables: str) -> Iterator[Service]:
    """A service on a migrated database of its own, with patient checks; or on `database_url`, with its own limits."""
    application = "valhalla.wsgi:application" if database_url else "tests.support.patient_wsgi:application"
    with ExitStack() as stack:
        if database_url is None and is_on_postgresql():
            database_url = stack.enter_context(fresh_database("api"))
        elif database_url is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="valhalla-api-"))
            database_url = f"sqlite:///{Path(folder) / 'api.sqlite3'}"
        environment = {"DATABASE_URL": database_url, "SECRET_KEY": "only-for-tests-" + "0" * 40, **variables}
        manage(environment, "migrate", "--noinput")
        server = stack.enter_context(GunicornServer(environment, workers=workers, application=application))
        yield Service(server, environment)


# Still leased, so that a stop has something to outlast, but the tests need not wait long.
SHORT_LEASE_MS = "40"


def find_secrets(text: str) -> list[str]:
    """What looks like a token in a text."""
    return re.findall(r"vgl_[A-Za-z0-9]+_[A-Za-z0-9]+", text)
