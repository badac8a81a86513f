"""What to do about a report that is not sound: its remedies ranked, its hints by the history, and its headline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from golive.migration_graph.findings.lock_file import Lock
from golive.migration_graph.findings.names import describe_duplicate
from golive.migration_graph.history.past import Past, Removed
from golive.migration_graph.model import (
    Action,
    Commit,
    Edit,
    Finding,
    Graph,
    Kind,
    ParsedFile,
    Project,
    Report,
    Role,
    index_by_name,
)
from golive.migration_graph.readers.written import find_written, quote_alike
from golive.migration_graph.remedies.headline import find_headline, find_newer
from golive.migration_graph.remedies.outcome import Refuse, Trial, undo
from golive.migration_graph.remedies.ranking import rank_remedies

# Key -> content of the file; None: it cannot be read.
Read = Callable[[str], "bytes | None"]
_VARIABLES: Final = {Role.PARENT: "down_revision", Role.DEPENDENCY: "depends_on"}


def advise(
    report: Report,
    files: Sequence[ParsedFile],
    project: Project,
    *,
    past: Past | None = None,
    lock: Lock | None = None,
    folder: str = ".",
    read: Read | None = None,
    refuse: Refuse | None = None,
) -> Report:
    """The report with its advice. `files` and `project` are those of the layout, `lock` is that of the lock file.

    Without `past`, which is what the history tells, the files are the only evidence. `folder`: what
    the keys are relative to, for commands. `read`: key -> content of the file, for headlines that quote what is written
    there. `refuse`: see `outcome.Refuse`.
    """
    past, lock = past or Past(), lock or {}
    trial = Trial(report, files, project, refuse=refuse)
    report = rank_remedies(report, trial, past=past, lock=lock)
    keys = [file.key for file in files]
    findings = (_drop_harmful_edit(report.graph, _unmask(report, one), trial) for one in report.findings)
    report = replace(report, findings=tuple(_explain(report.graph, one, past, lock, keys) for one in findings))
    headline = find_headline(report, trial, past=past, lock=lock, folder=folder)
    if headline is not None and read is not None:
        quoted = tuple(_quote(report.kind, headline.action, edit, read(edit.file)) for edit in headline.edits)
        headline = replace(headline, edits=quoted)
    return replace(report, headline=headline)


def _quote(kind: Kind, action: Action, edit: Edit, content: bytes | None) -> Edit:
    """The edit with the value before, and its line, as the file has them."""
    references = "dependencies" if kind is Kind.DJANGO else _VARIABLES[edit.role]
    variable = "revision" if action is Action.REID else references
    found = find_written(kind, content, variable) if content is not None else None
    if found is None or edit.after is None:
        return edit
    source, line = found
    return replace(edit, line=line, before=source, after=quote_alike(edit.after, source))


def _unmask(report: Report, finding: Finding) -> Finding:
    """MG201 with the commit that split the heads, where another error hid them for a while and its end showed them."""
    if finding.code != "MG201" or finding.introduced_by is None or report.kind is Kind.DJANGO:
        return finding
    episodes = report.episodes or ()
    hid_at = {one.began for one in episodes if one.code != "MG201" and one.ended == finding.introduced_by}
    split = next((one.began for one in episodes if one.code == "MG201" and one.ended in hid_at), None)
    return replace(finding, introduced_by=split or finding.introduced_by)


def _drop_harmful_edit(graph: Graph, finding: Finding, trial: Trial) -> Finding:
    """The finding without its edit if the value before would break something else: the edit mended that."""
    if finding.code not in ("MG201", "MG202") or finding.edit is None:
        return finding
    changed = undo(graph, [finding.edit])
    return finding if changed and trial.run(finding, changed).is_harmless else replace(finding, edit=None)


def _explain(graph: Graph, finding: Finding, past: Past, lock: Lock, reading: Sequence[str]) -> Finding:
    """The finding with what the history tells of its cause. `reading`: the keys, as the tool reads the files."""
    if finding.code in ("MG102", "MG107") and past.removed:
        missing = (one.name for one in graph.dangling.get(finding.file or "", ()) if one.line == finding.line)
        name = next((name for name in missing if name in past.removed and repr(name) in finding.message), None)
        return replace(finding, hint=_explain_removed(name, past.removed[name])) if name else finding
    if finding.code == "MG103":
        return _blame_newer(graph, finding, past, lock, reading)
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


def _blame_newer(graph: Graph, finding: Finding, past: Past, lock: Lock, reading: Sequence[str]) -> Finding:
    """MG103 at the newer file, if it is known which that is."""
    (name,) = finding.revisions
    newer, reason = find_newer(graph, name, past, lock)
    if not newer:
        return finding
    hint = f"Give {' and '.join(newer)} a new id, unless a database has run it: {reason}."
    keys = set(index_by_name(graph.nodes)[name])
    described = describe_duplicate(graph, name, newer[-1], [key for key in reading if key in keys], hint)
    return replace(finding, message=described.message, hint=described.hint, file=described.file, line=described.line)
