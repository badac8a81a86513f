"""Makes untrusted text safe to print. Depends on nothing else in the app, so every part of it may import this."""

from __future__ import annotations

import re

# Terminal controls, bidirectional overrides (a name that reads like another one), line breaks, zero-width characters,
# and lone surrogates, with which Python represents the bytes of a file name that is not UTF-8.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def make_visible(text: str) -> str:
    """The text on one line, with every control or invisible character written as an escape such as `\\x1b`."""
    return _HIDDEN.sub(_escape, text)


def make_lines_visible(text: str) -> str:
    """As `make_visible`, but keeps line breaks; for our own multi-line text."""
    return "\n".join(make_visible(line) for line in text.split("\n"))


def escape_surrogates(text: str) -> str:
    """The text with lone surrogates written as escapes, so that it can be encoded."""
    return _SURROGATES.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code <= 0xFF:
        return _SHORT.get(match[0]) or f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
