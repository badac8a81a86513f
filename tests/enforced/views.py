"""Views that execute: each writes its name down, so that a test can tell an answer from a deed."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from golive import execution_permit
from golive.middleware import golive_exempt

CHUNKS, PAUSE_SECONDS = 4, 0.2


def execute(name: str) -> HttpResponse:
    with Path(os.environ["ENFORCED_DEEDS"]).open("a") as deeds:
        deeds.write(f"{name}\n")
    return HttpResponse(f"did {name}", content_type="text/plain")


def process_context(request: HttpRequest) -> dict[str, Any]:
    """Part of this project's pages; not of the page that says that nothing was done."""
    execute("context")
    return {}


@csrf_exempt
def pay(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    """Looks at no method."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return execute("pay")


@golive_exempt
def pay_if_permitted(request: HttpRequest) -> HttpResponse:
    """Not guarded from outside: it asks by itself."""
    with execution_permit():
        return execute("pay_if_permitted")


@never_cache
def pay_decorated(request: HttpRequest) -> HttpResponse:
    return execute("pay_decorated")


@transaction.non_atomic_requests  # Django asks for that of every async view
async def pay_async(request: HttpRequest) -> HttpResponse:
    return execute("pay_async")


class Pay(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return execute("Pay")


def pay_streaming(request: HttpRequest) -> StreamingHttpResponse:
    def chunks() -> Iterator[bytes]:
        for number in range(CHUNKS):
            execute(f"chunk {number}")
            yield b"chunk\n"
            time.sleep(PAUSE_SECONDS)

    return StreamingHttpResponse(chunks(), content_type="text/plain")


def pay_and_fail(request: HttpRequest) -> HttpResponse:
    execute("pay_and_fail")
    raise RuntimeError("made to fail")


@golive_exempt
@never_cache
def look(request: HttpRequest) -> HttpResponse:
    return execute("look")


@never_cache
@golive_exempt
def pay_marked_inside(request: HttpRequest) -> HttpResponse:
    """The mark is on what the decorator holds, not on what it makes."""
    return execute("pay_marked_inside")


def paying(view: Callable[..., Any]) -> Callable[..., HttpResponse]:
    """A decorator that executes; it copies all that a view says of itself, its module too."""

    @functools.wraps(view)
    def pay_instead(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return execute("paying")

    return pay_instead


@transaction.non_atomic_requests
def resolve_and_pay(request: HttpRequest, rest: str) -> HttpResponse:
    """Resolves dots by itself, as a view that serves a tree does."""
    return execute("resolve_and_pay")


@golive_exempt
@transaction.non_atomic_requests
async def look_async(request: HttpRequest) -> HttpResponse:
    return execute("look_async")


@golive_exempt
class Look(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return execute("Look")


class PayAfterLook(Look):
    """Of a class that is exempt, and does something of its own."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return execute("PayAfterLook")


@method_decorator(golive_exempt, name="dispatch")
class PayDispatched(View):
    """The mark is on the method, which a subclass would inherit."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return execute("PayDispatched")


@golive_exempt
@method_decorator(transaction.non_atomic_requests, name="dispatch")
class LookAsync(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return execute("LookAsync")


@golive_exempt
@transaction.non_atomic_requests
def alive(request: HttpRequest) -> HttpResponse:
    return HttpResponse("alive")
