"""What to do about a report that is not sound: its remedies ranked, its hints by the history, and its headline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from golive.migration_graph.findings.lock_file import Lock
from golive.migration_graph.findings.names import describe_duplicate
from golive.migration_graph.history.past import Past, Removed
from golive.migration_graph.model import Commit, Finding, Graph, ParsedFile, Project, Report, index_by_name
from golive.migration_graph.remedies.headline import find_headline, find_newer
from golive.migration_graph.remedies.outcome import Refuse, Trial, undo
from golive.migration_graph.remedies.ranking import rank_remedies


def advise(
    report: Report,
    files: Sequence[ParsedFile],
    project: Project,
    *,
    past: Past | None = None,
    lock: Lock | None = None,
    refuse: Refuse | None = None,
) -> Report:
    """The report with its advice. `files` and `project` are those of the layout, `lock` is that of the lock file.

    Without `past`, which is what the history tells, the files are the only evidence. `refuse`: see `outcome.Refuse`.
    """
    past, lock = past or Past(), lock or {}
    trial = Trial(report, files, project, refuse=refuse)
    report = rank_remedies(report, trial, past=past, lock=lock)
    keys = [file.key for file in files]
    findings = (_drop_harmful_edit(report.graph, one, trial) for one in report.findings)
    report = replace(report, findings=tuple(_explain(report.graph, one, past, keys) for one in findings))
    return replace(report, headline=find_headline(report, trial, past=past, lock=lock))


def _drop_harmful_edit(graph: Graph, finding: Finding, trial: Trial) -> Finding:
    """The finding without its edit if the value before would break something else: the edit mended that."""
    if finding.code not in ("MG201", "MG202") or finding.edit is None:
        return finding
    changed = undo(graph, [finding.edit])
    return finding if changed and trial.run(finding, changed).is_harmless else replace(finding, edit=None)


def _explain(graph: Graph, finding: Finding, past: Past, reading: Sequence[str]) -> Finding:
    """The finding with what the history tells of its cause. `reading`: the keys, as the tool reads the files."""
    if finding.code in ("MG102", "MG107") and past.removed:
        missing = (one.name for one in graph.dangling.get(finding.file or "", ()) if one.line == finding.line)
        name = next((name for name in missing if name in past.removed and repr(name) in finding.message), None)
        return replace(finding, hint=_explain_removed(name, past.removed[name])) if name else finding
    if finding.code == "MG103":
        return _blame_newer(graph, finding, past.added, reading)
    return finding


def _explain_removed(name: str, removed: Removed) -> str:
    where = f"in {_name(removed.commit)}" if removed.commit else "by a change that is not committed"
    if removed.successor:
        return (
            f"It was renamed to {removed.successor} {where}: name that, or give the file its old id back if a database "
            f"has run it as {name}."
        )
    return f"Its file {removed.file.key} was deleted {where}: bring it back."


def _name(commit: Commit) -> str:
    return f'commit {commit.commit[:12]} "{commit.subject}"'


def _blame_newer(graph: Graph, finding: Finding, added: Mapping[str, int], reading: Sequence[str]) -> Finding:
    """MG103 at the newer file, if the history knows which that is."""
    (name,) = finding.revisions
    keys = index_by_name(graph.nodes)[name]
    newer = find_newer(keys, added)
    if not newer:
        return finding
    hint = f"Give {' and '.join(newer)} an id of its own, unless a database has run it: by the history it came later."
    ordered = [key for key in reading if key in keys]
    described = describe_duplicate(graph, name, newer[-1], ordered, hint)
    return replace(finding, message=described.message, hint=described.hint, file=described.file, line=described.line)
