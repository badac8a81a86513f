"""Parse JSON request bodies of limited size. An invalid body refuses a change toward live. A stop is never refused for
its content: unusable parts are ignored, and the answer says so."""

from __future__ import annotations

import json
import time
from collections.abc import Container, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest

from golive.database.deadline import extend_deadline
from golive.web import problems
from golive.web.problems import HttpError

KIB = 1024
MAX_CHANGE_BYTES = 16 * KIB
_PIECE = 64 * KIB
# Valid requests have at most four.
_MAX_LEVELS = 20

Fields = dict[str, object]


def read_strictly(request: HttpRequest, *, limit: int = MAX_CHANGE_BYTES) -> Fields:
    """The fields of a JSON object. Raises HttpError: 400, 413 or 415."""
    content = _read(request, limit)
    _check_type(request, content)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise problems.bad_request("The body is not UTF-8.") from None
    value, faults = _parse(text, is_strict=True)
    if faults:
        raise problems.bad_request(f"The body {faults[0]}.")
    if not isinstance(value, dict):
        raise problems.bad_request("The body must be a JSON object.")
    return value


def read_leniently(request: HttpRequest, *, limit: int = MAX_CHANGE_BYTES) -> tuple[Fields, tuple[str, ...]]:
    """The fields that can be parsed from any input, and notes on what was ignored. Never fails."""
    try:
        content = _read(request, limit)
    except HttpError as error:
        return {}, (f"the body was ignored: {_lower(error.detail)}",)
    return parse_leniently(content)


def parse_leniently(content: bytes) -> tuple[Fields, tuple[str, ...]]:
    """Like `read_leniently`, for a body that has already been read."""
    if not content:
        return {}, ()
    notes: list[str] = []
    text = content.decode("utf-8-sig", errors="replace")
    if "\N{REPLACEMENT CHARACTER}" in text and not _is_utf8(content):
        notes.append("the body was not UTF-8; what could not be read was replaced")
    # Not strict: shell scripts often send raw line breaks in strings, which JSON forbids.
    value, faults = _parse(text, is_strict=False)
    notes += [f"the body {fault}" for fault in faults]
    if isinstance(value, dict):
        return value, tuple(notes)
    return {}, (*notes, "the body was ignored: it is not a JSON object")


@dataclass(frozen=True)
class Beginning:
    """The part of a body that was read. `problem` None: it is complete; else it was too long or broke off."""

    content: bytes
    problem: HttpError | None


def read_beginning(request: HttpRequest, *, limit: int, discard: int = 0) -> Beginning:
    """Read at most `limit` bytes, then discard up to `discard` more, so that the client can finish sending.

    Never fails.
    """
    pieces: list[bytes] = []
    size = 0
    try:
        for piece in _read_pieces(request, limit + discard):
            pieces.append(piece[: max(0, limit - size)])
            size += len(piece)
    except HttpError as error:
        return Beginning(b"".join(pieces), error)
    return Beginning(b"".join(pieces), problems.too_large(limit) if size > limit else None)


def is_object_in(request: HttpRequest, name: str, *, limit: int, discard: int, empty: Container[bytes]) -> bool:
    """Whether the field `name` of the body is an object or absent. Any size and depth is accepted: its content, and
    anything after the first `limit` bytes, is not examined.

    Raises HttpError if the body is not a JSON object: 400, or 415 for another content type.
    """
    beginning = read_beginning(request, limit=limit, discard=discard)
    _check_type(request, beginning.content)
    if beginning.content in empty:
        return True
    try:
        text = beginning.content.decode("utf-8-sig", errors="strict" if beginning.problem is None else "ignore")
    except UnicodeDecodeError:
        raise problems.bad_request("The body is not UTF-8.") from None
    if not text.lstrip(" \t\r\n").startswith("{"):
        raise problems.bad_request("The body must be a JSON object.")
    if beginning.problem is not None:
        if beginning.problem.status == HTTPStatus.BAD_REQUEST:
            raise beginning.problem
        return True
    try:
        # Keep numbers as text: one with thousands of digits is valid JSON too.
        value = json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse_constant)
    except RecursionError:
        return True
    except ValueError:
        raise problems.bad_request("The body is not JSON.") from None
    return isinstance(value.get(name, {}), dict)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check_type(request: HttpRequest, content: bytes) -> None:
    if content and (request.content_type != "application/json" or _charset(request) not in ("utf-8", "utf8")):
        raise problems.unsupported_type()


def _read(request: HttpRequest, limit: int) -> bytes:
    """The whole body. Raises HttpError: 413 over the limit (unread if its length is declared), 400 if it breaks off."""
    declared = request.META.get("CONTENT_LENGTH") or ""
    if declared.isdecimal() and int(declared[:20]) > limit:
        raise problems.too_large(limit)
    content = b"".join(_read_pieces(request, limit))
    if len(content) > limit:
        raise problems.too_large(limit)
    return content


def _read_pieces(request: HttpRequest, limit: int) -> Iterator[bytes]:
    """Up to `limit` + 1 bytes; the extra byte reveals a longer body. Raises HttpError if it breaks off."""
    # Django considers a chunked body (no Content-Length) empty; a server that terminates the input knows better.
    source = request.META["wsgi.input"] if request.META.get("wsgi.input_terminated") else request
    left = limit + 1
    while left > 0:
        began = time.monotonic()
        try:
            piece = source.read(min(_PIECE, left))
        except Exception as error:  # servers raise different errors for a client that disconnects or sends bad chunks
            raise problems.bad_request("The body breaks off.") from error
        finally:
            # This time was the client's: do not deduct it from the request's database deadline.
            extend_deadline(time.monotonic() - began)
        if not piece:
            return
        left -= len(piece)
        yield piece


def _charset(request: HttpRequest) -> str:
    return str((request.content_params or {}).get("charset", "utf-8")).lower()


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _parse(text: str, *, is_strict: bool) -> tuple[Any, list[str]]:
    """The JSON value (None if unusable), and what is wrong with it."""
    faults: list[str] = []

    def take_pairs(pairs: list[tuple[str, Any]]) -> Fields:
        fields = dict(pairs)
        if len(fields) < len(pairs) and not faults:
            faults.append("names a field twice")
        return fields

    def take_constant(name: str) -> str:
        faults.append(f"holds {name}, which is not JSON")
        return name

    try:
        value = json.loads(text, strict=is_strict, object_pairs_hook=take_pairs, parse_constant=take_constant)
    except json.JSONDecodeError as error:
        return None, [f"is not JSON (line {error.lineno}, column {error.colno})"]
    except RecursionError:
        return None, ["is nested too deeply"]
    except ValueError:  # a number of thousands of digits
        return None, ["holds a number that is too long"]
    return (None, ["is nested too deeply"]) if _is_deep(value) else (value, faults)


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_MAX_LEVELS):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list):
                inner += item
        if not inner:
            return False
        level = inner
    return True


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].rstrip(".")
