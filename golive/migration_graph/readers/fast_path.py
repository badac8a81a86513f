"""Fast path for Alembic files: parse each distinct statement form once and cache the result.

Parsing dominates the cost of reading, and migrations repeat themselves. A file is split before each line that starts
with `    op.` and before each function, and the string literals are removed from each piece. What remains, the form,
determines whether the piece is valid Python and what it binds. New forms are parsed; known ones come from the cache.

Why this is exact: a form is accepted only if it is ASCII without quotes or backslashes, so each removed string was one
whole token (or part of a comment), whatever its content. It must also compile on its own between statements of the same
indentation, and pieces that do so compile in sequence. Any other file is parsed in full (`read` returns None).
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
# A line outside the function.
_OUTSIDE: Final = re.compile(rb"\n[^ \n#]")
# Forms that match this could mean something else with other strings or at another place in the file.
_DOUBTFUL: Final = re.compile(
    rb"""['"\\\r\f\1]|\0\0|\w\0|:=|\b(?:global|nonlocal|yield|await|async|set|frozenset|barry_as_FLUFL)\b"""
)
_PLACEHOLDER: Final = re.compile(r"<hole (\d+)>")


@dataclass(frozen=True)
class _Head:
    """The bindings of a file before its first operation. Integers index into its strings; lines start at 1."""

    revision: int
    line: int
    parents_line: int
    dependencies_line: int
    references: tuple[tuple[int, int, Role], ...]
    branch_labels: tuple[int, ...]
    functions: tuple[tuple[str, bool], ...]


# The functions defined in a piece, and whether their bodies do anything there.
_Functions = tuple[tuple[str, bool], ...]


class FastPath:
    """The cache of known forms. One per audit: nothing persists between runs."""

    def __init__(self) -> None:
        self._heads: dict[tuple[bytes, bool], _Head | None] = {}
        # Operations that another one may follow; operations that end a function; starts of functions.
        self._open: dict[bytes, bool] = {}
        self._closed: dict[bytes, bool] = {}
        self._begun: dict[tuple[bytes, bool], _Functions | None] = {}

    def read(self, key: str, content: bytes) -> ParsedFile | None:
        """The same result as `read_fully`. None: the file must be parsed in full."""
        split = _split_docstring(content)
        if split is None:
            return None
        doc, rest = split
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
        """Record which functions the pieces make effective. False: a piece does not fit the fast path."""
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
    """The leading docstring of a file, and the rest. None: the file does not fit the fast path."""
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
    fields = read_docstring(doc)
    node = Node(
        key,
        revision,
        head.line + offset,
        tuple(Reference(name, line + offset, role) for name, (_, line, role) in zip(names, head.references)),
        labels,
        fields["message"],
        fields.get("Create Date"),
        fields.get("Revises"),
        judge_functions(functions),
        hash_content(content),
        parents_line=head.parents_line and head.parents_line + offset,
        dependencies_line=head.dependencies_line and head.dependencies_line + offset,
    )
    return ParsedFile(key, node)


# -- parsing new forms -------------------------------------------------------------------------------------------------


def _is_operation(form: bytes, *, is_closed: bool) -> bool:
    """Whether the form is only statements of one function, the first of which starts with `op.`."""
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
    """Whether the last statement is directly in the body of a top-level function, so that another may follow."""
    function = tree.body[-1]
    if not isinstance(function, ast.FunctionDef):
        return False
    end = function.body[-1]
    return isinstance(end, ast.Pass) and end.col_offset == 4


def _read_functions(statements: Sequence[ast.stmt]) -> _Functions | None:
    """The functions, and whether they do anything. None if there are any other statements."""
    functions = []
    for node in statements:
        if not isinstance(node, ast.FunctionDef) or node.name not in ("upgrade", "downgrade") or node.decorator_list:
            return None
        functions.append((node.name, is_effective(node.body)))
    return tuple(functions)


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
        (number, reference.line, reference.role) for number, reference in zip(numbers[1 : count + 1], node.references)
    )
    return _Head(
        numbers[0],
        node.line,
        node.parents_line,
        node.dependencies_line,
        references,
        tuple(numbers[count + 1 :]),
        functions,
    )


def _is_plain(statement: ast.stmt) -> bool:
    """Whether the names that a statement binds are independent of the strings in it."""
    if isinstance(statement, ast.ImportFrom):
        return all(alias.name != "*" for alias in statement.names)
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        return _is_plain_binding(statement.targets[0], statement.value)
    if isinstance(statement, ast.AnnAssign):
        return _is_plain_binding(statement.target, statement.value)
    return isinstance(statement, (ast.Import, ast.FunctionDef))


def _is_plain_binding(target: ast.expr, value: ast.expr | None) -> bool:
    return isinstance(target, ast.Name) and target.id not in ("upgrade", "downgrade") and _is_plain_value(value)


def _is_plain_value(value: ast.expr | None) -> bool:
    if isinstance(value, (ast.Tuple, ast.List, ast.Set)):
        return all(isinstance(element, ast.Constant) for element in value.elts)
    return isinstance(value, ast.Constant)
