"""How things are said in all reports: counts, places, edges, commits; and untrusted text made visible."""

from __future__ import annotations

from collections.abc import Sequence

from golive.migration_graph.model import Commit, Edge, Report
from golive.text import escape_surrogates as escape_surrogates  # noqa: PLC0414 - for all reports
from golive.text import make_visible as make_visible  # noqa: PLC0414

LONGEST_NAME = 120
NAMES_SHOWN = 8


def show(text: str, longest: int = LONGEST_NAME) -> str:
    """One untrusted name for people: visible, and not longer than a line bears."""
    text = make_visible(text)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 revision`, `94 revisions`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def list_names(names: Sequence[str], most: int = NAMES_SHOWN) -> str:
    """The names, or the first ones and how many more there are; `none` for none."""
    shown = ", ".join(show(name) for name in names[:most])
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{shown}{more}" or "none"


def shorten_cycle(cycle: Sequence[str], most: int = NAMES_SHOWN) -> list[str]:
    """A cycle's names for people, its first name once more at the end; a long one with its middle counted."""
    names = [show(name) for name in cycle]
    if len(names) > most:
        half = most // 2
        names = [*names[:half], f"({len(names) - 2 * half:,} more)", *names[-half:]]
    return [*names, *names[:1]]


def name_place(file: str | None, line: int | None) -> str:
    """`versions/a.py:14`, without what is not known."""
    if file is None:
        return ""
    return make_visible(file) + (f":{line}" if line is not None else "")


def name_edge(edge: Edge) -> str:
    return f"{show(edge.child)} -> {show(edge.parent)}"


def name_commit(commit: Commit) -> str:
    """`9e107d9d 2026-01-12 "Fix the chain" by ann`."""
    author = f" by {show(commit.author)}" if commit.author else ""
    return f'{show(commit.commit)[:12]} {show(commit.date)[:10]} "{show(commit.subject)}"{author}'


def describe_shape(heads: Sequence[str], bases: Sequence[str]) -> str:
    """`1 head (c3), 1 base (a1)`."""
    return f"{_describe(heads, 'head')}, {_describe(bases, 'base')}"


def _describe(names: Sequence[str], noun: str) -> str:
    return f"{count(len(names), noun)} ({list_names(names, 4)})" if names else f"no {noun}"


def describe_size(report: Report) -> str:
    """`115 revisions, 1 head (c3), 1 base (a1), 2 merges, 3 branch points`."""
    return ", ".join(
        (
            count(report.revisions, "revision" if report.kind == "alembic" else "migration"),
            describe_shape(report.graph.heads, report.graph.bases),
            count(report.merges, "merge"),
            count(report.branch_points, "branch point"),
        )
    )


def join_path(report: Report, file: str) -> str:
    """The file as seen from where the caller stands: under the path that was given."""
    path = report.path.replace("\\", "/").rstrip("/")
    if path == "" and report.path.startswith("/"):
        return f"/{file}"
    return file if path in ("", ".") else f"{path.removeprefix('./')}/{file}"
