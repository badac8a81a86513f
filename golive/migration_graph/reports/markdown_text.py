"""Untrusted text in Markdown: shown verbatim, as inline code, and as the names of places and commits."""

from __future__ import annotations

import re
from typing import Final

from golive.migration_graph.model import Commit
from golive.migration_graph.reports.words import MAX_NAME_LENGTH, make_visible, name_place, show

# Everything that Markdown could interpret as markup, a tag or a link in the middle of a line. `@` becomes code: nothing
# else keeps GitHub from notifying the user of that name.
_MARKS: Final = re.compile(r"@+|[\\`*_\[\]<>#~&:$]|(?<=www)\.", re.IGNORECASE)
_REFERENCES: Final = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "`": "&#96;"}


def escape(text: str) -> str:
    """Untrusted text to be shown verbatim: on one line, with all markup escaped."""
    text = make_visible(" ".join(text.split("\n")))
    return _MARKS.sub(_escape_mark, text)


def _escape_mark(match: re.Match[str]) -> str:
    mark = match[0]
    return f"`{mark}`" if mark.startswith("@") else _REFERENCES.get(mark, f"\\{mark}")


def quote(text: str, max_length: int = MAX_NAME_LENGTH) -> str:
    """Untrusted text as inline code."""
    text = show(text, max_length)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    inner = f" {text} " if text.startswith(("`", " ")) or text.endswith(("`", " ")) or not text else text
    return f"{fence}{inner}{fence}"


def quote_place(file: str | None, line: int | None) -> str:
    return quote(name_place(file, line))


def describe_commit(commit: Commit) -> str:
    """`2026-01-12, commit 9e107d9d372b (Fix the chain) by ann`."""
    return f"{escape(show(commit.date)[:10])}, commit {name_commit(commit)}"


def name_commit(commit: Commit) -> str:
    author = f" by {escape(show(commit.author))}" if commit.author else ""
    return f"{quote(commit.commit[:12])} ({quote(commit.subject)}){author}"
