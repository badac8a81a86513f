"""Reading a git repository with the `git` program: plumbing only, bounded in time, nothing of the repository is run.

Neither hooks, nor filters, pagers, file system monitors or signature checks that a repository's configuration may name
are called, and nothing is fetched over a network (a partial clone would do so by itself).
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
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from golive.migration_graph.model import Commit
from golive.migration_graph.readers.syntax import MAX_BYTES

# Commits per process of `diff-tree`, and bytes of blobs per process of `cat-file`: they bound the memory.
COMMITS_AT_ONCE = 2_000
BYTES_AT_ONCE = 16 << 20
_REGULAR_FILES = (b"100644", b"100755")
_OPTIONS = (
    "--no-pager",
    "--no-replace-objects",
    *("-c", "core.fsmonitor=false"),
    *("-c", f"core.hooksPath={os.devnull}"),
)
# Allowing a protocol that does not exist forbids all of them.
_SETTINGS = {"LC_ALL": "C", "GIT_ALLOW_PROTOCOL": "none", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
_IDENTITY = re.compile(rb"(?P<name>.*?) ?<[^>]*> (?P<seconds>-?\d+) (?P<zone>[+-]\d{4})")


class HistoryUnavailableError(Exception):
    """The history cannot be read. The message is one line and says why."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit did to one path: its blob before and afterwards, None where there is no file."""

    path: str
    before: str | None
    blob: str | None


@dataclass(frozen=True, slots=True)
class ChangedCommit:
    """A commit that touched the paths asked for. `parents` are the nearest such commits before it.

    `changes` are against the first parent; a commit without parents is compared with nothing.
    """

    commit: str
    parents: tuple[str, ...]
    changes: tuple[Change, ...]


class Repository:
    """The repository that holds `folder`. Paths are relative to its top, with forward slashes; pathspecs are git's.

    Every call raises HistoryUnavailableError when git is missing or refuses, or `seconds` have passed since the start.
    """

    def __init__(self, folder: Path, *, seconds: float = 60.0) -> None:
        program = shutil.which("git")
        if program is None:
            raise HistoryUnavailableError("git is not installed")
        self._program = program
        self._folder = folder
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        answer = self._run(["rev-parse", "--is-shallow-repository", "--show-toplevel"])
        is_shallow, top = answer.split(b"\n", 1)
        self.is_shallow = is_shallow == b"true"
        self.top = Path(os.fsdecode(top.removesuffix(b"\n")))
        # Paths that are given to git are relative to where it runs.
        self._folder = self.top

    def find_head(self) -> str | None:
        """The commit that is checked out; None in a repository without commits."""
        try:
            return self._run(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).decode().strip()
        except HistoryUnavailableError as error:
            if str(error) == "git rev-parse failed":
                return None
            raise

    def check_time(self) -> None:
        """Raise HistoryUnavailableError when the time is over."""
        if time.monotonic() > self._deadline:
            raise HistoryUnavailableError(f"it took longer than {self._seconds:g} seconds")

    def list_commits(self, head: str, pathspecs: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
        """All commits up to `head` that matter to the paths, with their parents, parents first.

        Merges stay where both sides changed the paths; parents are the nearest commits of the same list.
        """
        options = ["--topo-order", "--reverse", "--full-history", "--simplify-merges", "--parents"]
        lines = self._run(["rev-list", *options, head, "--", *pathspecs]).decode().splitlines()
        return [(commit, tuple(parents)) for commit, *parents in map(str.split, lines)]

    def read_changes(
        self, commits: Sequence[tuple[str, tuple[str, ...]]], pathspecs: Sequence[str]
    ) -> Iterator[ChangedCommit]:
        """Each of the commits, in their order, with what it changed at the paths (anywhere if there are none).

        A merge that is given without its parents is taken to change nothing.
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
        """The contents of blobs; of one that is larger than MAX_BYTES only the size: it is not read."""
        wanted = list(blobs)
        batch: list[str] = []
        total = 0
        for blob, size in zip(wanted, self._list_sizes(wanted), strict=True):
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
        """Subject, date and author of each commit, whatever bytes they are made of."""
        return {name: _describe(name, content) for name, content in self._read_objects(list(commits))}

    def _list_sizes(self, objects: Sequence[str]) -> Iterator[int]:
        if not objects:
            return
        answer = self._run(["cat-file", "--batch-check=%(objectsize)"], _as_lines(objects))
        for name, line in zip(objects, answer.splitlines(), strict=True):
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
        # From a file, so that neither side of a pipe can wait for the other.
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
            raise HistoryUnavailableError(_explain(arguments[0], done.stderr))
        return done.stdout


def _as_lines(names: Sequence[str]) -> bytes:
    return "".join(f"{name}\n" for name in names).encode()


def _read_change(meta: bytes, path: bytes) -> Change:
    mode_before, mode, before, blob, _ = meta.removeprefix(b":").split()
    # A symbolic link or a submodule is no file to read.
    return Change(
        os.fsdecode(path),
        before.decode() if mode_before in _REGULAR_FILES else None,
        blob.decode() if mode in _REGULAR_FILES else None,
    )


def _describe(name: str, content: bytes) -> Commit:
    head, _, message = content.partition(b"\n\n")
    # A header goes on in lines that begin with a space (signatures).
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
    except (LookupError, ValueError):  # of no such name, or one that decodes no bytes: idna, undefined, a NUL in it
        return text.decode("utf-8", "replace")


def _format_date(seconds: int, zone: str) -> str:
    """RFC 3339 in the author's own zone; in UTC where the zone is nonsense; empty where the time is."""
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:5])) * (-1 if zone[0] == "-" else 1)
    try:
        return datetime.fromtimestamp(seconds, timezone(offset)).isoformat()
    except (ValueError, OverflowError, OSError):
        pass
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return ""


def _explain(command: str, stderr: bytes) -> str:
    text = stderr.decode("utf-8", "replace")
    if "dubious ownership" in text:
        return "the repository belongs to another user, and git refuses to read it (safe.directory)"
    if "not a git repository" in text:
        return "the folder is not in a git repository"
    if "must be run in a work tree" in text:
        return "the folder is not in the working tree of a git repository"
    lines = [line.removeprefix("fatal: ") for line in text.splitlines() if line.startswith("fatal: ")]
    return f"git {command} failed" + (f": {lines[0]}" if lines else "")
