"""The report as one JSON object, for programs. The keys are a contract (docs/migrations/audit.md)."""

from __future__ import annotations

import json
from typing import Any

from golive.migration_graph.model import (
    Commit,
    ComparedDatabase,
    Cut,
    Edge,
    Edit,
    Episode,
    Finding,
    Headline,
    Node,
    Report,
)
from golive.migration_graph.reports.words import escape_surrogates


def render(report: Report) -> str:
    # ASCII, so that it survives any terminal and locale.
    return json.dumps(_clean(describe(report)), indent=2) + "\n"


def describe(report: Report) -> dict[str, Any]:
    """The JSON object. The keys for history and database are present only if these were requested."""
    with_history = report.episodes is not None or report.history_note is not None
    described: dict[str, Any] = {
        "path": report.path,
        "kind": report.kind.value,
        "revisions": report.revisions,
        "heads": list(report.graph.heads),
        "bases": list(report.graph.bases),
        "merges": report.merges,
        "branch_points": report.branch_points,
        "sound": report.sound,
        "graph": [_describe_node(node) for node in report.graph.nodes.values()],
        "unchecked_references": report.graph.unchecked,
        "last_sound": _describe_commit(report.last_sound),
        "headline": None if report.headline is None else _describe_headline(report.headline),
        "not_read": [{"path": each.path, "files": each.files, "why": each.why} for each in report.not_read],
        "findings": [_describe_finding(finding, with_history=with_history) for finding in report.findings],
    }
    if with_history:
        described["episodes"] = [_describe_episode(episode) for episode in report.episodes or ()]
        described["history_note"] = report.history_note
    if report.databases:
        described["databases"] = [_describe_database(database) for database in report.databases]
    if report.pending is not None:
        described["pending"] = list(report.pending)
    return described


def _describe_database(database: ComparedDatabase) -> dict[str, Any]:
    return {
        "name": database.name,
        "rows": list(database.rows),
        "pending": None if database.pending is None else list(database.pending),
        "ran_from": database.ran_from,
    }


def _describe_node(node: Node) -> dict[str, Any]:
    return {
        "revision": node.name,
        "parents": list(node.parents),
        "dependencies": list(node.dependencies),
        "file": node.key,
    }


def _describe_finding(finding: Finding, *, with_history: bool) -> dict[str, Any]:
    described: dict[str, Any] = {
        "code": finding.code,
        "name": finding.name,
        "severity": finding.severity.value,
        "known": finding.is_known,
        "message": finding.message,
        "hint": finding.hint,
        "file": finding.file,
        "line": finding.line,
        "revisions": list(finding.revisions),
    }
    if finding.cycle is not None:
        described["cycle"] = list(finding.cycle)
        described["cuts"] = [_describe_cut(cut) for cut in finding.cuts]
        described["affected"] = finding.affected
        described["is_minimal"] = finding.is_minimal
    if with_history:
        described["introduced_by"] = _describe_commit(finding.introduced_by)
        described["edit"] = None if finding.edit is None else _describe_edit(finding.edit)
    return described


def _describe_cut(cut: Cut) -> dict[str, Any]:
    return {
        "edges": [_describe_edge(edge) for edge in cut.edges],
        "restore": cut.restore,
        "because": list(cut.because),
        "rank": cut.rank,
        "edits": [_describe_edit(edit) for edit in cut.edits],
        "heads_after": None if cut.heads is None else list(cut.heads),
        "bases_after": None if cut.bases is None else list(cut.bases),
        "sound_after": cut.is_sound,
    }


def _describe_headline(headline: Headline) -> dict[str, Any]:
    return {
        "action": headline.action.value,
        "code": headline.code,
        "revisions": list(headline.revisions),
        "edits": [_describe_edit(edit) for edit in headline.edits],
        "command": headline.command,
        "because": list(headline.because),
        "result": {"heads": list(headline.heads), "bases": list(headline.bases), "sound": headline.is_sound},
    }


def _describe_edge(edge: Edge) -> dict[str, Any]:
    return {"child": edge.child, "parent": edge.parent, "file": edge.file, "line": edge.line}


def _describe_edit(edit: Edit) -> dict[str, Any]:
    return {"file": edit.file, "line": edit.line, "before": edit.before, "after": edit.after}


def _describe_commit(commit: Commit | None) -> dict[str, Any] | None:
    if commit is None:
        return None
    return {"commit": commit.commit, "subject": commit.subject, "date": commit.date, "author": commit.author}


def _describe_episode(episode: Episode) -> dict[str, Any]:
    return {
        "code": episode.code,
        "summary": episode.summary,
        "began": _describe_commit(episode.began),
        "ended": _describe_commit(episode.ended),
        "edits": [_describe_edit(edit) for edit in episode.edits],
    }


def _clean(value: Any) -> Any:
    """Escape lone surrogates, which strict JSON parsers reject."""
    if isinstance(value, str):
        return escape_surrogates(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    return value
