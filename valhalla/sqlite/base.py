"""Django's SQLite backend, but it creates database files readable by their owner only. ENGINE = "valhalla.sqlite"."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from django.db.backends.sqlite3 import base


class DatabaseWrapper(base.DatabaseWrapper):
    """Creates the file before SQLite does; SQLite gives the journals the same mode."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        name = str(conn_params["database"])
        if not name.startswith((":", "file:")):
            # If it cannot be created, SQLite's own error is clearer.
            with suppress(OSError):
                os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        return super().get_new_connection(conn_params)
