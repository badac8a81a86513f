"""Who changes: operators over the API, on the command line, in the admin and by SQL, and what each was told."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from http.cookies import SimpleCookie
from urllib.parse import urlencode

import psycopg

from golive.domain.changes import CHANGES
from golive.domain.rows import GO_LIVE_STATE
from tests.consistency.journal import Journal, now
from tests.consistency.record import Operation, Outcome
from tests.support.server import ROOT, Response, clean_environment, request

TIMEOUT_SECONDS = 12.0
NOT_APPLIED, NOTHING, NO_PERMIT = "NOT_APPLIED", "Nothing to reconcile", "No permit is held."
LOGIN, STATE = "/admin/login/", "/api/governance/go-live/state"
USERNAME, PASSWORD = "ann", "only-for-tests-0123456789"
_PAGES = {True: "/admin/golive/golivestate/", False: "/admin/golive/systemmetadata/"}
_SQL = {
    "engage": "kill_switch_engaged = true",
    "disable": "go_live_enabled = false",
    "release": "kill_switch_engaged = false",
    "enable": "go_live_enabled = true",
}

Told = tuple[Outcome, str]


class Operators:
    """`ask(channel, name)` makes one change by one channel, writes down what came of it, and returns that.

    `url_of` gives the address of a path on one of the services, at random. Never raises for what a service does.
    """

    def __init__(
        self, journal: Journal, environment: Mapping[str, str], token: str, url_of: Callable[[str], str]
    ) -> None:
        self._journal, self._environment, self._token, self._url_of = journal, environment, token, url_of
        self._session = threading.Lock()
        self._cookies: dict[str, str] = {}
        # The marks of stops that were acknowledged with no permit outstanding.
        self._without_permits: set[str] = set()
        self._channels: dict[str, Callable[[str, str, int | None], Told]] = {
            "api": self._ask_api,
            "admin": self._ask_admin,
            "cli": self._ask_cli,
            "sql": self._ask_sql,
        }

    def ask(self, channel: str, name: str, *, revision: int | None = None) -> Operation:
        """`revision` is the `expected_revision`, for the channels that know it."""
        return self._note(channel, name, lambda mark: self._channels[channel](name, mark, revision))

    def set_lease(self, lease_ms: int) -> Operation:
        return self._note("cli", f"lease {lease_ms}", lambda mark: self._run("lease", str(lease_ms), "--reason", mark))

    def reconcile(self) -> Operation:
        """Record what SQL has changed; NOTHING is its detail where another change has recorded that already."""
        return self._note("cli", "reconcile", lambda mark: self._run("reconcile", "--reason", mark))

    def look(self) -> int | None:
        """The revision that an operator sees now; None where nobody answers."""
        try:
            revision = request("GET", self._url_of(STATE), timeout=TIMEOUT_SECONDS).json().get("revision")
        except (OSError, http.client.HTTPException, ValueError):
            return None
        return revision if isinstance(revision, int) else None

    def sign_in(self) -> None:
        """Sign in to the admin over HTTP, as a browser does. Raises OSError and HTTPException."""
        with self._session:
            self._cookies = {}
            self._keep_cookies(request("GET", self._url_of(LOGIN)))
            form = {"username": USERNAME, "password": PASSWORD, "next": "/admin/"}
            answer = self._post(LOGIN, form)
            assert answer.status == http.HTTPStatus.FOUND, answer.text
            self._keep_cookies(answer)

    def _note(self, channel: str, name: str, ask: Callable[[str], Told]) -> Operation:
        mark, sent_at = self._journal.make_mark(), now()
        try:
            outcome, detail = ask(mark)
        except (OSError, http.client.HTTPException, psycopg.Error, subprocess.TimeoutExpired) as error:
            outcome, detail = Outcome.UNKNOWN, repr(error)
        ended = mark in self._without_permits
        return self._journal.add_operation(Operation(mark, name, channel, sent_at, now(), outcome, detail, ended))

    def _ask_api(self, name: str, mark: str, revision: int | None) -> Told:
        change = CHANGES[name]
        fields = {"reason": mark} if revision is None else {"reason": mark, "expected_revision": revision}
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        url = self._url_of(change.path)
        answer = request(change.method, url, headers=headers, body=json.dumps(fields), timeout=TIMEOUT_SECONDS)
        if answer.status == http.HTTPStatus.OK:
            if answer.json().get("permits_outstanding") == 0:
                self._without_permits.add(mark)
            return Outcome.ACKNOWLEDGED, str(answer.json().get("lease_ms", ""))
        is_refused = 400 <= answer.status < 500 or answer.json().get("code") == NOT_APPLIED
        return Outcome.NOT_DONE if is_refused else Outcome.UNKNOWN, f"{answer.status} {answer.text[:300]}"

    def _ask_admin(self, name: str, mark: str, revision: int | None) -> Told:
        page = _PAGES[CHANGES[name].subject == GO_LIVE_STATE]
        form = {"reason": mark} if revision is None else {"reason": mark, "expected_revision": str(revision)}
        answer = self._post(f"{page}apply/{name}/", form)
        # Done, the page is shown again; refused, it is the answer itself.
        if answer.status == http.HTTPStatus.FOUND and answer.headers["Location"] == page:
            return Outcome.ACKNOWLEDGED, ""
        is_refused = answer.status < 500
        return Outcome.NOT_DONE if is_refused else Outcome.UNKNOWN, f"{answer.status} {answer.headers['Location']}"

    def _ask_cli(self, name: str, mark: str, revision: int | None) -> Told:
        return self._run(name, "--reason", mark)

    def _ask_sql(self, name: str, mark: str, revision: int | None) -> Told:
        """Break-glass: never acknowledged, since nothing waits for the readers."""
        with psycopg.connect(self._environment["DATABASE_URL"], connect_timeout=3) as connection:
            connection.execute("SET statement_timeout = '4s'")
            query = f"UPDATE go_live_state SET {_SQL[name]}, reason = %s, revision = revision + 1 WHERE id = 1"
            connection.execute(query.encode(), [mark])
        return Outcome.UNKNOWN, "SQL"

    def _run(self, *arguments: str) -> Told:
        command = [sys.executable, "-m", "tests.consistency.manage", "golive", *arguments]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=clean_environment(self._environment),
            capture_output=True,
            text=True,
            timeout=3 * TIMEOUT_SECONDS,
            check=False,
        )
        if done.returncode == 0:
            # Where there is nothing to reconcile nothing is written.
            if NOTHING in done.stdout:
                return Outcome.NOT_DONE, NOTHING
            if NO_PERMIT in done.stdout:
                self._without_permits.add(arguments[-1])
            return Outcome.ACKNOWLEDGED, ""
        is_refused = done.returncode == 1 or NOT_APPLIED in done.stderr
        return Outcome.NOT_DONE if is_refused else Outcome.UNKNOWN, done.stderr.strip()[-300:]

    def _post(self, path: str, form: Mapping[str, str]) -> Response:
        cookies = dict(self._cookies)
        content = urlencode({**form, "csrfmiddlewaretoken": cookies.get("csrftoken", "")})
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
        }
        return request("POST", self._url_of(path), headers=headers, body=content, timeout=TIMEOUT_SECONDS)

    def _keep_cookies(self, answer: Response) -> None:
        for line in answer.headers.get_all("Set-Cookie") or ():
            self._cookies |= {name: morsel.value for name, morsel in SimpleCookie(line).items()}
