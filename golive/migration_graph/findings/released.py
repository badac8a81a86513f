"""What has been released against the files of today: MG401, MG402, and what the lock file is to hold."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from golive.migration_graph.catalogue import make_finding
from golive.migration_graph.findings.known import can_be_known, list_known
from golive.migration_graph.findings.lock_file import LockedRevision, LockFile, Placement, format_lock, replace_file
from golive.migration_graph.model import Finding, Kind, Node, ParsedFile, Report, Role, Severity
from golive.migration_graph.readers.values import format_value

# Keys of files -> their bodies (see `readers.bodies`). Bodies are read only where they matter.
ReadBodies = Callable[[Collection[str]], Mapping[str, str]]
# These are not repaired by an edit of the revisions that they name.
_NO_EDIT = ("MG201", "MG401", "MG402")
# The lists of a `Placement` as the files call them.
_ATTRIBUTES = {
    Kind.ALEMBIC: {"parents": "down_revision", "dependencies": "depends_on"},
    Kind.DJANGO: {"parents": "dependencies", "run_before": "run_before", "replaces": "replaces"},
}


class LockRefusedError(Exception):
    """The lock file was not written. The one-line message says why."""


def check_released(
    report: Report,
    files: Sequence[ParsedFile],
    lock: LockFile,
    read_bodies: ReadBodies,
    *,
    lock_key: str | None = None,
) -> Report:
    """Add MG401 or MG402 for each released revision that was edited or removed since.

    `lock_key`: the lock file below the audited folder; it is the file of what was removed.
    """
    by_name = _index(files)
    edited = {
        file.key
        for name, locked in lock.revisions.items()
        for file, node in by_name.get(name, ())
        if locked.sha256 != node.content_hash
    }
    bodies = read_bodies(edited) if edited else {}
    replaced = {name for names in report.graph.replaces.values() for name in names}
    findings: list[Finding] = []
    for name, locked in lock.revisions.items():
        judged = [_judge(report.kind, locked, file, node, bodies) for file, node in by_name.get(name, ())]
        # An unreadable file may define it, and the files of squashed migrations may go.
        if not judged and name not in report.graph.guesses and name not in replaced:
            findings.append(_describe_removed(report.kind, name, locked, lock_key))
        # If two files share an id, one may be the released file; the duplicate is reported as MG103.
        elif judged and None not in judged:
            findings.append(min((each for each in judged if each), key=lambda each: each.severity is Severity.ERROR))
    return replace(report, findings=(*report.findings, *findings))


def _index(files: Sequence[ParsedFile]) -> dict[str, list[tuple[ParsedFile, Node]]]:
    """Name -> the files that define it."""
    by_name: dict[str, list[tuple[ParsedFile, Node]]] = {}
    for file in files:
        if file.node is not None:
            by_name.setdefault(file.node.name, []).append((file, file.node))
    return by_name


def _judge(
    kind: Kind, locked: LockedRevision, file: ParsedFile, node: Node, bodies: Mapping[str, str]
) -> Finding | None:
    """The edit of a released revision; None: its content is as released, or its entry leaves open what differs."""
    if locked.sha256 == node.content_hash:
        return None
    if moved := _list_moves(kind, locked, file, node):
        return _report_moved(kind, locked, node, moved)
    if locked.body is None or locked.is_opaque or node.unread or _is_unreadable(file):
        return _report(
            node,
            "whether it still does the same cannot be told",
            f"Put {node.key} back as it was released. {_explain_unknown(locked)}".rstrip(),
        )
    if locked.body != bodies[file.key]:
        return _report(
            node,
            "what it does is not the same",
            f"Put {node.key} back as it was released: databases that have run it will not run it again. Make the "
            "change in a new migration. If no database has run it, take its line out of the lock file in the same "
            "commit and write the lock again.",
        )
    if locked.sha256 is None:
        return None
    return make_finding(
        "MG401",
        f"{node.name} was edited after its release; what it does and follows is the same",
        "Nothing needs to be done: comments, formatting and docstrings may change.",
        file=node.key,
        line=node.line,
        revisions=(node.name,),
        severity=Severity.INFO,
    )


def _explain_unknown(locked: LockedRevision) -> str:
    if locked.body is None:
        return (
            "Lines of the lock file without `body` cannot tell: check the release out and write the lock there, which "
            "completes them."
        )
    return "Values that place it were computed when it was locked." if locked.is_opaque else ""


def _is_unreadable(file: ParsedFile) -> bool:
    return any(finding.code == "MG105" for finding in file.findings)


def _get_placement(file: ParsedFile, node: Node) -> Placement:
    run_before = tuple(reference.name for reference in file.run_before)
    return Placement(node.parents, node.dependencies, run_before, file.replaces)


def _list_moves(kind: Kind, locked: LockedRevision, file: ParsedFile, node: Node) -> list[str]:
    """`its down_revision is 'c', released was None` for each list that is known to differ."""
    if locked.placement is None or locked.is_opaque or node.unread:
        return []
    attributes = _ATTRIBUTES[kind]
    after = _get_placement(file, node)
    pairs = {name: (getattr(locked.placement, name), getattr(after, name)) for name in attributes}
    return [
        f"its {attributes[name]} is {format_value(new, kind)}, released was {format_value(old, kind)}"
        for name, (old, new) in pairs.items()
        # Format 1 holds the parents alone.
        if sorted(old) != sorted(new) and (name == "parents" or locked.body is not None)
    ]


def _report_moved(kind: Kind, locked: LockedRevision, node: Node, moved: Sequence[str]) -> Finding:
    if sorted(locked.parents) != sorted(node.parents):
        role = Role.PARENT
        hint = (
            f"Put {format_value(locked.parents, kind)} back in {node.key}, and the rest of the file as it was released."
        )
    else:
        role = Role.DEPENDENCY
        hint = f"Put {node.key} back as it was released, and let a new migration come before or after others."
    return replace(_report(node, "; ".join(moved), hint), line=node.find_line(role))


def _report(node: Node, what: str, hint: str) -> Finding:
    message = f"{node.name} was changed after its release: {what}"
    return make_finding("MG401", message, hint, file=node.key, line=node.line, revisions=(node.name,))


def _describe_removed(kind: Kind, name: str, locked: LockedRevision, file: str | None) -> Finding:
    parents = "" if locked.placement is None else f"; its parents were {format_value(locked.parents, kind)}"
    return make_finding(
        "MG402",
        f"{name} was released and is gone{parents}",
        "Put the file back: databases have run it. If no database has, take its line out of the lock file.",
        file=file,
        revisions=(name,),
    )


# -- writing -----------------------------------------------------------------------------------------------------------


def write_lock(
    report: Report,
    files: Sequence[ParsedFile],
    lock: LockFile | None,
    path: Path,
    read_bodies: ReadBodies,
    *,
    keeps_known: bool = False,
) -> LockFile:
    """Add what is new to the lock file, and return what it holds then. `lock`: its content now; None: no such file.

    Entries are completed, never changed; known errors that are gone are dropped. `keeps_known`: keep the errors of the
    report as known. The file is replaced atomically or left as it was. Raises LockRefusedError if there are new errors.
    """
    errors = [finding for finding in report.findings if finding.is_new_error]
    if errors and not keeps_known:
        codes = ", ".join(sorted({finding.code for finding in errors}))
        more = "; --known keeps them as known" if all(map(can_be_known, errors)) else ""
        raise LockRefusedError(f"{path} was not written: there are errors ({codes}){more}")
    old = lock or LockFile()
    new = LockFile({**old.revisions, **_list_entries(report, files, old, read_bodies)}, list_known(report))
    if new != lock:
        try:
            content = format_lock(new).encode()
        except UnicodeEncodeError:
            raise LockRefusedError(f"{path} was not written: a name is not text that UTF-8 can hold") from None
        replace_file(path, content)
    return new


def _list_entries(
    report: Report, files: Sequence[ParsedFile], lock: LockFile, read_bodies: ReadBodies
) -> dict[str, LockedRevision]:
    """The entries to add or to complete. What an error concerns is left open, so that its repair is no edit."""
    concerned = {
        name
        for finding in report.findings
        if can_be_known(finding) and finding.code not in _NO_EDIT
        for name in finding.revisions
    }
    # Of two files with one id, it is not known which was released; what is unreadable will have to change.
    singles = {name: found[0] for name, found in _index(files).items() if len(found) == 1}
    wanted = {
        name: (file, node)
        for name, (file, node) in singles.items()
        if not _is_unreadable(file) and _can_add(lock.revisions.get(name), node, is_concerned=name in concerned)
    }
    bodies = read_bodies({file.key for file, _ in wanted.values()}) if wanted else {}
    entries = {}
    for name, (file, node) in wanted.items():
        body = node.content_hash if node.unread else bodies[file.key]
        locked = lock.revisions.get(name)
        if locked is None and name in concerned:
            entries[name] = LockedRevision(None, None, body)
        elif locked is None or locked.sha256 is not None or locked.body == body:
            entries[name] = LockedRevision(_get_placement(file, node), node.content_hash, body)
    return entries


def _can_add(locked: LockedRevision | None, node: Node, *, is_concerned: bool) -> bool:
    """Whether the file can add something to its entry, if there is one."""
    if locked is None:
        return not (is_concerned and node.unread)
    if locked.sha256 is None:
        return not is_concerned
    return locked.body is None and locked.sha256 == node.content_hash
