"""Escape untrusted text for HTML, with hidden characters made visible."""

from __future__ import annotations

from html import escape

from golive.migration_graph.model import Commit
from golive.migration_graph.reports.words import MAX_NAME_LENGTH, make_visible, show


def text(untrusted: str) -> str:
    """For element content and quoted attributes."""
    return escape(make_visible(untrusted))


def code(untrusted: str, max_length: int = MAX_NAME_LENGTH) -> str:
    return f"<code>{escape(show(untrusted, max_length))}</code>"


def commit_text(commit: Commit) -> str:
    author = f" by {text(show(commit.author))}" if commit.author else ""
    return (
        f"{text(show(commit.date)[:10])}, commit {code(commit.commit[:12])} <q>{text(show(commit.subject))}</q>{author}"
    )
