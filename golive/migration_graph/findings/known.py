"""Errors that the lock file keeps as known: they are still told, but only other ones fail an audit.

A subject is what an error is about: the names of its revisions, or else its file; never a line or a message, which
change while the error stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from golive.migration_graph.model import Finding, Kind, Report, Severity, get_app

Subject = tuple[str, ...]
# Code -> the subjects of its known errors, sorted. Two errors with equal subjects are listed twice.
Known = Mapping[str, tuple[Subject, ...]]


def mark_known(report: Report, known: Known) -> Report:
    """The report with its known errors marked; each entry stands for one error."""
    left = Counter((code, subject) for code, subjects in known.items() for subject in subjects)
    wider = _index_wider(known, report.kind)
    findings = []
    for finding in report.findings:
        code, subject = finding.code, _name_subject(report, finding)
        places = _list_places(code, subject[:1], report.kind)
        entries = [subject, *(entry for place in places for entry in wider.get((code, place), ()))]
        found = next((each for each in entries if left[code, each] and _covers(code, each, subject)), None)
        is_known = found is not None and can_be_known(finding)
        if is_known and found is not None:
            left[code, found] -= 1
        findings.append(replace(finding, is_known=is_known))
    return replace(report, findings=tuple(findings))


def list_known(report: Report) -> dict[str, tuple[Subject, ...]]:
    """What the lock file keeps so that the errors of a report are known."""
    subjects: dict[str, list[Subject]] = {}
    for finding in report.findings:
        if can_be_known(finding):
            subjects.setdefault(finding.code, []).append(_name_subject(report, finding))
    return {code: tuple(sorted(subjects[code])) for code in sorted(subjects)}


def can_be_known(finding: Finding) -> bool:
    """Whether the finding is an error of the files: those of a database are about that database alone."""
    return finding.severity is Severity.ERROR and not finding.code.startswith("MG3")


def _name_subject(report: Report, finding: Finding) -> Subject:
    if finding.code == "MG401" and finding.file is not None:
        # Any further edit of the file is new.
        return (*finding.revisions, report.graph.nodes[finding.file].content_hash)
    return tuple(sorted(finding.revisions)) or (finding.file or "",)


def _covers(code: str, entry: Subject, subject: Subject) -> bool:
    """Whether an entry is about the same error: a cycle may shrink, and heads may move on, but none may be added."""
    if code == "MG101":
        return set(subject) <= set(entry)
    if code == "MG201":
        return len(subject) <= len(entry)
    return subject == entry


def _index_wider(known: Known, kind: Kind) -> dict[tuple[str, str], list[Subject]]:
    """The entries that may also cover another subject, by code and place."""
    index: dict[tuple[str, str], list[Subject]] = {}
    for code, subjects in known.items():
        for subject in subjects:
            for place in _list_places(code, subject, kind):
                index.setdefault((code, place), []).append(subject)
    return index


def _list_places(code: str, names: Subject, kind: Kind) -> list[str]:
    """Where an entry and a subject must meet: in a revision of a cycle, in the app of heads."""
    if code == "MG101":
        return list(names)
    if code == "MG201":
        return [get_app(name) if kind is Kind.DJANGO else "" for name in names[:1]]
    return []
