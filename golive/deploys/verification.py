"""Looking at a deployment from outside and from its database: is what is served right, and is it the right release?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, Error

from golive import history, schema, state
from golive.deploys.client import Answer, send
from golive.domain.changes import ENGAGE
from golive.domain.errors import StateUnknownError
from golive.domain.rows import GO_LIVE_STATE

# More is a fault: consumers give up, and an answer without a database must come in 3 s (guarantee 2).
LATENCY_LIMIT_MS = 3_000.0
GOOD_AFTER_BAD = 8

_STATE_KEYS = frozenset(
    {
        "go_live_enabled",
        "kill_switch_engaged",
        "changed_by",
        "reason",
        "updated_at",
        "revision",
        "event_head",
        "lease_ms",
        "execution_allowed",
        "code",
    }
)
_SYSTEM_KEYS = frozenset({"version", "backend_complete", "notes", "updated_at", "completed_at", "revision"})
_STATE_PATH = "/api/governance/go-live/state"


@dataclass(frozen=True)
class Result:
    """One check of a deployment. `ok` None: not done, and `detail` says why."""

    id: str
    ok: bool | None
    detail: str
    latency_ms: float | None = None


@dataclass(frozen=True)
class _Endpoint:
    path: str
    statuses: tuple[int, ...]
    content_type: str
    is_right: Callable[[Any], bool] = lambda _: True
    accept: str = "application/json"


def _has(*names: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and set(names) <= set(value)


_ENDPOINTS = (
    *(
        _Endpoint(path, (200,), "application/json", lambda value: value == {"status": "ok"})
        for path in ("/health", "/healthz", "/livez")
    ),
    _Endpoint("/readyz", (200,), "application/json", _has("ok", "checks", "release")),
    _Endpoint("/", (200,), "application/json", lambda value: value == {"ok": True, "service": "valhalla"}),
    _Endpoint("/", (200,), "text/html", accept="text/html"),
    _Endpoint("/api/status", (200, 401), "application/json", _has("system", "go_live", "execution", "release")),
    _Endpoint("/api/system/status", (200, 401), "application/json", _has(*_SYSTEM_KEYS)),
    _Endpoint(_STATE_PATH, (200, 401), "application/json", _has(*_STATE_KEYS)),
    _Endpoint("/api/governance/go-live/checklist", (200, 401), "application/json", _has("ok", "required", "warnings")),
    _Endpoint("/api/governance/go-live/history?limit=1", (200, 401), "application/json", _has("events", "next")),
    _Endpoint(
        "/api/governance/runbook/status",
        (200, 401),
        "application/json",
        _has("generated_at", "blockers", "warnings", "info", "ok_to_enable_go_live"),
    ),
    _Endpoint("/api/governance/runbook/markdown", (200, 401), "text/markdown"),
    _Endpoint("/admin/login/", (200,), "text/html", accept="text/html"),
    _Endpoint("/api/no-such-path", (404,), "application/problem+json", _has("code", "status", "request_id")),
)


class Verifier:
    """Runs all checks against `url`; `results` are in order. `token` is used for reads and for the no-op engage."""

    def __init__(self, url: str, *, token: str | None, release: str | None, timeout_seconds: float) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._release = release
        self._timeout_seconds = timeout_seconds

    def run(self) -> list[Result]:
        return list(self._run())

    def _run(self) -> Iterator[Result]:
        for endpoint in _ENDPOINTS:
            yield self._check_endpoint(endpoint)
        yield self._check_entity_tag()
        yield self._check_recovery()
        yield self._check_stop_possible()
        yield self._check_release()
        yield self._check_rows()
        yield _check_schema()
        yield _check_events()
        yield self._check_engage()

    def _get(self, path: str, **headers: str) -> Answer:
        authorization = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        return send(self._url + path, headers={**authorization, **headers}, timeout_seconds=self._timeout_seconds)

    def _check_endpoint(self, endpoint: _Endpoint) -> Result:
        answer = self._get(endpoint.path, Accept=endpoint.accept)
        name = f"GET {endpoint.path}" + (" (page)" if endpoint.accept == "text/html" else "")
        return Result(name, *self._judge(endpoint, answer), latency_ms=answer.latency_ms)

    def _judge(self, endpoint: _Endpoint, answer: Answer) -> tuple[bool, str]:
        if answer.error:
            return False, f"no answer: {answer.error}"
        if answer.status in (301, 302, 307, 308):
            return False, f"{answer.status} to {answer.headers.get('Location', '?')}; give that address as --url"
        if answer.status not in endpoint.statuses:
            return False, f"{answer.status}, not {' or '.join(map(str, endpoint.statuses))}"
        if answer.status == 401:
            is_problem = answer.headers.get("Content-Type", "").startswith("application/problem+json")
            return is_problem, "401: asks for credentials" + (
                "" if self._token is None else "; the token was not taken"
            )
        content_type = answer.headers.get("Content-Type", "")
        if not content_type.startswith(endpoint.content_type):
            return False, f"the content type is {content_type or 'missing'}, not {endpoint.content_type}"
        if "json" in endpoint.content_type and not endpoint.is_right(answer.json()):
            return False, "the answer is not what the contract says"
        if answer.latency_ms > LATENCY_LIMIT_MS:
            return False, f"took {answer.latency_ms:.0f} ms, more than {LATENCY_LIMIT_MS:.0f}"
        return True, str(answer.status)

    def _check_entity_tag(self) -> Result:
        first = self._get(_STATE_PATH)
        if first.status == 401:
            return Result("entity-tag", None, "reading the state asks for credentials; give a token")
        tag = first.headers.get("ETag", "")
        second = self._get(_STATE_PATH, **{"If-None-Match": tag})
        is_same = second.status == 304 or second.headers.get("ETag") != tag  # changed in between
        return Result(
            "entity-tag", bool(tag) and is_same, f"ETag {tag or 'missing'}, then {second.status}", second.latency_ms
        )

    def _check_recovery(self) -> Result:
        """A request that fails must not spoil the connection for those that follow."""
        bad = [self._get("/api/governance/go-live/history?limit=-1").status, self._get("/api/no-such-path").status]
        good = [self._get("/readyz").status for _ in range(GOOD_AFTER_BAD)]
        is_right = bad[0] in (401, 422) and bad[1] == 404 and set(good) == {200}
        return Result("good-after-bad", is_right, f"{bad} refused, then {good}")

    def _check_stop_possible(self) -> Result:
        """The service rehearses a stop; one that cannot be written is found out too late by whoever needs it."""
        told = ((self._get("/readyz").json() or {}).get("checks") or {}).get("stop_possible")
        if not isinstance(told, dict):
            return Result("stop-possible", False, "/readyz does not say whether a stop can be written")
        return Result("stop-possible", told.get("ok") is True, str(told.get("detail")))

    def _check_release(self) -> Result:
        served = (self._get("/readyz").json() or {}).get("release")
        if self._release is None:
            return Result("release", None, f"serves {served}; which one is expected was not said (--release)")
        return Result("release", served == self._release, f"serves {served}, expected {self._release}")

    def _check_rows(self) -> Result:
        """The service must serve the row of this database, not of another one."""
        try:
            row = state.read_go_live()
        except StateUnknownError as error:
            return Result("rows", False, error.detail)
        answer = self._get(_STATE_PATH)
        if answer.status == 401:
            return Result("rows", None, "reading the state asks for credentials; give a token")
        served = answer.json() or {}
        mine = (row.revision, row.event_head)
        again = state.read_go_live()
        is_same = (served.get("revision"), served.get("event_head")) in (mine, (again.revision, again.event_head))
        return Result(
            "rows", is_same, f"revision {served.get('revision')} is served, {row.revision} stands in the database"
        )

    def _check_engage(self) -> Result:
        """Engage what is engaged: the whole way of a stop, without stopping anything."""
        name = "engage-no-op"
        if self._token is None:
            return Result(name, None, "no token was given (--token-file)")
        served = self._get(_STATE_PATH).json() or {}
        if served.get("kill_switch_engaged") is not True:
            return Result(name, None, "the kill switch is released, and engaging it would stop execution")
        body = json.dumps({"reason": "verify_deployment: engage, already engaged"}).encode()
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        url = self._url + ENGAGE.path
        answer = send(url, method="POST", headers=headers, body=body, timeout_seconds=self._timeout_seconds)
        told = answer.json() or {}
        newest = history.newest_event(subject=GO_LIVE_STATE)
        is_recorded = (
            newest is not None and newest.action == ENGAGE.name and newest.reason.startswith("verify_deployment")
        )
        detail = (
            answer.error or f"{answer.status}, changed {told.get('changed')}, {'' if is_recorded else 'not '}recorded"
        )
        return Result(
            name, answer.status == 200 and told.get("changed") is False and is_recorded, detail, answer.latency_ms
        )


def _check_schema() -> Result:
    try:
        found = schema.describe(using=DEFAULT_DB_ALIAS)
    except Error as error:
        return Result("schema", False, f"the database cannot be asked ({type(error).__name__})")
    faults = schema.find_faults(found)
    return Result("schema", not faults, "; ".join(faults) or f"fingerprint {schema.fingerprint(found)}")


def _check_events() -> Result:
    try:
        found = history.verify()
    except Error as error:
        return Result("events", False, f"the record cannot be read ({type(error).__name__})")
    told = "; ".join(problem.detail for problem in found.problems[:5])
    return Result("events", found.is_sound, told or f"{found.checked} events, the chain and the rows agree")
