"""The service, with waits that a test controls through files in `HELD_FOLDER`.

Until the file `hash` exists, every password hash blocks; until `lease` exists, no lease ends.
"""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path
from typing import Any

from django.contrib.auth.hashers import PBKDF2PasswordHasher

from golive.state import leases
from valhalla.wsgi import application

__all__ = ["application"]

FOLDER = Path(os.environ["HELD_FOLDER"])
_SECONDS = 120


def wait_for(name: str) -> None:
    """Leave a file that says that a thread waits, and return once it may continue."""
    (FOLDER / f"{name}-{uuid.uuid4()}").touch()
    ends_at = time.monotonic() + _SECONDS
    while not (FOLDER / name).exists() and time.monotonic() < ends_at:
        time.sleep(0.01)


def hold_hash(hasher: Any, password: str, *arguments: Any) -> str:
    wait_for("hash")
    return "pbkdf2_sha256$1$salt$never"


PBKDF2PasswordHasher.encode = hold_hash  # type: ignore[assignment, method-assign]
leases.wait_out = lambda lease_ms: wait_for("lease")
