"""Read an Alembic file by its statements, each form of which is parsed once and then known.

Parsing is most of the cost of reading, and migrations repeat themselves. A file is cut before each line that begins
with `    op.` and before each function, and the strings in each piece are taken out. What is left, the form, decides
whether the piece is valid Python and what it binds. A form that is new is parsed by itself; a known one is looked up.

Why that is exact. A form is accepted only if it holds no quote, no backslash, and ASCII alone: then each string taken
out was one whole token (or part of a comment), whatever it holds. And only if it compiles alone between statements at
the same indentation: pieces that compile alone compile in a row. What does not fit (`read` gives None) is parsed whole.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from golive.migration_graph.model import Finding, Node, ParsedFile, Reference, Role
from golive.migration_graph.readers.alembic import (
    hash_content,
    is_acceptable_id,
    is_effective,
    judge_functions,
    read_docstring,
    read_tree,
)
from golive.migration_graph.readers.syntax import MAX_BYTES, can_compile, parse

_STRING: Final = re.compile(rb"""('[^'\\\n\r\0]*'|"[^"\\\n\r\0]*")""")
_CUT: Final = b"\n    op."
_BEGIN: Final = b"\n\n\ndef "
_HOLE: Final = b"\0"
# A line that does not belong to the function.
_OUTSIDE: Final = re.compile(rb"\n[^ \n#]")
# In a form: what could mean something else with other strings, or elsewhere in the file.
_DOUBTFUL: Final = re.compile(
    rb"""['"\\\r\f\1]|\0\0|\w\0|:=|\b(?:global|nonlocal|yield|await|async|set|frozenset|barry_as_FLUFL)\b"""
)
_PLACEHOLDER: Final = re.compile(r"<hole (\d+)>")


@dataclass(frozen=True, slots=True)
class _Head:
    """What the part of a file up to its first operation binds. Numbers are places of strings; lines count from 1."""

    revision: int
    line: int
    references: tuple[tuple[int, int, Role], ...]
    branch_labels: tuple[int, ...]
    functions: tuple[tuple[str, bool], ...]


# The functions that begin in a piece, and whether they do anything in it.
_Functions = tuple[tuple[str, bool], ...]


class FastPath:
    """Forms that are known. One for each audit: nothing is kept between runs."""

    def __init__(self) -> None:
        self._heads: dict[tuple[bytes, bool], _Head | None] = {}
        # Operations that another one may follow; those that end a function; the beginnings of functions.
        self._open: dict[bytes, bool] = {}
        self._closed: dict[bytes, bool] = {}
        self._begun: dict[tuple[bytes, bool], _Functions | None] = {}

    def read(self, key: str, content: bytes) -> ParsedFile | None:
        """What a file says, as `read_fully` has it. None: only parsing the whole of it will tell."""
        found = _split_docstring(content)
        if found is None:
            return None
        doc, rest = found
        text, cut, tail = rest.partition(_CUT)
        parts = _STRING.split(text)
        head = self._get_head(_HOLE.join(parts[::2]), is_last=not cut)
        if head is None:
            return None
        functions = dict(head.functions)
        if cut and not self._add_pieces(_STRING.sub(_HOLE, tail).split(_CUT), functions):
            return None
        return _make_file(key, content, doc.decode(), head, parts[1::2], functions)

    def _get_head(self, form: bytes, *, is_last: bool) -> _Head | None:
        try:
            return self._heads[form, is_last]
        except KeyError:
            head = self._heads[form, is_last] = _learn_head(form, is_last=is_last)
            return head

    def _add_pieces(self, forms: list[bytes], functions: dict[str, bool]) -> bool:
        """Add what the pieces do in each function. False: one of them is not to be had this way."""
        current = next(reversed(functions))
        last = len(forms) - 1
        for place, form in enumerate(forms):
            operation, begins, rest = form.partition(_BEGIN)
            is_closed = bool(begins) or place == last
            known = self._closed if is_closed else self._open
            if operation not in known:
                known[operation] = _is_operation(operation, is_closed=is_closed)
            if not known[operation]:
                return False
            functions[current] = True
            if begins:
                begun = self._get_begun(rest, is_last=place == last)
                if begun is None:
                    return False
                functions.update(begun)
                current = begun[-1][0]
        return True

    def _get_begun(self, form: bytes, *, is_last: bool) -> _Functions | None:
        try:
            return self._begun[form, is_last]
        except KeyError:
            tree = _parse_form(b"def " + form, is_last=is_last)
            begun = self._begun[form, is_last] = _read_functions(tree.body) if tree is not None else None
            return begun


