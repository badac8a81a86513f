"""Workflow commands for GitHub Actions, which annotates each finding at its line in a pull request.

Escaping follows the Actions toolkit: `%`, CR and LF in the message; also `:` and `,` in properties.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from golive.migration_graph.model import Finding, Report, Severity
from golive.migration_graph.reports.offer import describe_offer, find_offer, summarize
from golive.migration_graph.reports.words import describe_size, join_path, make_visible, name_commit

_LEVELS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def render(report: Report) -> str:
    return "\n".join(_write(report)) + "\n"


def _write(report: Report) -> Iterator[str]:
    offer = find_offer(report)
    for finding in report.findings:
        is_answered = offer is not None and offer.finding is finding
        file, line = offer.place if is_answered and offer is not None else (finding.file, finding.line)
        place = {"file": join_path(report, file) if file is not None else None, "line": line}
        title = f"{finding.code} {finding.name}"
        text = _describe(finding, describe_offer(report) if is_answered else "")
        yield _command(_LEVELS[finding.severity], text, **place, title=title)
    yield make_visible(f"{summarize(report)}. {describe_size(report)}.")


def _describe(finding: Finding, answer: str) -> str:
    lines = [answer, finding.message, finding.hint]
    if finding.introduced_by is not None:
        lines.append(f"Since commit {name_commit(finding.introduced_by)}.")
    return "\n".join(make_visible(text) for line in lines for text in line.split("\n") if text)


def _command(level: str, text: str, **properties: str | int | None) -> str:
    pairs = [f"{name}={_escape_property(str(value))}" for name, value in properties.items() if value is not None]
    return f"::{level} {','.join(pairs)}::{_escape(text)}"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape(make_visible(text)).replace(":", "%3A").replace(",", "%2C")
