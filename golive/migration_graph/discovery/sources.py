"""Locate migration files and read their bytes. Read-only: nothing is written, imported or run."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from golive.migration_graph.compat import load_toml
from golive.migration_graph.model import Finding, Kind, NotRead, Project, UnusableInputError
from golive.migration_graph.readers.syntax import MAX_BYTES, report_too_large, report_unreadable

# As in `alembic.script.base`: which files of a versions folder are revisions.
_REVISION_FILE: Final = re.compile(r"(?!\.\#|__init__)(.*\.py)$")

MAX_FOLDERS: Final = 20_000
_MAX_DOTS: Final = 100_000_000
# Folders that hold third-party code, or no source code at all.
IGNORED: Final = frozenset({"node_modules", "site-packages", "__pycache__", "build", "dist"})


@dataclass(frozen=True)
class Location:
    """A folder of migration files. `prefix` + file name is the key; `app` is the Django app label, "" for Alembic."""

    folder: Path
    prefix: str
    app: str = ""
    is_recursive: bool = False

    @property
    def name(self) -> str:
        """The folder as findings name it."""
        return self.prefix.rstrip("/") or "."

    def owns(self, key: str) -> bool:
        """Whether a file with this key is a migration of this location."""
        folder, slash, name = key.rpartition("/")
        if self.app:
            return folder + slash == self.prefix and is_migration_file(name)
        if not is_revision_file(name) or not key.startswith(self.prefix):
            return False
        inner = key[len(self.prefix) :].split("/")[:-1]
        return not inner or (self.is_recursive and not any(part.endswith("__pycache__") for part in inner))


@dataclass(frozen=True)
class Layout:
    """What an audit reads. Keys are relative to `root`. `notes`: findings of the discovery itself.

    `not_read`: what the discovery knows to be passed over. `is_sourceless`: Alembic loads compiled files too.
    `configuration`: the name of the file in `root` that configures the tool, if there is one.
    """

    kind: Kind
    root: Path
    locations: tuple[Location, ...]
    project: Project = field(default_factory=Project)
    notes: tuple[Finding, ...] = ()
    not_read: tuple[NotRead, ...] = ()
    is_sourceless: bool = False
    configuration: str | None = None

    def find_location(self, key: str) -> Location | None:
        """The location that a file belongs to; None: it is not a migration of this layout."""
        return next((location for location in self.locations if location.owns(key)), None)


def walk_folders(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """As `os.walk`, sorted, of the folders that hold a project's own code; at most MAX_FOLDERS of them."""
    for path, folders, files in islice(os.walk(root), MAX_FOLDERS):
        folders[:] = sorted(name for name in folders if name not in IGNORED and not name.startswith("."))
        if "pyvenv.cfg" in files:
            folders.clear()
        else:
            yield Path(path), folders, sorted(files)


def is_revision_file(name: str) -> bool:
    """Whether Alembic loads a file of this name. It does load `.b.py`, `_c.py` and `x-y z.py`, but not `.#x.py`."""
    return _REVISION_FILE.match(name) is not None


def is_migration_file(name: str) -> bool:
    """Whether Django loads a file of this name."""
    stem = name.removesuffix(".py")
    return stem not in ("", name) and "." not in stem and stem[0] not in "_~"


def is_folder(path: Path) -> bool:
    """As `Path.is_dir`, for any name that a project may hold, however long."""
    return os.path.isdir(path)  # noqa: PTH112


def leads_out(root: Path, path: str | Path) -> bool:
    """Whether links on the way to a path lead out of the root. What they lead to may be anything on this machine.

    A path outside that the configuration names (`../shared`) is fine, unless there are links on the way from the root.
    """
    real_root, real = os.path.realpath(root), os.path.realpath(path)
    if os.path.commonpath((real_root, real)) == real_root:
        return False
    root_path, full_path = os.path.abspath(root), os.path.abspath(path)  # noqa: PTH100 - which keep links
    shared = os.path.commonpath((root_path, full_path))
    without_links = os.path.join(os.path.realpath(shared), os.path.relpath(full_path, shared))  # noqa: PTH118
    return real != os.path.normpath(without_links)


def list_files(root: Path, location: Location) -> tuple[list[tuple[str, str]], list[Finding]]:
    """(key, path on disk) of each migration file, in order; and findings for what cannot be read or leads out."""
    files: list[tuple[str, str]] = []
    findings: list[Finding] = []
    seen: set[str] = set()
    if leads_out(root, location.folder):
        return files, [_report_link(location.name)]
    for folder, prefix in _walk(location, findings):
        accepts = is_migration_file if location.app else is_revision_file
        for entry in _scan(folder, prefix, findings):
            if not entry.name.endswith(".py") or not accepts(entry.name):
                continue
            key = prefix + entry.name
            path = entry.path
            if entry.is_symlink() and leads_out(root, path):
                findings.append(_report_link(key))
                continue
            if entry.is_symlink() and not location.app:
                # Alembic loads the target of a symlink, under the target's name, and each file only once.
                path = os.path.realpath(path)
                if path in seen or not is_revision_file(os.path.basename(path)):  # noqa: PTH119 - a string for speed
                    continue
            if _is_folder(entry):
                if not location.app:
                    findings.append(_report_folder(key))
                continue
            seen.add(path)
            files.append((key, path))
    return files, findings


