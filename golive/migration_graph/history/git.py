"""Read a git repository with the `git` program: plumbing commands only, bounded in time, running nothing it configures.

No hooks, filters, pagers, file system monitors or signature checks from the repository's configuration are run, and
nothing is fetched over the network (a partial clone would do so on its own).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from golive.migration_graph.model import Commit
from golive.migration_graph.readers.syntax import MAX_BYTES

# Commits per `diff-tree` process and blob bytes per `cat-file` process, to bound memory.
COMMITS_AT_ONCE = 2_000
BYTES_AT_ONCE = 16 << 20
_REGULAR_FILES = (b"100644", b"100755")
_OPTIONS = (
    "--no-pager",
    "--no-replace-objects",
    *("-c", "core.fsmonitor=false"),
    *("-c", f"core.hooksPath={os.devnull}"),
)
# Allowing only a protocol that does not exist forbids them all.
_SETTINGS = {
    "LC_ALL": "C",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_GRAFT_FILE": os.devnull,
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}
_IDENTITY = re.compile(rb"(?P<name>.*?) ?<[^>]*> (?P<seconds>-?\d{1,15}) (?P<zone>[+-]\d{4})")


class HistoryUnavailableError(Exception):
    """The history cannot be read. The one-line message says why."""


class NoHistoryError(HistoryUnavailableError):
    """There is none: no git, no repository, no commits, or none that holds the files."""


@dataclass(frozen=True)
class Change:
    """The change of one path in a commit: its blob before and after; None: no file."""

    path: str
    before: str | None
    blob: str | None


@dataclass(frozen=True)
class ChangedCommit:
    """A commit that touched the requested paths. `parents` are its nearest ancestors that did so too.

    `changes` are relative to the first parent, or to the empty tree.
    """

    commit: str
    parents: tuple[str, ...]
    changes: tuple[Change, ...]


class Repository:
    """The repository that contains `folder`. Paths are relative to its top level, with forward slashes.

    Every method raises HistoryUnavailableError if git is missing or fails, or `seconds` after construction.
    """

    def __init__(self, folder: Path, *, seconds: float = 60.0) -> None:
        program = shutil.which("git")
        if program is None:
            raise NoHistoryError("git is not installed")
        self._program = program
        self._folder = folder
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        answer = self._run(["rev-parse", "--is-shallow-repository", "--show-toplevel"])
        is_shallow, top = answer.split(b"\n", 1)
        self.is_shallow = is_shallow == b"true"
        self.top = Path(os.fsdecode(top.removesuffix(b"\n")))
        # Git resolves paths relative to its working directory.
        self._folder = self.top

    def find_head(self) -> str | None:
        """The checked-out commit; None if the repository has no commits."""
        try:
            return self._run(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).decode().strip()
        except HistoryUnavailableError as error:
            if str(error) == "git rev-parse failed":
                return None
            raise

    def list_first_parents(self, head: str, pathspecs: Sequence[str]) -> list[str]:
        """The commits on the first-parent line that changed the paths, newest first; a merge counts as one change."""
        return self._run(["rev-list", "--first-parent", head, "--", *pathspecs]).decode().split()

    def find_last_change(self, commit: str, pathspecs: Sequence[str]) -> str:
        """The newest commit with the paths as they are in this one: where git's own log of them begins."""
        return self._run(["rev-list", "--max-count=1", commit, "--", *pathspecs]).decode().strip()

    def find_first_parent(self, commit: str) -> str:
        return self._run(["rev-parse", "--verify", "--quiet", f"{commit}^"]).decode().strip()

    def check_time(self) -> None:
        """Raise HistoryUnavailableError if the deadline has passed."""
        if time.monotonic() > self._deadline:
            raise HistoryUnavailableError(f"it took longer than {self._seconds:g} seconds")

    def list_commits(
        self, head: str, pathspecs: Sequence[str], *, is_first_parent: bool = False
    ) -> list[tuple[str, tuple[str, ...]]]:
        """All commits up to `head` that touched the paths, with their parents, in topological order, parents first.

        Merges are included if both sides changed the paths; parents are the nearest commits in the list.
        `is_first_parent`: only the line of the branch itself, on which a merge is one commit.
        """
        which = ["--first-parent"] if is_first_parent else ["--full-history", "--simplify-merges"]
        options = ["--topo-order", "--reverse", *which, "--parents"]
        lines = self._run(["rev-list", *options, head, "--", *pathspecs]).decode().splitlines()
        return [(commit, tuple(parents)) for commit, *parents in map(str.split, lines)]

    def read_changes(
        self, commits: Sequence[tuple[str, tuple[str, ...]]], pathspecs: Sequence[str]
    ) -> Iterator[ChangedCommit]:
        """The commits, in the given order, with their changes to the paths (to all paths if there are none).

        A merge passed without its parents is taken to change nothing.
        """
        command = ["diff-tree", "--stdin", "--root", "--always", "-r", "-z", "--raw", "--no-renames", "--full-index"]
        for start in range(0, len(commits), COMMITS_AT_ONCE):
            batch = commits[start : start + COMMITS_AT_ONCE]
            lines = "".join(f"{' '.join((commit, *parents[:1]))}\n" for commit, parents in batch)
            tokens = iter(self._run([*command, "--", *pathspecs], lines.encode()).split(b"\0"))
            changes: dict[str, list[Change]] = {}
            current: list[Change] = []
            for token in tokens:
                if token.startswith(b":"):
                    current.append(_read_change(token, next(tokens)))
                elif token:
                    current = changes.setdefault(token.decode(), [])
            for commit, parents in batch:
                yield ChangedCommit(commit, parents, tuple(changes.get(commit, ())))

    def read_blobs(self, blobs: Iterable[str]) -> Iterator[tuple[str, bytes | int]]:
        """The contents of blobs; for those larger than MAX_BYTES only the size, without reading them."""
        wanted = list(blobs)
        batch: list[str] = []
        total = 0
        for blob, size in zip(wanted, self._list_sizes(wanted)):
            if size > MAX_BYTES:
                yield blob, size
                continue
            batch.append(blob)
            total += size
            if total >= BYTES_AT_ONCE:
                yield from self._read_objects(batch)
                batch, total = [], 0
        yield from self._read_objects(batch)

    def describe(self, commits: Iterable[str]) -> dict[str, Commit]:
        """Subject, date and author of each commit; tolerates any encoding."""
        return {name: _describe(name, content) for name, content in self._read_objects(list(commits))}

    def _list_sizes(self, objects: Sequence[str]) -> Iterator[int]:
        if not objects:
            return
        answer = self._run(["cat-file", "--batch-check=%(objectsize)"], _as_lines(objects))
        for name, line in zip(objects, answer.splitlines()):
            if not line.isdigit():
                raise HistoryUnavailableError(f"the repository lacks the object {name} (a partial clone?)")
            yield int(line)

    def _read_objects(self, objects: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        if not objects:
            return
        answer = self._run(["cat-file", "--batch=%(objectsize)"], _as_lines(objects))
        position = 0
        for name in objects:
            end = answer.index(b"\n", position)
            size = int(answer[position:end])
            yield name, answer[end + 1 : end + 1 + size]
            position = end + 1 + size + 1

    def _run(self, arguments: Sequence[str], stdin: bytes = b"") -> bytes:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | _SETTINGS
        # Standard input from a file: a pipe could deadlock.
        with tempfile.TemporaryFile() as lines:
            lines.write(stdin)
            lines.seek(0)
            try:
                done = subprocess.run(  # noqa: S603 - a list of arguments, and paths only behind `--`
                    [self._program, *_OPTIONS, *arguments],
                    cwd=self._folder,
                    env=environment,
                    stdin=lines,
                    capture_output=True,
                    timeout=max(0.001, self._deadline - time.monotonic()),
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise HistoryUnavailableError(f"git took longer than {self._seconds:g} seconds") from None
            except OSError as error:
                raise HistoryUnavailableError(f"git cannot be run: {error.strerror}") from None
        if done.returncode:
            raise _explain(arguments[0], done.stderr)
        return done.stdout


def _as_lines(names: Sequence[str]) -> bytes:
    return "".join(f"{name}\n" for name in names).encode()


def _read_change(meta: bytes, path: bytes) -> Change:
    mode_before, mode, before, blob, _ = meta.removeprefix(b":").split()
    # Symbolic links and submodules are not read.
    return Change(
        os.fsdecode(path),
        before.decode() if mode_before in _REGULAR_FILES else None,
        blob.decode() if mode in _REGULAR_FILES else None,
    )


def _describe(name: str, content: bytes) -> Commit:
    head, _, message = content.partition(b"\n\n")
    # Skip continuation lines of headers, which start with a space (signatures).
    headers = dict(line.partition(b" ")[::2] for line in reversed(head.split(b"\n")) if not line.startswith(b" "))
    encoding = headers.get(b"encoding", b"utf-8").decode("ascii", "replace")
    subject = message.strip().partition(b"\n\n")[0]
    author, date = "", ""
    if match := _IDENTITY.fullmatch(headers.get(b"author", b"")):
        author = _decode(match["name"], encoding)
        date = _format_date(int(match["seconds"]), match["zone"].decode())
    return Commit(name, " ".join(_decode(subject, encoding).split()), date, author)


def _decode(text: bytes, encoding: str) -> str:
    try:
        return text.decode(encoding, "replace")
    except (
        LookupError,
        ValueError,
    ):  # unknown encoding, or one that cannot decode bytes (idna, undefined, a NUL in its name)
        return text.decode("utf-8", "replace")


def _format_date(seconds: int, zone: str) -> str:
    """RFC 3339 in the author's time zone; in UTC if the zone is invalid; empty if the time is."""
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:5])) * (-1 if zone[0] == "-" else 1)
    try:
        return datetime.fromtimestamp(seconds, timezone(offset)).isoformat()
    except (ValueError, OverflowError, OSError):
        pass
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).isoformat()
    except (ValueError, OverflowError, OSError):
        return ""


def _explain(command: str, stderr: bytes) -> HistoryUnavailableError:
    text = stderr.decode("utf-8", "replace")
    if "dubious ownership" in text:
        return HistoryUnavailableError(
            "the repository belongs to another user, and git refuses to read it (safe.directory)"
        )
    if "not a git repository" in text:
        return NoHistoryError("the folder is not in a git repository")
    if "must be run in a work tree" in text:
        return NoHistoryError("the folder is not in the working tree of a git repository")
    lines = [line.removeprefix("fatal: ") for line in text.splitlines() if line.startswith("fatal: ")]
    return HistoryUnavailableError(f"git {command} failed" + (f": {lines[0]}" if lines else ""))
