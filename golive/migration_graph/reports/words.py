"""Wording shared by all reports: fixed sentences, counts, places, edges, commits; and escaping of untrusted text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from posixpath import normpath
from typing import Final

from golive.migration_graph.model import Commit, ComparedDatabase, Edge, Finding, Report
from golive.text import escape_surrogates as escape_surrogates  # noqa: PLC0414 - for all reports
from golive.text import make_visible as make_visible  # noqa: PLC0414

MAX_NAME_LENGTH: Final = 120
MAX_NAMES: Final = 8
NO_SINGLE_EDIT: Final = "No single edit can be named. The findings say what is wrong."
NOT_MINIMAL: Final = "Not proven minimal: a smaller set of edges might do"
PENDING_TITLE: Final = "What an upgrade would run"
NO_PLAN: Final = "No upgrade is possible: the findings say why."
_FROM_HISTORY: Final = (
    "What ran there is what the commits of this branch tell; of deploys from others nothing is known."
)
_ASSUMED: Final = (
    "What ran there is taken to be what comes before its rows: neither a lock file nor the history tells otherwise."
)


def show(text: str, max_length: int = MAX_NAME_LENGTH) -> str:
    """An untrusted name for display: hidden characters escaped, cut to `max_length`."""
    text = make_visible(text)
    return text if len(text) <= max_length else f"{text[: max_length - 3]}..."


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 revision`, `94 revisions`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def list_names(names: Sequence[str], limit: int = MAX_NAMES) -> str:
    """The first names and the number of further ones; `none` for an empty list."""
    shown = ", ".join(show(name) for name in names[:limit])
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return f"{shown}{more}" or "none"


def shorten_cycle(cycle: Sequence[str], limit: int = MAX_NAMES) -> list[str]:
    """A cycle's names for display, the first repeated at the end; the middle of a long cycle becomes a count."""
    names = [show(name) for name in cycle]
    if len(names) > limit:
        half = limit // 2
        names = [*names[:half], f"({len(names) - 2 * half:,} more)", *names[-half:]]
    return [*names, *names[:1]]


def name_place(file: str | None, line: int | None) -> str:
    """`versions/a.py:14`, without the parts that are unknown."""
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


def title_plan(report: Report, database: ComparedDatabase, quote: Callable[[str], str]) -> str:
    """The title over a database's plan; its name, quoted, only if there are several."""
    return PENDING_TITLE if len(report.databases) == 1 else f"{PENDING_TITLE} in {quote(database.name)}"


def describe_knowledge(database: ComparedDatabase) -> str:
    """On what the statements about a database rest, if that may be wrong."""
    return {"assumed": _ASSUMED, "history": _FROM_HISTORY}.get(database.ran_from or "", "")


def describe_severity(finding: Finding) -> str:
    """`error`, `known error`, `warning` or `info`."""
    return "known error" if finding.is_known else finding.severity.value


def get_noun(report: Report) -> str:
    """What the audited tool calls a migration."""
    return "revision" if report.kind == "alembic" else "migration"


def describe_size(report: Report) -> str:
    """`115 revisions, 1 head (c3), 1 base (a1), 2 merges, 3 branch points`."""
    return ", ".join(
        (
            count(report.revisions, get_noun(report)),
            describe_shape(report.graph.heads, report.graph.bases),
            count(report.merges, "merge"),
            count(report.branch_points, "branch point"),
        )
    )


def describe_not_read(report: Report) -> list[str]:
    """What the audit did not look at, in sentences; empty if that is nothing."""
    sentences = []
    if report.not_read:
        files = count(sum(each.files for each in report.not_read), "file")
        places = count(len(report.not_read), "place")
        sentences.append(f"Not read: {files} in {places}; MG108 tells which and why.")
    if report.graph.unchecked:
        references = count(report.graph.unchecked, "reference")
        sentences.append(f"Not checked: {references} to packages that were not looked at.")
    return sentences


def join_path(report: Report, file: str) -> str | None:
    """The path of a file in its repository; without one, relative to the caller's working directory.

    None: the file is outside the repository.
    """
    if report.repository_path is not None:
        joined = normpath(f"{report.repository_path}/{file}")
        return None if joined.startswith("../") else joined
    path = report.path.replace("\\", "/").rstrip("/")
    if path == "" and report.path.startswith("/"):
        return f"/{file}"
    return file if path in ("", ".") else f"{path.removeprefix('./')}/{file}"
