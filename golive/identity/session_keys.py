"""Session keys with a signature, so that a key made here is recognised without a database query.

Only a sign-in creates a session in this project, so the sender of such a key has, or had, an account. The session is
still looked up as always: the signature grants no access, it only classifies load (`golive.admission`).
"""

from __future__ import annotations

import re

from django.contrib.sessions.backends import db
from django.utils.crypto import constant_time_compare, get_random_string, salted_hmac

_RANDOM_LENGTH, _SIGNATURE_LENGTH = 24, 16
_FORM = re.compile(rf"[a-z0-9]{{{_RANDOM_LENGTH}}}[0-9a-f]{{{_SIGNATURE_LENGTH}}}", re.ASCII)
_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def make_key() -> str:
    """A new key of 40 characters, the most that the column holds: 124 random bits and the signature."""
    text = get_random_string(_RANDOM_LENGTH, _CHARACTERS)
    return text + _sign(text)


def is_ours(key: str) -> bool:
    """Whether the key was made here."""
    if not _FORM.fullmatch(key):
        return False
    return constant_time_compare(key[_RANDOM_LENGTH:], _sign(key[:_RANDOM_LENGTH]))


def _sign(text: str) -> str:
    return salted_hmac("golive.identity.session_keys", text, algorithm="sha256").hexdigest()[:_SIGNATURE_LENGTH]


class SignedSessionStore(db.SessionStore):
    """Django's database sessions with signed keys."""

    def _get_new_session_key(self) -> str:
        while self.exists(key := make_key()):
            pass
        return key


# The name that Django looks up: SESSION_ENGINE = "golive.identity.session_keys".
SessionStore = SignedSessionStore
