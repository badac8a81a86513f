"""Git repositories for tests: commits are collected, then written by one `git fast-import`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

Content = str | bytes | None
START = 1_767_225_600  # 2026-01-01T00:00:00Z, and one commit a minute
SETTINGS = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}


def run_git(folder: Path, *arguments: str, stdin: bytes = b"") -> str:
    """What git prints, in an environment that nobody's own configuration reaches."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | SETTINGS
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], input=stdin, capture_output=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return os.fsdecode(done.stdout).strip()


class GitRepository:
    """A repository in the making. `commit` answers a mark; after `write`, `names` gives the commit of each mark."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[int, str] = {}
        self.count = 0
        self._stream: list[bytes] = []

    def commit(
        self,
        files: Mapping[str, Content],
        message: str | bytes = "Change",
        *,
        parents: Sequence[int] | None = None,
        encoding: str | None = None,
    ) -> int:
        """Add a commit: the first parent's files with these changed (None removes one). No `parents`: the last one."""
        if parents is None:
            parents = [self.count] if self.count else []
        self.count += 1
        text = message if isinstance(message, bytes) else message.encode()
        who = f"Maria <maria@example.com> {START + 60 * self.count} +0000"
        lines = [f"commit refs/heads/main\nmark :{self.count}\nauthor {who}\ncommitter {who}\n".encode()]
        if encoding:
            lines.append(f"encoding {encoding}\n".encode())
        lines.append(b"data %d\n%s\n" % (len(text), text))
        if parents:
            lines += [f"{'merge' if place else 'from'} :{mark}\n".encode() for place, mark in enumerate(parents)]
        elif self.count > 1:
            # A root of its own, and not on top of the branch as it is.
            lines.insert(0, b"reset refs/heads/main\n")
        for path, content in files.items():
            if content is None:
                lines.append(b"D %s\n" % _quote(path))
            else:
                data = content if isinstance(content, bytes) else content.encode()
                lines.append(b"M 100644 inline %s\ndata %d\n%s\n" % (_quote(path), len(data), data))
        self._stream += lines
        return self.count

    def write_empty(self) -> None:
        """Make the repository, if it is not there, without a commit."""
        if not (self.folder / ".git").exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            run_git(self.folder, "init", "--quiet", "--initial-branch=main")

    def write(self) -> GitRepository:
        """Make the repository, or add what was collected since, and check the last commit out."""
        self.write_empty()
        marks = self.folder / ".git" / "marks"
        options = [f"--export-marks={marks}", f"--import-marks-if-exists={marks}"]
        run_git(self.folder, "fast-import", "--quiet", "--force", *options, stdin=b"".join(self._stream))
        self._stream.clear()
        run_git(self.folder, "reset", "--quiet", "--hard", "main")
        pairs = (line.split() for line in marks.read_text().splitlines())
        self.names = {int(mark.lstrip(":")): name for mark, name in pairs}
        return self

    def name(self, mark: int) -> str:
        return self.names[mark]


def _quote(path: str) -> bytes:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'.encode("utf-8", "surrogateescape")
