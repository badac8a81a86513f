"""One id per request: in the response, in the event and on every log line."""

from __future__ import annotations

import logging
import random
import re
from contextvars import ContextVar

_SANE = re.compile(r"[A-Za-z0-9._-]{1,128}")
_current: ContextVar[str | None] = ContextVar("golive_request_id", default=None)


def choose_request_id(offered: str | None) -> str:
    """The client's id if it is safe to log and to send back, otherwise a new one."""
    if offered and _SANE.fullmatch(offered):
        return offered
    # Not a secret, so not from the kernel: the system call would release the GIL and yield to another thread.
    return f"{random.getrandbits(128):032x}"


def set_request_id(request_id: str) -> None:
    """Set the id for the log lines of the current context."""
    _current.set(request_id)


def forget_request_id(**kwargs: object) -> None:
    """Clear the id at the end of a request (a receiver of Django's `request_finished`)."""
    _current.set(None)


def get_request_id() -> str | None:
    return _current.get()


class RequestIdFilter(logging.Filter):
    """Gives every log record its `request_id` ("-" outside of a request)."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = _current.get() or "-"
        return True
