"""Verify a deployment from outside and through its database: are its answers correct, and is it the right release?"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from django.db import DEFAULT_DB_ALIAS, Error

from golive.database import schema
from golive.deploys.client import Answer, send
from golive.deploys.endpoints import ENDPOINTS, STATE_PATH, Endpoint
from golive.domain.changes import ENGAGE
from golive.domain.errors import StateUnknownError
from golive.domain.rows import GO_LIVE_STATE
from golive.state import history, singletons

logger = logging.getLogger(__name__)

# Slower is a failure: consumers time out, and even without a database an answer must come within 3 s (promise 2 of
# docs/explain/design.md).
MAX_LATENCY_MS = 3_000.0
GOOD_REQUESTS = 8

_JSON = {"Content-Type": "application/json"}
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Result:
    """The result of one check. `ok` None: skipped, and `detail` says why."""

    id: str
    ok: bool | None
    detail: str
    latency_ms: float | None = None


class Verifier:
    """Runs all checks against `url`. `token` is used for reads and for the no-op engage."""

    def __init__(self, url: str, *, token: str | None, release: str | None, timeout_seconds: float) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._release = release
        self._timeout_seconds = timeout_seconds

    def run(self) -> list[Result]:
        return list(self._run())

    def _run(self) -> Iterator[Result]:
        address = self._check_address()
        yield address
        if address.ok:
            yield from self._check_service()
        yield _guard("schema", _check_schema)
        yield _guard("events", _check_events)

    def _check_service(self) -> Iterator[Result]:
        if self._token is not None:
            token = self._check_token()
            yield token
            if not token.ok:
                # Sending it repeatedly would exhaust the failed attempts that an address is allowed.
                self._token = None
        for endpoint in ENDPOINTS:
            yield self._check_endpoint(endpoint)
        yield self._check_heads()
        yield self._check_entity_tag()
        yield self._check_recovery()
        yield self._check_stop_possible()
        yield self._check_release()
        yield _guard("rows", self._check_rows)
        yield _guard("engage-no-op", self._check_engage)

    def _send(self, path: str, headers: Mapping[str, str], *, method: str = "GET", body: bytes | None = None) -> Answer:
        authorization = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        return send(
            self._url + path,
            method=method,
            headers={**authorization, **headers},
            body=body,
            timeout_seconds=self._timeout_seconds,
        )

    def _get(self, path: str, **headers: str) -> Answer:
        return self._send(path, headers)

    def _check_address(self) -> Result:
        """The address answers without redirecting; asked without the token, which must not reach a wrong host."""
        answer = send(self._url + "/", headers={"Accept": "application/json"}, timeout_seconds=self._timeout_seconds)
        name = "address"
        if answer.error:
            return Result(name, False, f"no answer: {answer.error}")
        if answer.status in _REDIRECTS:
            target = answer.headers.get("Location", "?")
            return Result(name, False, f"{answer.status} to {target}; give that address as --url", answer.latency_ms)
        return Result(name, answer.status == 200, str(answer.status), answer.latency_ms)

    def _check_token(self) -> Result:
        answer = self._get(STATE_PATH)
        is_accepted = answer.status not in (401, 403, 429)
        reason = (answer.json() or {}).get("detail", "")
        return Result(
            "token",
            is_accepted,
            "accepted" if is_accepted else f"{answer.status}: rejected. {reason}".strip(),
            answer.latency_ms,
        )

    def _check_endpoint(self, endpoint: Endpoint) -> Result:
        headers, body = {"Accept": endpoint.accept}, None
        if endpoint.method == "POST":
            headers, body = {**headers, **_JSON}, b'{"context": {}}'
        answer = self._send(endpoint.path, headers, method=endpoint.method, body=body)
        name = f"{endpoint.method} {endpoint.path}" + (" (page)" if endpoint.accept == "text/html" else "")
        return Result(name, *self._judge(endpoint, answer), latency_ms=answer.latency_ms)

    def _judge(self, endpoint: Endpoint, answer: Answer) -> tuple[bool, str]:
        if answer.error:
            return False, f"no answer: {answer.error}"
        if answer.status in _REDIRECTS:
            return False, f"{answer.status} to {answer.headers.get('Location', '?')}"
        if answer.status not in endpoint.statuses:
            return False, f"{answer.status}, not {' or '.join(map(str, endpoint.statuses))}"
        if answer.status == 401:
            return self._token is None and isinstance(answer.json(), dict), "401: asks for credentials"
        fault = self._find_fault(endpoint, answer)
        return fault is None, fault or str(answer.status)

    def _find_fault(self, endpoint: Endpoint, answer: Answer) -> str | None:
        content_type = answer.headers.get("Content-Type", "")
        if not content_type.startswith(endpoint.content_type):
            return f"the content type is {content_type or 'missing'}, not {endpoint.content_type}"
        if endpoint.accept == "application/json" and not endpoint.is_valid(answer.json()):
            return "the answer is not what the contract says"
        missing = [name for name in endpoint.headers if name not in answer.headers]
        if missing:
            return f"without {', '.join(missing)}"
        if answer.latency_ms > MAX_LATENCY_MS:
            return f"took {answer.latency_ms:.0f} ms, more than {MAX_LATENCY_MS:.0f}"
        return None

    def _check_heads(self) -> Result:
        """Every GET answers HEAD, without a body."""
        wrong = []
        for endpoint in ENDPOINTS:
            if endpoint.method == "GET":
                answer = self._send(endpoint.path, {"Accept": endpoint.accept}, method="HEAD")
                if answer.status not in endpoint.statuses or answer.body:
                    wrong.append(f"{endpoint.path}: {answer.status} and {len(answer.body)} bytes")
        return Result("heads", not wrong, "; ".join(wrong) or "as GET, without a body")

    def _check_entity_tag(self) -> Result:
        first = self._get(STATE_PATH)
        if first.status == 401:
            return Result("entity-tag", None, "reading the state asks for credentials; give a token")
        tag = first.headers.get("ETag", "")
        second = self._get(STATE_PATH, **{"If-None-Match": tag})
        is_same = second.status == 304 or second.headers.get("ETag") != tag  # changed in between
        return Result(
            "entity-tag", bool(tag) and is_same, f"ETag {tag or 'missing'}, then {second.status}", second.latency_ms
        )

    def _check_recovery(self) -> Result:
        """A failed request must not poison the connection for those that follow."""
        bad = [self._get("/api/governance/go-live/history?limit=-1").status, self._get("/api/no-such-path").status]
        good = [self._get("/readyz").status for _ in range(GOOD_REQUESTS)]
        is_right = bad[0] in (401, 422) and bad[1] == 404 and set(good) == {200}
        return Result("good-after-bad", is_right, f"{bad} refused, then {good}")

    def _check_stop_possible(self) -> Result:
        """The service rehearses a stop: that it cannot be written must be known before somebody needs it."""
        check = ((self._get("/readyz").json() or {}).get("checks") or {}).get("stop_possible")
        if not isinstance(check, dict):
            return Result("stop-possible", False, "/readyz does not say whether a stop can be written")
        return Result("stop-possible", check.get("ok") is True, str(check.get("detail")))

    def _check_release(self) -> Result:
        served = (self._get("/readyz").json() or {}).get("release")
        if self._release is None:
            return Result("release", None, f"serves {served}; no expected release was given (--release)")
        return Result("release", served == self._release, f"serves {served}, expected {self._release}")

    def _check_rows(self) -> Result:
        """The service must serve the row of this database, not of another one."""
        try:
            row = singletons.read_go_live()
        except StateUnknownError as error:
            return Result("rows", False, error.detail)
        answer = self._get(STATE_PATH)
        if answer.status == 401:
            why = "reading asks for credentials, so it cannot be compared with this database; give a token to read with"
            return Result("rows", False, why)
        served = answer.json() or {}
        mine = (row.revision, row.event_head)
        again = singletons.read_go_live()
        is_same = (served.get("revision"), served.get("event_head")) in (mine, (again.revision, again.event_head))
        return Result("rows", is_same, f"revision {served.get('revision')} is served, the database has {row.revision}")

    def _check_engage(self) -> Result:
        """Engage an engaged switch: it exercises the whole path of a stop without stopping anything."""
        name = "engage-no-op"
        if self._token is None:
            return Result(name, None, "no token was given (--token-file)")
        served = self._get(STATE_PATH).json() or {}
        if served.get("kill_switch_engaged") is not True:
            return Result(name, None, "the kill switch is released, and engaging it would stop execution")
        body = json.dumps({"reason": "verify_deployment: engage, already engaged"}).encode()
        answer = self._send(ENGAGE.path, _JSON, method="POST", body=body)
        acknowledged = answer.json() or {}
        newest = history.newest_event(subject=GO_LIVE_STATE)
        is_recorded = (
            newest is not None and newest.action == ENGAGE.name and newest.reason.startswith("verify_deployment")
        )
        detail = (
            answer.error
            or f"{answer.status}, changed {acknowledged.get('changed')}, {'' if is_recorded else 'not '}recorded"
        )
        return Result(
            name,
            answer.status == 200 and acknowledged.get("changed") is False and is_recorded,
            detail,
            answer.latency_ms,
        )


def _guard(name: str, check: Callable[[], Result]) -> Result:
    """Run a check; one that raises counts as failed."""
    try:
        return check()
    except Exception as error:
        logger.warning("the check %s could not run", name, exc_info=True)
        return Result(name, False, f"could not run ({type(error).__name__})")


def _check_schema() -> Result:
    try:
        described = schema.describe(using=DEFAULT_DB_ALIAS)
    except Error as error:
        return Result("schema", False, f"the database cannot be asked ({type(error).__name__})")
    faults = schema.find_faults(described)
    return Result("schema", not faults, "; ".join(faults) or f"fingerprint {schema.fingerprint(described)}")


def _check_events() -> Result:
    try:
        verdict = history.verify()
    except Error as error:
        return Result("events", False, f"the record cannot be read ({type(error).__name__})")
    problems = "; ".join(problem.detail for problem in verdict.problems[:5])
    return Result("events", verdict.is_sound, problems or f"{verdict.checked} events, the chain and the rows agree")
