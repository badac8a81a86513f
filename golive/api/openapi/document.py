"""Assemble the whole document."""

from __future__ import annotations

import functools
from typing import Any

from django.conf import settings

from golive.api.openapi import flags
from golive.api.openapi.answers import CODES, DENIALS, HEADERS, problem
from golive.api.openapi.operations import CHANGING, GATE, HOOKS, PROBES, READS, make_paths
from golive.api.openapi.schemas import SCHEMAS
from golive.identity.credentials import API_KEY_HEADER

_DESCRIPTION = """\
Whether a production system may execute, and the one place where programs stop or start it.

**Toward safe is always one step; toward live is always guarded.** Execute only after a 200 with
`"execution_allowed": true`; anything else means: do not.

Paths work with and without a trailing slash. Every GET answers HEAD, every path OPTIONS. Times are RFC 3339 in UTC.
Every error is `application/problem+json` (RFC 9457) with a stable `code`. A path that is not listed is 404 `NOT_FOUND`,
a method that is not listed 405 `METHOD_NOT_ALLOWED`.
"""
_TAGS = {
    READS: "Open to all, unless the service is set up to ask for credentials.",
    GATE: "For reverse proxies and guards: any method, any host, any path below; nothing but 200 means allowed.",
    CHANGING: "By token, or by the session of the admin with the CSRF token in the header `X-CSRFToken`.",
    flags.TAG: "The same state for programs that speak OpenFeature (OFREP). Open to all, as the reads are.",
    HOOKS: "For systems that call by themselves.",
    PROBES: "For platforms and people; no credentials.",
}
_SECURITY = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "vgl_<prefix>_<secret>",
        "description": "Made by `manage.py golive token create` or in the admin; the roles named are its scopes.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": API_KEY_HEADER,
        "description": "A token, as clients of OFREP send it.",
    },
    "session": {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME},
    "csrf": {"type": "apiKey", "in": "header", "name": "X-CSRFToken"},
}


@functools.cache
def make_document() -> dict[str, Any]:
    """The OpenAPI 3.1 document. The same for every deployment: what depends on settings is described in prose."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Valhalla go-live", "version": "1", "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": description} for name, description in _TAGS.items()],
        "paths": make_paths(),
        "components": {
            "schemas": SCHEMAS,
            "headers": HEADERS,
            "responses": {"NotFound": problem(404), "MethodNotAllowed": problem(405)},
            "securitySchemes": _SECURITY,
        },
        "x-problem-codes": {**{code: status for status, codes in CODES.items() for code in codes}, **DENIALS},
    }
