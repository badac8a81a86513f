"""The gate: forward authentication for a proxy's requests, answered before Django sees anything.

`valhalla.wsgi` wraps the application in it; another project does the same:

    application = Gate(get_wsgi_application())
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from http import HTTPStatus
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from golive.domain.decision import Decision
from golive.state import leases
from golive.state.snapshots import Snapshot, read_snapshot
from golive.web.denials import describe_denial
from golive.web.problems import CONTENT_TYPE, RETRY_AFTER_SECONDS
from golive.web.request_id import choose_request_id

logger = logging.getLogger(__name__)

# The first path segment of each gate, and the status with which it denies. nginx turns any denial but 401 and 403 into
# 500; for other proxies 503 is better, because they pass it on to the client.
GATES: dict[str, HTTPStatus] = {"gate": HTTPStatus.FORBIDDEN, "gate-503": HTTPStatus.SERVICE_UNAVAILABLE}

_ALLOWED_BODY = b'{"execution_allowed":true,"code":"ALLOWED"}'
_STATUS_LINES = {status: f"{status} {status.phrase}" for status in (HTTPStatus.OK, *GATES.values())}
_UNKNOWN = Snapshot(None, None, 0.0)

Header = tuple[str, str]


class Gate:
    """WSGI middleware that answers `/gate` and `/gate-503` with everything below them, and passes on the rest.

    200 means allowed; nothing else does. Method, host, scheme, headers and body are ignored: a proxy passes on
    whatever its client sent, and would take a redirect or a preflight response for a decision.
    """

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application
        self._watching_pid: int | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._watching_pid != os.getpid():
            self._start_watch()
        denial = GATES.get(environ["PATH_INFO"].lstrip("/").partition("/")[0])
        if denial is None:
            return self._application(environ, start_response)
        environ["golive.unlogged"] = True
        try:
            snapshot = read_snapshot()
            headers = snapshot.once(_make_headers)
        except Exception:
            logger.exception("the gate failed, so it denies")
            snapshot, headers = _UNKNOWN, _make_headers(_UNKNOWN)
        request_id = choose_request_id(environ.get("HTTP_X_REQUEST_ID"))
        status, body = HTTPStatus.OK, _ALLOWED_BODY
        if not snapshot.decision.allowed:
            status, body = denial, _describe(snapshot.decision, denial, environ, request_id)
            headers = [*headers, _length_of(body)]
        lease = ("X-GoLive-Lease-Ms", str(_remaining_ms(snapshot)))
        start_response(_STATUS_LINES[status], [*headers, lease, ("X-Request-ID", request_id)])
        return () if environ["REQUEST_METHOD"] == "HEAD" else (body,)

    def _start_watch(self) -> None:
        """Start the watch on `stop_possible`, with the first request of each process: workers are forked."""
        self._watching_pid = os.getpid()
        try:
            # It needs Django's models, which are not ready when this module is imported.
            from golive.controls import rehearsal

            rehearsal.start_watch()
        except Exception:
            logger.exception("nothing watches whether a stop is possible")


def _make_headers(snapshot: Snapshot) -> list[Header]:
    """The headers of every response from this snapshot. A denial adds its own Content-Length."""
    decision = snapshot.decision
    headers = [
        ("Content-Type", "application/json" if decision.allowed else CONTENT_TYPE),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Retry-After", RETRY_AFTER_SECONDS),
        ("X-GoLive-Code", str(decision.code)),
    ]
    if snapshot.go_live is not None:
        headers.append(("X-GoLive-Revision", str(snapshot.go_live.revision)))
    if decision.allowed:
        headers.append(_length_of(_ALLOWED_BODY))
    return headers


def _length_of(body: bytes) -> Header:
    return "Content-Length", str(len(body))


def _describe(decision: Decision, status: HTTPStatus, environ: WSGIEnvironment, request_id: str) -> bytes:
    # WSGI passes bytes decoded as Latin-1.
    instance = environ["PATH_INFO"].encode("latin-1", "replace").decode(errors="replace")
    return json.dumps(describe_denial(decision, status=status, instance=instance, request_id=request_id)).encode()


def _remaining_ms(snapshot: Snapshot) -> int:
    """Whole milliseconds for which a response from this snapshot stays valid.

    A client may reuse the response for that long, counted from before it sent its request. That was before now, so the
    response never outlives the snapshot, and every acknowledged stop waits for the snapshot to expire.
    """
    return max(0, int((snapshot.expires_at - leases.boottime()) * 1000))
