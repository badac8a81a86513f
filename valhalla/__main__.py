"""`python -m valhalla [options of gunicorn]`: serve, once the environment is known to be right.

gunicorn reads WEB_CONCURRENCY while it is imported, before any file of a project. Of one that is no number, or is
empty, it says neither the name nor what to do.
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