def _walk(location: Location, findings: list[Finding]) -> Iterator[tuple[str, str]]:
    pending = [(str(location.folder), location.prefix)]
    while pending:
        folder, prefix = pending.pop()
        yield folder, prefix
        if location.is_recursive:
            inner = [
                (entry.path, f"{prefix}{entry.name}/")
                for entry in _scan(folder, prefix, [])
                if entry.is_dir(follow_symlinks=False) and not entry.name.endswith("__pycache__")
            ]
            pending += reversed(inner)


def _scan(folder: str, prefix: str, findings: list[Finding]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        findings.append(report_unreadable(prefix.rstrip("/") or ".", error))
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _report_link(key: str) -> Finding:
    return report_unreadable(key, OSError(0, "it is a link that leads out of the audited folder"))


def _report_folder(key: str) -> Finding:
    from golive.migration_graph.catalogue import make_finding
    from golive.migration_graph.model import Severity

    return make_finding(
        "MG105",
        f"{key} is a folder, though it is named like a revision file; Alembic passes over it.",
        "Rename the folder, or restore the file that was meant.",
        file=key,
        severity=Severity.WARNING,
    )


def read_content(key: str, path: str) -> bytes | Finding:
    """The bytes of a regular file of at most MAX_BYTES, else a finding that says why not. Never blocks on a pipe."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return report_unreadable(key, error)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            return report_unreadable(key, OSError(0, "it is not a regular file"))
        if status.st_size > MAX_BYTES:
            return report_too_large(key, status.st_size)
        return _read_all(handle, status.st_size)
    except OSError as error:
        return report_unreadable(key, error)
    finally:
        os.close(handle)


def read_source(root: Path, path: Path) -> bytes | None:
    """The bytes of a file of the project that is not a migration. None: it cannot be read, or links lead out."""
    content = read_content("", str(path)) if not leads_out(root, path) else None
    return content if isinstance(content, bytes) else None


def read_settings(path: Path) -> str:
    """The text of an untrusted configuration file: a regular UTF-8 file of at most MAX_BYTES.

    A symlink out of the folder is not followed: an error message could then disclose the content of its target.
    Raises UnusableInputError, whose message contains nothing of the file.
    """
    folder = os.path.realpath(path.parent)
    if os.path.commonpath((folder, os.path.realpath(path))) != folder:
        raise UnusableInputError(f"{path} is a link that leads out of its folder, so it is not read")
    content = read_content(str(path), str(path))
    if not isinstance(content, bytes):
        raise UnusableInputError(content.message.rstrip("."))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnusableInputError(f"{path} cannot be read: it is not UTF-8 (byte {error.start})") from None


def parse_toml(path: Path, text: str) -> dict[str, Any]:
    """Parse TOML. Raises UnusableInputError, whose message contains nothing of the file."""
    try:
        # Parsers need time that grows with the square of the length of a dotted key.
        if sum(line.count(".") ** 2 for line in text.splitlines()) > _MAX_DOTS:
            raise ValueError
        return load_toml(text)
    except ModuleNotFoundError:
        raise UnusableInputError(f"{path} cannot be read: before Python 3.11 that needs the package tomli") from None
    except (ValueError, RecursionError) as error:  # also raised for too many digits or too much nesting
        place = re.search(r"at line (\d+), column \d+", str(error))
        where = f":{place[1]}" if place else ""
        raise UnusableInputError(f"{path}{where}: cannot be read, it is no TOML that can be used") from None


def _read_all(handle: int, size: int) -> bytes:
    content = os.read(handle, size + 1)
    if len(content) == size:
        return content
    parts = [content]
    while parts[-1] and sum(map(len, parts)) <= MAX_BYTES:
        parts.append(os.read(handle, MAX_BYTES))
    return b"".join(parts)


def make_prefix(root: Path, folder: Path) -> str:
    """The prefix of the keys of a folder's files: its path relative to the root, with forward slashes."""
    relative = os.path.relpath(folder, root).replace(os.sep, "/")
    return "" if relative == "." else f"{relative}/"


def name_folder(root: Path, folder: Path) -> str:
    """A folder relative to the root, as findings name it."""
    return make_prefix(root, folder).rstrip("/") or "."


def list_names(folder: Path) -> list[str]:
    """The names in a folder; empty if it is not there or cannot be read."""
    try:
        return os.listdir(folder)  # noqa: PTH208 - strings
    except OSError:
        return []


def drop_duplicates(locations: Sequence[Location]) -> tuple[Location, ...]:
    """The locations without duplicate folders: Alembic ignores a file that it has already loaded."""
    by_folder: dict[str, Location] = {}
    for location in locations:
        by_folder.setdefault(os.path.realpath(location.folder), location)
    return tuple(by_folder.values())
