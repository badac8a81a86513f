"""Reads `.env`: lines of NAME=value. A line that cannot be parsed is an error with its number; none is ignored."""

from __future__ import annotations

import os
import re
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_ESCAPED = re.compile(r"\\([^rnt])")


def read_env_file(path: Path) -> dict[str, str]:
    """The names and values; empty if the file does not exist. Raises ImproperlyConfigured, never quoting a value."""
    if not os.path.lexists(path):
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(
            f".env beside manage.py cannot be read ({type(error).__name__}); it must be a file in UTF-8."
        ) from None
    values: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        if match is None:
            raise ImproperlyConfigured(f".env line {number} is not of the form NAME=value.")
        values[match[1]] = _unquote(match[2], number)
    return values


def _unquote(text: str, number: int) -> str:
    """The text without its quotes, if any. In double quotes a backslash escapes, except in `\\r`, `\\n` and `\\t`."""
    quote = text[:1]
    if quote not in ("'", '"'):
        return text
    if len(text) < 2 or not text.endswith(quote):
        raise ImproperlyConfigured(f".env line {number} has quotes that do not match; quote all of a value or nothing.")
    inner = text[1:-1]
    return inner if quote == "'" else _ESCAPED.sub(r"\1", inner)
