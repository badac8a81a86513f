"""The gate: may the request that a proxy holds in its hands go on? Answered before anything of Django is.

`valhalla.wsgi` wraps the application in it; another project does the same with its own:

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

# The first segment of a path that the gate answers, and how it denies there. nginx makes 500 of any denial but 401 and
# 403; for other proxies 503 is the better answer, because they hand it on to the client.
GATES: dict[str, HTTPStatus] = {"gate": HTTPStatus.FORBIDDEN, "gate-503": HTTPStatus.SERVICE_UNAVAILABLE}

_ALLOWED_BODY = b'{"execution_allowed":true,"code":"ALLOWED"}'
_STATUS_LINES = {status: f"{status} {status.phrase}" for status in (HTTPStatus.OK, *GATES.values())}
_UNKNOWN = Snapshot(None, None, 0.0)

Header = tuple[str, str]


class Gate:
    """A WSGI application that answers `/gate` and `/gate-503` with all below them, and leaves the rest to another.

    200 means allowed, and nothing else does. It looks at no method, host, scheme, header or body: a proxy passes on
    whatever its client has sent, and a redirect or an answer to a preflight would be taken for a decision.
    """

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application
        self._watched_by: int | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._watched_by != os.getpid():
            self._watch()
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

    def _watch(self) -> None:
        """With the first request of a process, which may be a fork: from then on it tells when a stop is impossible."""
        self._watched_by = os.getpid()
        try:
            # Django's models, which this module must not need when it is imported.
            from golive.controls import rehearsal

            rehearsal.start_watch()
        except Exception:
            logger.exception("nothing watches whether a stop is possible")


def _make_headers(snapshot: Snapshot) -> list[Header]:
    """Those of every answer from this snapshot. A denial says more, of a length of its own."""
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
    # WSGI hands over bytes in the guise of Latin-1.
    instance = environ["PATH_INFO"].encode("latin-1", "replace").decode(errors="replace")
    return json.dumps(describe_denial(decision, status=status, instance=instance, request_id=request_id)).encode()


def _remaining_ms(snapshot: Snapshot) -> int:
    """Whole milliseconds for which an answer from this snapshot stays true.

    A client may use the answer for so long, counted from before it sent its request, which was before now: so it never
    outlives the snapshot, for whose end every acknowledged stop waits.
    """
    return max(0, int((snapshot.expires_at - leases.boottime()) * 1000))