def _split_docstring(content: bytes) -> tuple[bytes, bytes] | None:
    """The text of the docstring that a file begins with, and all that follows."""
    quotes = content[:3]
    if quotes not in (b'"""', b"'''") or len(content) > MAX_BYTES or b"\0" in content or b"\r" in content:
        return None
    end = content.find(quotes, 3)
    doc = content[3:end]
    if end < 0 or b"\\" in doc or b"coding" in doc or content[end + 3 : end + 4] != b"\n":
        return None
    if not content.isascii():
        try:
            content.decode()
        except UnicodeDecodeError:
            return None
    return doc, content[end + 3 :]


def _make_file(
    key: str, content: bytes, doc: str, head: _Head, strings: Sequence[bytes], functions: dict[str, bool]
) -> ParsedFile | None:
    offset = doc.count("\n")
    names = [strings[place][1:-1].decode() for place, _, _ in head.references]
    labels = tuple(strings[place][1:-1].decode() for place in head.branch_labels)
    revision = strings[head.revision][1:-1].decode()
    if not is_acceptable_id(revision) or len(set(names)) < len(names):
        return None
    said = read_docstring(doc)
    node = Node(
        key,
        revision,
        head.line + offset,
        tuple(
            Reference(name, line + offset, role) for name, (_, line, role) in zip(names, head.references, strict=True)
        ),
        labels,
        said["message"],
        said.get("Create Date"),
        said.get("Revises"),
        judge_functions(functions),
        hash_content(content),
    )
    return ParsedFile(key, node)


# -- forms that are new ------------------------------------------------------------------------------------------------


def _is_operation(form: bytes, *, is_closed: bool) -> bool:
    """Whether this is statements of a function only, the first of which begins with `op.`."""
    if _DOUBTFUL.search(form) or _OUTSIDE.search(form) or not form.isascii():
        return False
    source = form.replace(_HOLE, b"''")
    return can_compile(b"def _():\n    op." + source + (b"\n" if is_closed else b"\n    pass\n"))


def _parse_form(form: bytes, *, is_last: bool) -> ast.Module | None:
    if _DOUBTFUL.search(form) or not form.isascii():
        return None
    places = iter(range(form.count(_HOLE)))
    source = re.sub(_HOLE, lambda _: b"'<hole %d>'" % next(places), form)
    tree = parse("", source + (b"" if is_last else b"\n    pass\n"))
    if isinstance(tree, Finding) or (not is_last and not _is_open(tree)):
        return None
    return tree


def _is_open(tree: ast.Module) -> bool:
    """Whether the last statement stands in a function of the first level, where another may follow."""
    function = tree.body[-1]
    if not isinstance(function, ast.FunctionDef):
        return False
    end = function.body[-1]
    return isinstance(end, ast.Pass) and end.col_offset == 4


def _read_functions(statements: Sequence[ast.stmt]) -> _Functions | None:
    """The functions with whether they do anything. None if anything else stands there."""
    found = []
    for node in statements:
        if not isinstance(node, ast.FunctionDef) or node.name not in ("upgrade", "downgrade") or node.decorator_list:
            return None
        found.append((node.name, is_effective(node.body)))
    return tuple(found)


def _learn_head(form: bytes, *, is_last: bool) -> _Head | None:
    tree = _parse_form(form, is_last=is_last)
    if tree is None or not all(_is_plain(statement) for statement in tree.body):
        return None
    functions = _read_functions([node for node in tree.body if isinstance(node, ast.FunctionDef)])
    parsed = read_tree("", tree, b"")
    node = parsed.node
    if node is None or parsed.findings or not functions:
        return None
    names = [node.name, *(reference.name for reference in node.references), *node.branch_labels]
    places = [_PLACEHOLDER.fullmatch(name) for name in names]
    if not all(places):
        return None
    numbers = [int(place[1]) for place in places if place]
    count = len(node.references)
    references = tuple(
        (number, reference.line, reference.role)
        for number, reference in zip(numbers[1 : count + 1], node.references, strict=True)
    )
    return _Head(numbers[0], node.line, references, tuple(numbers[count + 1 :]), functions)


def _is_plain(statement: ast.stmt) -> bool:
    """Whether what a statement binds cannot depend on the strings in it."""
    match statement:
        case ast.Import() | ast.FunctionDef():
            return True
        case ast.ImportFrom(names=names):
            return all(alias.name != "*" for alias in names)
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=value) | ast.AnnAssign(target=ast.Name(id=name), value=value)
        ):
            return name not in ("upgrade", "downgrade") and _is_plain_value(value)
        case _:
            return False


def _is_plain_value(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Tuple | ast.List | ast.Set):
        return all(isinstance(element, ast.Constant) for element in value.elts)
    return isinstance(value, ast.Constant)
