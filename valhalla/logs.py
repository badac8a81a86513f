"""What a line of the log leaves out."""

from __future__ import annotations

import logging


class OneLineFilter(logging.Filter):
    """Takes the traceback from a record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = record.exc_text = None
        return True
