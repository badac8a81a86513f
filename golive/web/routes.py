"""How a path becomes a route: answered with and without a trailing slash, without a redirect; what lies below a prefix.

Slashes in front count as one: a client whose base address ends in a slash asks for `//api/...`. By the pattern of each
path, so that the paths of a project around this app stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpResponse
from django.urls import URLPattern, re_path

# What somebody else may read as another path: a folder up, one slash too many, or what is still to be decoded.
_AMBIGUOUS = ("//", "/.", "\\", "%")


def route(path: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
    return re_path(rf"^/*{path}/?$", view, name=name)


def is_below(path: str, prefix: str) -> bool:
    """`/open` and `/open/` hold `/open` and `/open/x`, not `/opened`."""
    stem = prefix.rstrip("/")
    return prefix.startswith("/") and (path == stem or path.startswith(f"{stem}/"))


def is_ambiguous(path: str) -> bool:
    """Whether a view or a proxy may take this decoded path for another one: `/open/../pay` is not below `/open`."""
    return any(part in path for part in _AMBIGUOUS)
