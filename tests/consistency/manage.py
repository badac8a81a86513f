"""`manage.py`, in a process that may be sabotaged: `python -m tests.consistency.manage golive engage`."""

from __future__ import annotations

import os
import sys

import django
from django.core.management import execute_from_command_line

from tests.consistency import sabotage


def main(arguments: list[str]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "valhalla.settings")
    django.setup()
    sabotage.apply_from_environment()
    execute_from_command_line(["manage.py", *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
