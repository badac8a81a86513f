"""How a path becomes a route: answered with and without a trailing slash, without a redirect.

Slashes in front count as one: a client whose base address ends in a slash asks for `//api/...`. By the pattern of each
path, so that the paths of a project around this app stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpResponse
from django.urls import URLPattern, re_path


def route(path: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
    return re_path(rf"^/*{path}/?$", view, name=name)
