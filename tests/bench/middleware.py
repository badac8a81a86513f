"""What each middleware costs a read that does not need it: an empty view with none, and with one more each time.

Not with each one left out in turn: some need others. In one process, without a socket, and by the time of the
processor: all noise is larger than most of these costs.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any
from wsgiref.types import WSGIApplication

REQUESTS, ROUNDS = 100, 80
Json = dict[str, Any]


def run_middleware() -> Json:
    """Microseconds of a request, and how many of them each middleware adds to those before it."""
    from django.conf import settings
    from django.core.handlers.wsgi import WSGIHandler
    from django.test.utils import override_settings

    names = list(settings.MIDDLEWARE)
    handlers: dict[int, WSGIApplication] = {}
    with override_settings(ROOT_URLCONF="tests.bench.project.urls"):
        for count in range(len(names) + 1):
            with override_settings(MIDDLEWARE=names[:count]):
                handlers[count] = WSGIHandler()
        times = _time_all(handlers)
    costs = {name: round(times[count + 1] - times[count], 1) for count, name in enumerate(names)}
    whole, bare = times[len(names)], times[0]
    print(f"A request for an empty view: {bare:.0f} us with no middleware, {whole:.0f} us with all. Each one adds:\n")
    for name, cost in costs.items():
        print(f"{name:<62} {cost:>6.1f} us")
    return {"without_any": round(bare, 1), "with_all": round(whole, 1), "costs": costs}


def _time_all(handlers: dict[int, WSGIApplication]) -> dict[int, float]:
    """The least of the rounds, in microseconds, which was disturbed least. In each every handler has its turn."""
    measured: dict[int, list[float]] = {count: [] for count in handlers}
    for _ in range(ROUNDS):
        for count, handler in handlers.items():
            measured[count].append(_time(handler))
    return {count: min(found) for count, found in measured.items()}


def _time(handler: WSGIApplication) -> float:
    began = time.process_time()
    for _ in range(REQUESTS):
        _ask(handler)
    return (time.process_time() - began) / REQUESTS * 1e6


def _ask(handler: WSGIApplication) -> None:
    response: Any = handler(_make_environ(), _start_response)
    for _ in response:
        pass
    response.close()


def _start_response(status: str, headers: list[tuple[str, str]], error: object = None) -> Callable[[bytes], object]:
    assert status.startswith("200"), status
    return lambda _: None


def _make_environ() -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/empty",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "127.0.0.1:8000",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.version": (1, 0),
    }
