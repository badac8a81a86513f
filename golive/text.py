"""Text from outside, made safe to print. Knows nothing of the app, so that every part of it can use this one."""

from __future__ import annotations

import re

# What a terminal obeys, what turns text round (a name that reads like another one), what breaks a line or takes no
# room, and halves of a character, which is how Python shows the bytes of a file name that is not UTF-8.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def make_visible(text: str) -> str:
    """The text in one line, every character that does more than stand there written as an escape, such as `\\x1b`."""
    return _HIDDEN.sub(_escape, text)


def make_lines_visible(text: str) -> str:
    """As `make_visible`, for a text of ours in several lines, which stay."""
    return "\n".join(make_visible(line) for line in text.split("\n"))


def drop_halves(text: str) -> str:
    """The text with halves of a character written as escapes: it can be encoded then."""
    return _SURROGATES.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code <= 0xFF:
        return _SHORT.get(match[0]) or f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
