"""The text of an API token: `vgl_<prefix>_<secret>`, letters and digits only, so a double click selects all of it."""

from __future__ import annotations

import hashlib
import hmac
import re
import string
from collections.abc import Callable
from dataclasses import dataclass

_CHARACTERS = string.ascii_letters + string.digits
_PREFIX_LENGTH = 10
# 62 ** 43 > 2 ** 256.
_SECRET_LENGTH = 43
_FORM = re.compile(rf"vgl_([A-Za-z0-9]{{{_PREFIX_LENGTH}}})_([A-Za-z0-9]{{{_SECRET_LENGTH}}})", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
# Compared with when there is no such token, so that both cases take the same time. No secret has this hash.
NO_HASH = "0" * 64


@dataclass(frozen=True)
class TokenText:
    """A parsed token. The prefix identifies it and is not secret; the secret is left out of the repr."""

    prefix: str
    secret: str

    def __repr__(self) -> str:
        return f"TokenText({self.prefix})"

    @property
    def text(self) -> str:
        return f"vgl_{self.prefix}_{self.secret}"

    @property
    def secret_hash(self) -> str:
        """SHA-256 in hexadecimal. Slow hashes are for secrets that people choose; this one cannot be guessed."""
        return hashlib.sha256(self.secret.encode()).hexdigest()


def make_token_text(choose: Callable[[str], str]) -> TokenText:
    """A new token; `choose` picks a character at random and must be cryptographically secure."""
    return TokenText(_draw(_PREFIX_LENGTH, choose), _draw(_SECRET_LENGTH, choose))


def read_token_text(text: str) -> TokenText | None:
    """Parse a token; None if it is malformed."""
    match = _FORM.fullmatch(text)
    return TokenText(match[1], match[2]) if match else None


def is_name(text: str) -> bool:
    """Whether it is a valid token name: 1 to 64 letters, digits, `.`, `_`, `-`, the first a letter or digit."""
    return _NAME.fullmatch(text) is not None


def is_same_hash(one: str, other: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


def _draw(length: int, choose: Callable[[str], str]) -> str:
    return "".join(choose(_CHARACTERS) for _ in range(length))
