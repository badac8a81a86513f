"""The report as SARIF 2.1.0, which code scanning services read. https://docs.oasis-open.org/sarif/sarif/v2.1.0/"""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import quote

from golive.migration_graph.catalogue import CATALOGUE
from golive.migration_graph.model import Finding, Report, Severity
from golive.migration_graph.reports.offer import Offer, describe_offer, find_offer, find_place
from golive.migration_graph.reports.words import join_path, make_visible, name_commit, name_edge

VERSION: Final = "2.1.0"
SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
# Bump when fingerprints are computed differently.
FINGERPRINT: Final = "migrationAudit/v1"
_LEVELS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_ROOT: Final = "AUDITED"
# Best first; services show only a few.
MAX_CUTS: Final = 20


def render(report: Report) -> str:
    return json.dumps(describe(report), indent=2) + "\n"


def describe(report: Report) -> dict[str, Any]:
    rules = list(CATALOGUE)
    offer = find_offer(report)
    run: dict[str, Any] = {
        "tool": {"driver": {"name": "audit_migrations", "rules": [_describe_rule(code) for code in rules]}},
        "results": [_describe_result(report, finding, rules.index(finding.code), offer) for finding in report.findings],
        "columnKind": "utf16CodeUnits",
    }
    if _is_absolute(report):
        # With an absolute path, only the caller knows where the repository root is.
        run["originalUriBaseIds"] = {_ROOT: {"uri": f"file://{_quote_path(report.path).rstrip('/')}/"}}
    return {"$schema": SCHEMA, "version": VERSION, "runs": [run]}


def _describe_rule(code: str) -> dict[str, Any]:
    kind = CATALOGUE[code]
    name, meaning, remedy = kind.name, kind.meaning, kind.remedy
    return {
        "id": code,
        "name": "".join(word.capitalize() for word in name.split("-")),
        "shortDescription": {"text": f"{name}: {meaning}"},
        "fullDescription": {"text": f"{meaning} {remedy}"},
        "help": {"text": remedy, "markdown": f"**{code} {name}.** {meaning}\n\n{remedy}"},
        "defaultConfiguration": {"level": _LEVELS[kind.severity]},
    }


def _describe_result(report: Report, finding: Finding, index: int, offer: Offer | None) -> dict[str, Any]:
    answer = describe_offer(report) if offer is not None and offer.finding is finding else ""
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": index,
        # Known errors fail nothing.
        "level": "note" if finding.is_known else _LEVELS[finding.severity],
        "message": {"text": _describe_message(finding, answer)},
        "partialFingerprints": {FINGERPRINT: identify(finding)},
    }
    if finding.is_known:
        result["suppressions"] = [{"kind": "external", "justification": "The lock file keeps this error as known."}]
    file, line = find_place(report, finding, offer)
    if file is not None and (place := _locate(report, file, line)):
        result["locations"] = [place]
    others: list[tuple[str, int | None, str]] = []
    if finding.file is not None and finding.file != file:
        others.append((finding.file, finding.line, "where it was found"))
    others += [
        (edge.file, edge.line, f"remedy of rank {cut.rank}: take out {name_edge(edge)}")
        for cut in finding.cuts[:MAX_CUTS]
        for edge in cut.edges
    ]
    if related := [place for other in others if (place := _locate(report, *other))]:
        result["relatedLocations"] = [{"id": number, **place} for number, place in enumerate(related)]
    return result


def _describe_message(finding: Finding, answer: str) -> str:
    since = f"Since commit {name_commit(finding.introduced_by)}." if finding.introduced_by is not None else ""
    return make_visible(" ".join(text for text in (answer, finding.message, finding.hint, since) if text))


def identify(finding: Finding) -> str:
    """A fingerprint that stays the same when lines move or messages are reworded."""
    parts = [finding.code, finding.file or "", *sorted(finding.revisions)]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _locate(report: Report, file: str, line: int | None, text: str | None = None) -> dict[str, Any] | None:
    """The place in a file; None: it is outside the repository."""
    path = join_path(report, file)
    if path is None:
        return None
    if _is_absolute(report):
        artifact = {"uri": _quote_path(file), "uriBaseId": _ROOT}
    else:
        artifact = {"uri": _quote_path(path), "uriBaseId": "%SRCROOT%"}
    place: dict[str, Any] = {"physicalLocation": {"artifactLocation": artifact}}
    if line is not None:
        place["physicalLocation"]["region"] = {"startLine": line}
    if text is not None:
        place["message"] = {"text": text}
    return place


def _is_absolute(report: Report) -> bool:
    """Whether files can only be named below an absolute path, as where there is no repository."""
    return report.repository_path is None and PurePosixPath(report.path).is_absolute()


def _quote_path(path: str) -> str:
    return quote(path.encode("utf-8", "surrogateescape"))
