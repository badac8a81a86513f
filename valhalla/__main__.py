"""`python -m valhalla [gunicorn options]`: check the environment, then serve.

gunicorn reads WEB_CONCURRENCY when it is imported, before any file of the project. If the value is empty or not a
number, its error names neither the variable nor the remedy.
"""

from __future__ import annotations

import os
import sys

from django.core.exceptions import ImproperlyConfigured

from valhalla.environment import load


def main() -> None:
    try:
        os.environ["WEB_CONCURRENCY"] = str(load().web_concurrency)
    except ImproperlyConfigured as error:
        raise SystemExit(f"valhalla: {error}") from None
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *sys.argv[1:], "valhalla.wsgi:application"])  # noqa: S606


if __name__ == "__main__":
    main()
