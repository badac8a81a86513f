"""What gunicorn serves here: the application as it is (valhalla's, if APPLICATION names no other), but that each answer
says which worker gave it, and that the process may be sabotaged.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import import_module
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from tests.consistency import APPLICATION, WORKER, sabotage

_served: WSGIApplication = import_module(os.environ.get(APPLICATION) or "valhalla.wsgi").application
sabotage.apply_from_environment()


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        return start_response(status, [*headers, (WORKER, str(os.getpid()))], *rest)

    return _served(environ, start)
