"""The least that gunicorn can serve: a WSGI application that returns one answer, the one in the file BENCH_ANSWER."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

_answer = json.loads(Path(os.environ["BENCH_ANSWER"]).read_text())
_HEADERS = [(name, value) for name, value in _answer["headers"]]
_BODY = _answer["body"].encode()


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    environ["golive.unlogged"] = True  # as the gate does
    start_response("200 OK", _HEADERS)
    return (_BODY,)
