"""The format of log lines, and a filter."""

from __future__ import annotations

import logging
from typing import Any

from golive.text import make_visible


class VisibleFormatter(logging.Formatter):
    """Writes a message on one line and indents tracebacks, so that untrusted text cannot forge a log line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        record.message = make_visible(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the library's name
        lines = super().formatException(ei).split("\n")
        return "\n".join(f"  {make_visible(line)}" for line in lines)


class OneLineFilter(logging.Filter):
    """Removes the traceback from a log record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = record.exc_text = None
        return True
