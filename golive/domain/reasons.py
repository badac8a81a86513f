"""Text that people write (reasons, names, notes): validated toward live, only cleaned where nothing may be refused."""

from __future__ import annotations

import unicodedata

MAX_REASON_LENGTH = 1_000
MAX_NAME_LENGTH = 200
MAX_NOTES_LENGTH = 10_000

_ALLOWED_CONTROLS = "\n\t"
_REFUSED_CATEGORIES = ("Cc", "Cs")  # control characters (NUL among them) and lone surrogates, which UTF-8 cannot carry


def _is_refused(character: str) -> bool:
    return character not in _ALLOWED_CONTROLS and unicodedata.category(character) in _REFUSED_CATEGORIES


def find_fault(value: object, *, limit: int, required: bool) -> str | None:
    """What is wrong with a text and what to do, or None. Lengths are in characters after stripping."""
    if value is None:
        return "is required; say why in a sentence" if required else None
    if not isinstance(value, str):
        return "must be a text"
    text = value.strip()
    if required and not text:
        return "is required; say why in a sentence"
    if len(text) > limit:
        return f"is {len(text):,} characters long; at most {limit:,} are allowed"
    if any(_is_refused(character) for character in text):
        return "must not contain control characters other than newline and tab"
    return None


def _stringify(value: object) -> str:
    try:
        return str(value)
    except (RecursionError, ValueError):  # nested too deep, or an integer with more digits than Python converts
        return f"({type(value).__name__})"


def clean_text(value: object, *, limit: int) -> tuple[str, tuple[str, ...]]:
    """Turn any value into a storable text of at most `limit` characters, with notes on the alterations. Never fails."""
    notes: list[str] = []
    if value is None:
        return "", ()
    if not isinstance(value, str):
        notes.append("was not a text and was written out as one")
        value = _stringify(value)
    text = "".join(character for character in value if not _is_refused(character)).strip()
    if any(_is_refused(character) for character in value.strip()):
        notes.append("had control characters, which were removed")
    if len(text) > limit:
        notes.append(f"was {len(text):,} characters long and was cut to {limit:,}")
        text = text[:limit].rstrip()
    return text, tuple(notes)
