"""The lock file `migrations.lock`: what has been released, and which errors are known.

TOML, one line per revision, sorted by name: adding a revision adds a line, and branches that add different revisions
merge without conflict. An entry holds what the revision follows, the SHA-256 of its content and that of what it does
(see `readers.bodies`). Entries are only ever added or completed, never changed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from golive.migration_graph.discovery.sources import parse_toml, read_settings
from golive.migration_graph.findings.known import Known
from golive.migration_graph.model import Node, UnusableInputError

FORMAT: Final = 2
# Format 1 had no bodies, nothing that is followed but parents, and no known errors.
_READABLE: Final = (1, FORMAT)
_HEADER: Final = f"""\
# What has been released. A later edit of what a migration in this list does or follows is an error (MG401, MG402).
# Written by `audit_migrations --write-lock`, which adds what is new and changes nothing. Do not edit.
format = {FORMAT}

[revisions]
"""
_CONFLICT: Final = re.compile(r"^(<{7} |={7}$|>{7} |\|{7} )", re.MULTILINE)


@dataclass(frozen=True)
class Placement:
    """What places a revision in the order, as its file names it.

    `dependencies` is Alembic's `depends_on`; Django's dependencies are all `parents`.
    """

    parents: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    run_before: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class LockedRevision:
    """A revision when it was locked.

    `placement` and `sha256` (of the content) are None while an error of the graph concerns the revision: repairing it
    is no edit of what was released. `body` None: the entry is of format 1, and cannot tell what the revision did.
    """

    placement: Placement | None
    sha256: str | None
    body: str | None

    @property
    def parents(self) -> tuple[str, ...]:
        return self.placement.parents if self.placement is not None else ()

    @property
    def is_opaque(self) -> bool:
        """Whether only the content identifies it, because values that place it are computed."""
        return self.body == self.sha256


Lock = Mapping[str, LockedRevision]


@dataclass(frozen=True)
class LockFile:
    """The locked revisions by name, and the known errors."""

    revisions: Lock = field(default_factory=dict)
    known: Known = field(default_factory=dict)


class UnusableLockError(UnusableInputError):
    """The lock file cannot be read, so that nobody knows what was released. The message is one line."""


def read_lock(path: Path) -> LockFile:
    """Read the file as untrusted. Raises UnusableLockError, which names file and line, if it is invalid."""
    try:
        return _read_lock(path)
    except UnusableInputError as error:
        raise UnusableLockError(str(error)) from None


def _read_lock(path: Path) -> LockFile:
    text = read_settings(path).replace("\r\n", "\n")
    if conflict := _CONFLICT.search(text):
        line = text.count("\n", 0, conflict.start()) + 1
        raise UnusableInputError(f"{path}:{line}: a merge conflict; keep the lines of both sides")
    content = parse_toml(path, text)
    # Check the type too: `true` equals 1.
    if type(content.get("format")) is not int or content["format"] not in _READABLE:
        raise UnusableInputError(f"{path}: no lock file of a format that this version reads (`format = {FORMAT}`)")
    revisions = content.get("revisions", {})
    if not isinstance(revisions, dict):
        raise UnusableInputError(f"{path}: `revisions` is not a table")
    return LockFile(
        {name: _read_revision(path, text, name, value) for name, value in revisions.items()},
        _read_known(path, content.get("known", {})),
    )


def _read_revision(path: Path, text: str, name: str, value: object) -> LockedRevision:
    if isinstance(value, dict):
        body, sha256 = value.get("body"), value.get("sha256")
        lists = {each.name: value[each.name] for each in fields(Placement) if each.name in value}
        if all(map(_is_list_of_strings, lists.values())):
            placement = Placement(**{key: tuple(names) for key, names in lists.items()})
            if isinstance(sha256, str) and "parents" in lists and (body is None or isinstance(body, str)):
                return LockedRevision(placement, sha256, body)
            if isinstance(body, str) and sha256 is None and not lists:
                return LockedRevision(None, None, body)
    lines = text.splitlines()
    line = next((number for number, content in enumerate(lines, 1) if content.startswith(_quote(name))), 1)
    raise UnusableInputError(f"{path}:{line}: {_quote(name)} has no `parents` and `sha256`, and no `body` alone")


def _read_known(path: Path, value: object) -> dict[str, tuple[tuple[str, ...], ...]]:
    if not isinstance(value, dict) or not all(map(_is_list_of_subjects, value.values())):
        raise UnusableInputError(f"{path}: `known` is not a table of codes with lists of names")
    return {code: tuple(map(tuple, subjects)) for code, subjects in value.items()}


def _is_list_of_subjects(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_list_of_strings, value))


def _is_list_of_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def format_lock(lock: LockFile) -> str:
    """The text of a lock file, independent of the order in which revisions were added."""
    lines = [
        f"{_quote(name)} = {{ {', '.join(_list_values(locked))} }}\n"
        for name, locked in sorted(lock.revisions.items(), key=itemgetter(0))
    ]
    if lock.known:
        lines.append("\n# Errors that stood when the lock was written. Only others fail an audit.\n[known]\n")
        for code, subjects in lock.known.items():
            rows = "".join(f"    {_quote_list(subject)},\n" for subject in subjects)
            lines.append(f"{_quote(code)} = [\n{rows}]\n")
    return _HEADER + "".join(lines)


def _list_values(locked: LockedRevision) -> Iterable[str]:
    if locked.placement is not None:
        for each in fields(Placement):
            names = getattr(locked.placement, each.name)
            if names or each.name == "parents":
                yield f"{each.name} = {_quote_list(names)}"
    if locked.sha256 is not None:
        yield f"sha256 = {_quote(locked.sha256)}"
    if locked.body is not None:
        yield f"body = {_quote(locked.body)}"


def _quote_list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(_quote, texts))}]"


def _quote(text: str) -> str:
    # TOML basic strings are JSON strings, except for DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def replace_file(path: Path, content: bytes) -> None:
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
    if locked is None or locked.placement is None or locked.is_opaque or sorted(locked.parents) == sorted(node.parents):
        return None
    return locked.parents
