"""The lock file `migrations.lock`: it records released migrations, so that a later edit of one is an error.

TOML, one line per revision with its parents and the SHA-256 of its content, sorted by name: adding a revision adds a
line, and branches that add different revisions merge without conflict. Lines are only ever added. Line endings are
ignored (git may convert them); everything else counts, even comments: a released migration must not be touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path

from golive.migration_graph.discovery.sources import parse_toml, read_settings
from golive.migration_graph.model import Finding, Node, Report, Severity, UnusableInputError, index_by_name
from golive.migration_graph.readers.values import format_value

DEFAULT_NAME = "migrations.lock"
FORMAT = 1
_HEADER = f"""\
# What has been released. A later edit of a migration that stands here is an error (MG401, MG402).
# Written by `audit_migrations --write-lock`, which only adds lines. Do not edit.
format = {FORMAT}

[revisions]
"""
_CONFLICT = re.compile(r"^(<{7} |={7}$|>{7} |\|{7} )", re.MULTILINE)


class LockRefusedError(Exception):
    """The lock file was not written. The one-line message says why."""


@dataclass(frozen=True)
class LockedRevision:
    """A revision when it was locked: its parents as written, and the SHA-256 of its content in hex."""

    parents: tuple[str, ...]
    sha256: str

    def matches(self, node: Node) -> bool:
        return self.sha256 == node.content_hash


Lock = Mapping[str, LockedRevision]


def read_lock(path: Path) -> dict[str, LockedRevision]:
    """The locked revisions by name. Raises UnusableInputError, which names file and line, if the file is invalid."""
    text = read_settings(path).replace("\r\n", "\n")
    if conflict := _CONFLICT.search(text):
        line = text.count("\n", 0, conflict.start()) + 1
        raise UnusableInputError(f"{path}:{line}: a merge conflict; keep the lines of both sides")
    content = parse_toml(path, text)
    # Check the type too: `true` equals 1.
    if type(content.get("format")) is not int or content["format"] != FORMAT:
        raise UnusableInputError(f"{path}: no lock file of format {FORMAT}")
    revisions = content.get("revisions", {})
    if not isinstance(revisions, dict):
        raise UnusableInputError(f"{path}: `revisions` is not a table")
    return {name: _read_revision(path, text, name, value) for name, value in revisions.items()}


def check_lock(report: Report, lock: Lock) -> Report:
    """Add MG401 or MG402 for each locked revision that was changed or removed since its release."""
    by_name = index_by_name(report.graph.nodes)
    findings = []
    for name, locked in lock.items():
        nodes = [report.graph.nodes[key] for key in by_name.get(name, ())]
        if not nodes:
            findings.append(_describe_removed(name, locked))
        # If two files share an id, one may be the unchanged released file; the duplicate is reported as MG103.
        elif not any(locked.matches(node) for node in nodes):
            findings.append(_describe_changed(nodes[0], locked))
    return replace(report, findings=(*report.findings, *findings))


def write_lock(report: Report, path: Path) -> tuple[str, ...]:
    """Add new revisions to the lock file and return their names; existing entries are never changed.

    The file is replaced atomically or left as it was. Raises LockRefusedError if the audit has errors, including an
    edit of a locked revision, and UnusableInputError if the file cannot be read.
    """
    lock = read_lock(path) if os.path.lexists(path) else {}
    errors = [finding for finding in check_lock(report, lock).findings if finding.severity is Severity.ERROR]
    if errors:
        codes = ", ".join(sorted({finding.code for finding in errors}))
        raise LockRefusedError(f"{path} was not written: only a sound graph is locked, and there are errors ({codes})")
    new = {
        node.name: LockedRevision(node.parents, node.content_hash)
        for node in report.graph.nodes.values()
        if node.name not in lock
    }
    if new or not os.path.lexists(path):
        try:
            content = format_lock({**lock, **new}).encode()
        except UnicodeEncodeError:
            raise LockRefusedError(f"{path} was not written: a name is not text that UTF-8 can hold") from None
        _replace_file(path, content)
    return tuple(sorted(new))


def format_lock(lock: Lock) -> str:
    """The text of a lock file, independent of the order in which revisions were added."""
    lines = [
        f"{_quote(name)} = {{ parents = [{_quote_all(locked.parents)}], sha256 = {_quote(locked.sha256)} }}\n"
        for name, locked in sorted(lock.items(), key=itemgetter(0))
    ]
    return _HEADER + "".join(lines)


def _quote_all(texts: Iterable[str]) -> str:
    return ", ".join(map(_quote, texts))


def _quote(text: str) -> str:
    # TOML basic strings are JSON strings, except for DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _read_revision(path: Path, text: str, name: str, value: object) -> LockedRevision:
    if isinstance(value, dict) and value.keys() >= {"parents", "sha256"}:
        parents, sha256 = value["parents"], value["sha256"]
        if isinstance(parents, list) and all(isinstance(parent, str) for parent in parents) and isinstance(sha256, str):
            return LockedRevision(tuple(parents), sha256)
    lines = text.splitlines()
    line = next((number for number, content in enumerate(lines, 1) if content.startswith(_quote(name))), 1)
    raise UnusableInputError(f"{path}:{line}: {_quote(name)} has no `parents` and `sha256`")


def _describe_changed(node: Node, locked: LockedRevision) -> Finding:
    before, after = format_value(locked.parents), format_value(node.parents)
    if sorted(locked.parents) != sorted(node.parents):
        message = f"{node.name} was changed after its release: its parents are {after}, released were {before}"
        hint = f"Put {before} back in {node.key}, and the rest of the file as it was released."
    else:
        message = f"{node.name} was changed after its release; its parents are the same"
        hint = (
            f"Put {node.key} back as it was released, and make the change in a new migration. If it is meant and"
            " harmless, take its line out of the lock file in the same commit and write the lock again."
        )
    line = min((reference.line for reference in node.references), default=node.line)
    return Finding(
        "MG401", "changed-after-lock", Severity.ERROR, message, hint, file=node.key, line=line, revisions=(node.name,)
    )


def _describe_removed(name: str, locked: LockedRevision) -> Finding:
    return Finding(
        "MG402",
        "removed-after-lock",
        Severity.ERROR,
        f"{name} was released and is gone; its parents were {format_value(locked.parents)}",
        "Put the file back: databases have run it. If no database has, take its line out of the lock file.",
        revisions=(name,),
    )


def _replace_file(path: Path, content: bytes) -> None:
    """Replace the file atomically: a reader sees the complete old or new content, even after a crash."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def find_locked_parents(lock: Lock, node: Node) -> tuple[str, ...] | None:
    """The parents to restore: those of the locked revision, if the node's parents differ from them now."""
    locked = lock.get(node.name)
    if locked is None or sorted(locked.parents) == sorted(node.parents):
        return None
    return locked.parents
