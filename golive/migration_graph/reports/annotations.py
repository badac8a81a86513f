"""Workflow commands for GitHub Actions, which annotates each finding at its line in a pull request.

Escaping follows the Actions toolkit: `%`, CR and LF in the message; also `:` and `,` in properties. GitHub drops what
is over its limit of annotations without a word: the rest is named in the last one and written into the log.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from golive.migration_graph.model import Finding, Report, Severity
from golive.migration_graph.reports.offer import Offer, describe_offer, find_offer, find_place, summarize
from golive.migration_graph.reports.words import (
    count,
    describe_not_read,
    describe_severity,
    describe_size,
    join_path,
    make_visible,
    name_commit,
    name_place,
)

_LEVELS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}
# Of each level in one step. https://docs.github.com/en/rest/checks/runs
MAX_ANNOTATIONS: Final = 10


def render(report: Report) -> str:
    return "\n".join(_write(report)) + "\n"


def _write(report: Report) -> Iterator[str]:
    by_level: dict[str, list[Finding]] = {level: [] for level in _LEVELS.values()}
    for finding in report.findings:
        by_level[_get_level(finding)].append(finding)
    limits = dict.fromkeys(by_level, MAX_ANNOTATIONS)
    if any(len(findings) > MAX_ANNOTATIONS for findings in by_level.values()):
        # The last notice says what is left out.
        limits["notice"] -= 1
    offer = find_offer(report)
    left = {id(finding) for level, findings in by_level.items() for finding in findings[limits[level] :]}
    for finding in report.findings:
        if id(finding) not in left:
            yield _annotate(report, finding, offer)
    if left:
        counts = [
            count(len(found) - limits[level], level) for level, found in by_level.items() if len(found) > limits[level]
        ]
        text = f"And {', '.join(counts)} more, which GitHub would not show here: they are in the log of this step."
        yield _command("notice", text, title="audit_migrations")
        yield from (_describe_in_log(finding) for finding in report.findings if id(finding) in left)
    yield make_visible(f"{summarize(report)}. {describe_size(report)}.")
    yield from describe_not_read(report)


def _get_level(finding: Finding) -> str:
    """Known errors fail nothing, so they are notices."""
    return "notice" if finding.is_known else _LEVELS[finding.severity]


def _annotate(report: Report, finding: Finding, offer: Offer | None) -> str:
    file, line = find_place(report, finding, offer)
    path = join_path(report, file) if file is not None else None
    title = f"{finding.code} {finding.name}{' (known)' if finding.is_known else ''}"
    answer = describe_offer(report) if offer is not None and offer.finding is finding else ""
    lines = [answer, finding.message, finding.hint]
    if finding.file is not None and finding.file != file:
        lines.append(f"Found in {name_place(finding.file, finding.line)}.")
    if finding.introduced_by is not None:
        lines.append(f"Since commit {name_commit(finding.introduced_by)}.")
    text = "\n".join(make_visible(part) for line in lines for part in line.split("\n") if part)
    return _command(_get_level(finding), text, file=path, line=line if path is not None else None, title=title)


def _describe_in_log(finding: Finding) -> str:
    place = name_place(finding.file, finding.line)
    text = f"{finding.code} {finding.name} ({describe_severity(finding)}) {place}: {finding.message} {finding.hint}"
    return make_visible(" ".join(text.split()))


def _command(level: str, text: str, **properties: str | int | None) -> str:
    pairs = [f"{name}={_escape_property(str(value))}" for name, value in properties.items() if value is not None]
    return f"::{level} {','.join(pairs)}::{_escape(text)}"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape(make_visible(text)).replace(":", "%3A").replace(",", "%2C")
