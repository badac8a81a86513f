"""Django's SQLite backend, but a database that it makes is for its owner only. ENGINE = "valhalla.sqlite"."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from django.db.backends.sqlite3 import base


class DatabaseWrapper(base.DatabaseWrapper):
    """The file is made before SQLite would, which also gives its journals the mode of the file."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        name = str(conn_params["database"])
        if not name.startswith((":", "file:")):
            # What cannot be made here, SQLite says better.
            with suppress(OSError):
                os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        return super().get_new_connection(conn_params)
