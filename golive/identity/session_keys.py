"""Session keys that show by themselves that somebody has signed in here, without a look into the database.

Only a sign-in makes a session in this project, so whoever shows such a key has, or had, an account. The session itself
is looked up as always: the mark opens nothing, it only says whose load a request is (`golive.admission`).
"""

from __future__ import annotations

import re

from django.contrib.sessions.backends import db
from django.utils.crypto import constant_time_compare, get_random_string, salted_hmac

_RANDOM_LENGTH, _MARK_LENGTH = 24, 16
_FORM = re.compile(rf"[a-z0-9]{{{_RANDOM_LENGTH}}}[0-9a-f]{{{_MARK_LENGTH}}}", re.ASCII)
_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def make_key() -> str:
    """A new key of 40 characters, as long as the database takes: 124 random bits, and the mark."""
    text = get_random_string(_RANDOM_LENGTH, _CHARACTERS)
    return text + _mark(text)


def is_ours(key: str) -> bool:
    """Whether the key was made here."""
    if not _FORM.fullmatch(key):
        return False
    return constant_time_compare(key[_RANDOM_LENGTH:], _mark(key[:_RANDOM_LENGTH]))


def _mark(text: str) -> str:
    return salted_hmac("golive.identity.session_keys", text, algorithm="sha256").hexdigest()[:_MARK_LENGTH]


class MarkedSessionStore(db.SessionStore):
    """Django's sessions in the database, with keys of this kind."""

    def _get_new_session_key(self) -> str:
        while self.exists(key := make_key()):
            pass
        return key


# The name by which Django finds it: SESSION_ENGINE = "golive.identity.session_keys".
SessionStore = MarkedSessionStore
