#!/usr/bin/env python
"""The command line: `manage.py help` lists the commands. A wrong environment is told in one line, with exit code 2."""

import io
import os
import sys

BROKEN_PIPE = 141  # as a shell says of a program that SIGPIPE ended


# They read the files of any project, and must run where the environment is that project's.
FILES_ONLY = ("audit_migrations", "repair_migrations")


def main() -> None:
    if sys.argv[1:2] and sys.argv[1] in FILES_ONLY:
        os.environ["DJANGO_SETTINGS_MODULE"] = "valhalla.audit_settings"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "valhalla.settings")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a character must not turn a change that was made into a failure.
            stream.reconfigure(errors="backslashreplace")
    try:
        from django.conf import settings
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ModuleNotFoundError as error:
        remedy = "Use `.venv/bin/python manage.py ...`; `make setup` makes it"
        print(f"manage.py: {sys.executable} has no {error.name}. {remedy}.", file=sys.stderr)
        sys.exit(2)

    try:
        settings.INSTALLED_APPS  # noqa: B018 - loads the settings here, where their error can be told plainly
    except ImproperlyConfigured as error:
        print(f"manage.py: {error}", file=sys.stderr)
        sys.exit(2)
    try:
        execute_from_command_line(sys.argv)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough, as `head` does. Python would complain once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)


if __name__ == "__main__":
    main()
