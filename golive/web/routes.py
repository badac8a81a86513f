"""URL patterns that match with and without a trailing slash, without a redirect; and prefix matching.

Leading slashes count as one: a client whose base URL ends in a slash requests `//api/...`. This is done in each
pattern, so that the other paths of a host project are unaffected.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpResponse
from django.urls import URLPattern, re_path

# What another component may normalise to a different path: a parent directory, a double slash, another decoding.
_AMBIGUOUS = ("//", "/.", "\\", "%")


def route(path: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
    return re_path(rf"^/*{path}/?$", view, name=name)


def is_below(path: str, prefix: str) -> bool:
    """The prefixes `/open` and `/open/` match `/open` and `/open/x`, not `/opened`."""
    stem = prefix.rstrip("/")
    return prefix.startswith("/") and (path == stem or path.startswith(f"{stem}/"))


def is_ambiguous(path: str) -> bool:
    """Whether a view or proxy may normalise this decoded path to another: `/open/../pay` is not below `/open`."""
    return any(part in path for part in _AMBIGUOUS)
