"""A minimal HTTP client for probing a deployment: no redirects, no exceptions for statuses, a timeout per request."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """A response. `status` 0 with an `error`: there was none. `latency_ms` includes reading the body."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    latency_ms: float = 0.0
    error: str = ""

    def json(self) -> Any:
        """The body as JSON; None if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirect)


def send(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout_seconds: float = 10.0,
) -> Answer:
    """Send one request. Never raises because of what the server does."""
    request = urllib.request.Request(url, data=body, headers=dict(headers or {}), method=method)  # noqa: S310 - checked by the caller
    began = time.monotonic()
    try:
        try:
            response = _opener.open(request, timeout=timeout_seconds)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            content = response.read(MAX_BYTES)
            elapsed = (time.monotonic() - began) * 1000
            return Answer(response.status or 0, content, response.headers, elapsed)
    except (OSError, ValueError) as error:
        # urllib wraps the socket's error; its own message is enough and contains no secret.
        return Answer(0, latency_ms=(time.monotonic() - began) * 1000, error=str(error) or type(error).__name__)
