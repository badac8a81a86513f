"""The documents as tests read them: their links and anchors, and the commands in their blocks of `sh`.

A comment on the line before a block says how it is run:

    <!-- run with NAME, OTHER -->    by tests/api/test_document_commands.py, with these variables
    <!-- run by tests/... -->        by this other test, which reads the block out of the document
    <!-- not run: why -->

Without one it is run by tests/api/test_document_commands.py. `python -m tests.support.documents` lists them all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.server import ROOT

# A fence with what it holds, at any depth of a list, and the comment on the line before it.
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"^ *<!-- (.*?) -->\n\Z", re.MULTILINE)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*?) *$", re.MULTILINE)
_SHELL = ("sh", "bash", "shell", "console")


@dataclass(frozen=True)
class Block:
    """One block of shell commands of the document `path` (relative to the root), and the comment before it."""

    path: str
    language: str
    comment: str
    body: str

    @property
    def variables(self) -> frozenset[str]:
        """What `run with` names."""
        _, _, names = self.comment.partition("run with ")
        return frozenset(re.findall(r"\w+", names))

    @property
    def run_by(self) -> str | None:
        """The path of the other test that runs it."""
        found = re.fullmatch(r"run by (\S+)", self.comment)
        return found[1] if found else None

    @property
    def why_not(self) -> str | None:
        found = re.fullmatch(r"not run: (\S.*)", self.comment)
        return found[1] if found else None

    @property
    def is_run_here(self) -> bool:
        """Whether tests/api/test_document_commands.py runs it."""
        return self.run_by is None and self.why_not is None

    def commands(self) -> list[str]:
        """One by one: continued lines joined, empty lines and lines of comments left out."""
        lines = self.body.replace("\\\n", " ").splitlines()
        return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def find_documents() -> list[str]:
    """Every document of the project, relative to the root; README.md first."""
    paths = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return sorted((path.relative_to(ROOT).as_posix() for path in paths), key=lambda path: (path != "README.md", path))


def read(path: str) -> str:
    return (ROOT / path).read_text()


def read_all(*folders: str) -> str:
    """The documents below these folders as one text."""
    return "\n".join(read(path) for path in find_documents() if path.startswith(folders))


def find_blocks(path: str) -> list[Block]:
    """The blocks of shell commands of a document, in their order."""
    text = read(path)
    return [
        Block(path, fence["language"], comment[1] if comment else "", fence["body"])
        for fence in _FENCE.finditer(text)
        for comment in [_COMMENT.search(text[: fence.start()])]
        if fence["language"] in _SHELL
    ]


def read_prose(path: str) -> str:
    """The text without its blocks."""
    return _FENCE.sub("", read(path))


def find_links(path: str) -> list[str]:
    """The targets of links and pictures that stay in this repository, as written."""
    return [target for target in _LINK.findall(read_prose(path)) if not re.match(r"\w+:", target)]


def find_anchors(path: str) -> set[str]:
    """The anchors of the headings, made as GitHub and GitLab make them."""
    anchors: set[str] = set()
    for heading in _HEADING.findall(read_prose(path)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        number = 0
        while (name := anchor if not number else f"{anchor}-{number}") in anchors:
            number += 1
        anchors.add(name)
    return anchors


def resolve(path: str, target: str) -> tuple[Path, str]:
    """The file that a link in the document `path` leads to, and the anchor in it."""
    name, _, anchor = target.partition("#")
    return (ROOT / path).parent.joinpath(name).resolve() if name else ROOT / path, anchor


def describe() -> Iterator[str]:
    """Each block in one line: where it is, how it is run, and its first command."""
    for path in find_documents():
        for block in find_blocks(path):
            how = block.comment if not block.is_run_here else "run by tests/api/test_document_commands.py"
            yield f"{path}: {block.commands()[0]}  [{how}]"


if __name__ == "__main__":
    print(*describe(), sep="\n")
