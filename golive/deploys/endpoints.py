"""Every path that a deployment must answer, according to the contract. A black-box view: imports nothing of the app."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
STATE_PATH = "/api/governance/go-live/state"
_GATE_HEADERS = ("X-GoLive-Code", "X-GoLive-Revision", "Retry-After", "Cache-Control")
_FLAGS_PATH = "/ofrep/v1/evaluate/flags"
_FLAGS = ("execution-allowed", "go-live-enabled", "kill-switch-engaged", "backend-complete")


@dataclass(frozen=True)
class Endpoint:
    """A path and its acceptable answers: statuses, content type, headers, and a predicate on the JSON."""

    path: str
    statuses: tuple[int, ...]
    content_type: str
    is_valid: Callable[[Any], bool] = lambda _: True
    accept: str = "application/json"
    method: str = "GET"
    headers: tuple[str, ...] = ()


def _has(*names: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and set(names) <= set(value)


ENDPOINTS = (
    *(
        Endpoint(path, (200,), "application/json", lambda value: value == {"status": "ok"})
        for path in ("/health", "/healthz", "/livez")
    ),
    Endpoint("/readyz", (200,), "application/json", _has("ok", "checks", "release")),
    Endpoint("/", (200,), "application/json", lambda value: value == {"ok": True, "service": "valhalla"}),
    Endpoint("/", (200,), "text/html", accept="text/html"),
    Endpoint("/api/status", (200, 401), "application/json", _has("system", "go_live", "execution", "release")),
    Endpoint("/api/system/status", (200, 401), "application/json", _has(*_SYSTEM_KEYS)),
    Endpoint(STATE_PATH, (200, 401), "application/json", _has(*_STATE_KEYS)),
    Endpoint("/api/governance/go-live/checklist", (200, 401), "application/json", _has("ok", "required", "warnings")),
    Endpoint("/api/governance/go-live/history?limit=1", (200, 401), "application/json", _has("events", "next")),
    Endpoint(
        "/api/governance/runbook/status",
        (200, 401),
        "application/json",
        _has("generated_at", "blockers", "warnings", "info", "ok_to_enable_go_live"),
    ),
    Endpoint("/api/governance/runbook/markdown", (200, 401), "text/markdown"),
    *(
        Endpoint(f"/{gate}/", (200, denial), "application/", _has("execution_allowed", "code"), headers=_GATE_HEADERS)
        for gate, denial in (("gate", 403), ("gate-503", 503))
    ),
    Endpoint(_FLAGS_PATH, (200, 401), "application/json", _has("flags"), method="POST"),
    *(
        Endpoint(f"{_FLAGS_PATH}/{key}", (200, 401), "application/json", _has("key", "value", "reason"), method="POST")
        for key in _FLAGS
    ),
    Endpoint("/api/docs", (200,), "text/html", accept="text/html"),
    Endpoint("/api/openapi.json", (200,), "application/json", _has("openapi", "paths")),
    Endpoint("/admin/login/", (200,), "text/html", accept="text/html"),
    Endpoint("/api/no-such-path", (404,), "application/problem+json", _has("code", "status", "request_id")),
)
