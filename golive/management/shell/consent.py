"""Whose stop a change toward live undoes: shown with a prompt on a terminal, printed afterwards elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable

from django.core.management.base import CommandError, OutputWrapper

from golive.database import installation
from golive.domain.changes import STOP_OF, Change
from golive.domain.decision import decide
from golive.domain.effects import is_in_effect, row_of
from golive.domain.errors import RecordedChange
from golive.domain.rows import Rows, format_time
from golive.state import history, singletons
from golive.text import make_visible

NOT_CONFIRMED = "Nothing was done: you did not type yes."


def is_terminal(output: OutputWrapper) -> bool:
    """Whether somebody can read the prompt and answer it."""
    return sys.stdin is not None and sys.stdin.isatty() and output.isatty()


def ask(change: Change, output: OutputWrapper, *, refused: int, read_line: Callable[[], str]) -> int:
    """Show what would be undone and ask for confirmation. Returns the revision shown.

    Raises CommandError without a yes, StateUnknownError if the state cannot be read.
    """
    go_live, system = singletons.read_both()
    row = row_of(Rows(go_live, system), change.subject)
    decision = decide(go_live)
    output.write(f"Environment: {installation.describe()}")
    output.write(f"{decision.code}: {decision.message}")
    if is_in_effect(change, row):
        output.write(change.already)
    else:
        output.write(describe_stop(history.find_newest(STOP_OF[change.name])))
    last = history.find_change(row)
    output.write(f"Revision {row.revision}" + (f", by {_describe(last)}" if last else ""))
    output.write(f"{change.label}? Type yes: ", ending="")
    output.flush()
    if read_line().strip() != "yes":
        raise CommandError(NOT_CONFIRMED, returncode=refused)
    return row.revision


def describe_stop(stop: RecordedChange | None) -> str:
    """Who stopped, when and why, on one line."""
    if stop is None:
        return "Stopped since installation, or before the newest events."
    return f"Stopped by {_describe(stop)}"


def _describe(change: RecordedChange) -> str:
    # Names and reasons are untrusted: keep them on one line, with control characters escaped.
    actor, reason = make_visible(change.actor), make_visible(change.reason)
    return f"{actor} ({change.change}) at {format_time(change.at)}: {reason or 'no reason given'}"
