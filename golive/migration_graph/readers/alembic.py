"""Read one Alembic revision file the way `alembic.script.base.Script` loads it, without running it."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from golive.migration_graph.catalogue import make_finding
from golive.migration_graph.model import Finding, Node, ParsedFile, Reference, Role
from golive.migration_graph.readers.bindings import STAR, follow, lose_globals
from golive.migration_graph.readers.literals import UNKNOWN, Binding, Bindings
from golive.migration_graph.readers.syntax import parse

NAMES: Final = ("revision", "down_revision", "branch_labels", "depends_on")
# For files older than Alembic 0.2: without `revision`, the file name is the id.
_LEGACY = re.compile(r"([a-f0-9]+)\.py$")
_ILLEGAL = "@-+:"
_DOCSTRING_LINE = re.compile(r"^[ \t]*(Revision ID|Revises|Create Date):[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_SALVAGED_ID = re.compile(rb"^revision\b[^=\n]*=[ \t]*(?:'([^'\n]+)'|\"([^\"\n]+)\")", re.MULTILINE)
_SALVAGED_PARENTS = re.compile(rb"^down_revision\b[^=\n]*=[ \t]*(.+?)[ \t]*(?:#.*)?$", re.MULTILINE)


def read_fully(key: str, content: bytes) -> ParsedFile:
    """Read a file by parsing all of it."""
    tree = parse(key, content)
    if isinstance(tree, Finding):
        return salvage(key, content, tree)
    return read_tree(key, tree, content)


def hash_content(content: bytes) -> str:
    """SHA-256 in hex, with line endings normalized to LF: git may check the file out with CRLF."""
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()


def read_tree(key: str, tree: ast.Module, content: bytes) -> ParsedFile:
    """Extract the names that Alembic reads (`NAMES`) from a module's statements."""
    names = follow(tree.body)
    if b"global" in content:
        lose_globals(tree.body, names)
    doc = read_docstring(ast.get_docstring(tree, clean=False) or "")
    findings: list[Finding] = []
    name, line = _read_id(key, names, doc, findings)
    if name is None:
        return ParsedFile(key, None, tuple(findings), guesses=guess_names(key))
    # The id in the graph is then only a guess.
    unread: list[str] = ["revision"] if is_unknown(names.get("revision"), names) else []
    references = []
    for wanted, role in (("down_revision", Role.PARENT), ("depends_on", Role.DEPENDENCY)):
        values = _read_values(wanted, names, key, name, findings)
        if values is None:
            unread.append(wanted)
        references += [Reference(value, at, role) for value, at in values or ()]
    if "down_revision" not in names and STAR not in names:
        findings.append(_report_missing(key, name, line))
        unread.append("down_revision")
    labels = _read_values("branch_labels", names, key, name, findings)
    node = Node(
        key,
        name,
        line,
        tuple(references),
        tuple(label for label, _ in labels or ()),
        message=doc["message"],
        create_date=doc.get("Create Date"),
        revises=doc.get("Revises"),
        is_reversible=judge_reversibility(tree.body, names),
        content_hash=hash_content(content),
        unread=tuple(unread),
        parents_line=_find_line("down_revision", names),
        dependencies_line=_find_line("depends_on", names),
    )
    return ParsedFile(key, node, tuple(findings))


def _find_line(wanted: str, names: Bindings) -> int:
    bound = names.get(wanted)
    return bound.line if bound else 0


def read_docstring(text: str) -> dict[str, str]:
    """`message` (the first paragraph, on one line) and the lines of Alembic's template that are present."""
    fields = {match[1]: match[2] for match in reversed(list(_DOCSTRING_LINE.finditer(text)))}
    fields["message"] = " ".join(text.strip().split("\n\n", 1)[0].split())
    return fields


def _read_id(key: str, names: Bindings, doc: dict[str, str], findings: list[Finding]) -> tuple[str | None, int]:
    """The id and its line. None: Alembic could not load this file; a finding says why."""
    stem = PurePosixPath(key).name
    bound = names.get("revision")
    if bound is None and STAR not in names:
        legacy = _LEGACY.match(stem)
        if legacy:
            return legacy[1], 1
        findings.append(
            make_finding(
                "MG105",
                f"{key} binds no `revision`: Alembic refuses the whole folder because of it.",
                "Move a file that is not a revision out of the versions folder, or give it a name that begins with "
                "`__init__`, which Alembic skips.",
                file=key,
                line=1,
            )
        )
        return None, 1
    line = bound.line if bound else 1
    if bound is None or is_unknown(bound, names):
        findings.append(_report_not_literal(key, "revision", line, bound, ()))
        return doc.get("Revision ID") or _strip_slug(key), line
    if not isinstance(bound.value, str) or not is_acceptable_id(bound.value):
        findings.append(
            make_finding(
                "MG105",
                f"{key} has the id {bound.value!r}, which Alembic refuses.",
                "An id is a string without @, -, + and colon.",
                file=key,
                line=line,
            )
        )
        return (bound.value, line) if isinstance(bound.value, str) else (None, line)
    return bound.value, line


def is_unknown(bound: Binding | None, names: Bindings) -> bool:
    """Whether only running the file would tell the value."""
    return bound.value is UNKNOWN if bound else STAR in names


def is_acceptable_id(name: str) -> bool:
    """Whether Alembic accepts this revision id."""
    return not any(character in name for character in _ILLEGAL)


def _read_values(
    wanted: str, names: Bindings, key: str, revision: str, findings: list[Finding]
) -> list[tuple[str, int]] | None:
    """The strings bound to one name, with their lines. None: only running the file would tell; a finding says so."""
    bound = names.get(wanted)
    if bound is None and (STAR not in names or wanted in ("branch_labels", "depends_on")):
        return []
    if bound is None or bound.value is UNKNOWN:
        line = bound.line if bound else names[STAR].line
        findings.append(_report_not_literal(key, wanted, line, bound, (revision,)))
        return None
    lines = _find_lines(bound)
    return [(name, lines.get(name, bound.line)) for name in _list_names(bound.value)]


def _list_names(value: Any) -> list[str]:
    """Like `alembic.util.to_tuple`: None is no name, a string is one name, a collection is iterated."""
    if value is None:
        return []
    values: list[Any]
    if isinstance(value, (set, frozenset)):
        values = sorted(value, key=str)
    elif isinstance(value, (tuple, list, dict)):
        values = list(value)
    else:
        values = [value]
    if values == [None]:
        return []
    return [item if isinstance(item, str) else repr(item) for item in values]


def _find_lines(bound: Binding) -> dict[str, int]:
    """The line of each string that is written out in the expression."""
    if bound.expression is None:
        return {}
    constants = (node for node in ast.walk(bound.expression) if isinstance(node, ast.Constant))
    return {node.value: node.lineno for node in constants if isinstance(node.value, str)}


def _report_not_literal(key: str, wanted: str, line: int, bound: Binding | None, revisions: tuple[str, ...]) -> Finding:
    reason = bound.reason if bound else "may come from a star import"
    return make_finding(
        "MG106",
        f"`{wanted}` in {key} {reason}: only running the file would tell its value.",
        "Write the value out as a string, a tuple of strings, or None; Alembic's own tools do.",
        file=key,
        line=line,
        revisions=revisions,
    )


def _report_missing(key: str, revision: str, line: int) -> Finding:
    return make_finding(
        "MG105",
        f"{key} binds no `down_revision`: Alembic cannot load it.",
        "Name the parent, or write `down_revision = None` for a first revision.",
        file=key,
        line=line,
        revisions=(revision,),
    )


# -- downgrade ---------------------------------------------------------------------------------------------------------


def judge_reversibility(statements: Iterable[ast.stmt], names: Bindings) -> bool | None:
    """Whether a revision can be downgraded. None: unknown, since the functions are not defined in this file."""
    functions = {
        node.name: is_effective(node.body)
        for node in statements
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    if STAR in names or any(name in names and name not in functions for name in ("upgrade", "downgrade")):
        return None
    return judge_functions(functions)


def judge_functions(functions: Mapping[str, bool]) -> bool | None:
    """Whether `downgrade` does anything, or `upgrade` does nothing either (as in a merge). None: neither is defined."""
    if functions.get("downgrade"):
        return True
    return not functions["upgrade"] if "upgrade" in functions else None


def is_effective(body: Iterable[ast.stmt]) -> bool:
    """Whether a function's body does anything besides passing, returning or raising."""
    return any(not _is_idle(statement) for statement in body)


def _is_idle(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    if isinstance(statement, ast.Return):
        return statement.value is None or isinstance(statement.value, ast.Constant)
    return isinstance(statement, (ast.Pass, ast.Raise, ast.Import, ast.ImportFrom))


# -- files that do not parse -------------------------------------------------------------------------------------------


def salvage(key: str, content: bytes, finding: Finding) -> ParsedFile:
    """Keep the node of a file that does not parse if it has exactly one id, so that its children are not reported."""
    ids = find_ids(content)
    if len(ids) != 1:
        return ParsedFile(key, None, (finding,), guesses=guess_names(key))
    name = ids.pop()
    texts = {text.strip() for text in _SALVAGED_PARENTS.findall(content[:100_000])}
    parents = _salvage_parents(texts)
    node = Node(
        key,
        name,
        finding.line or 1,
        tuple(Reference(parent, finding.line or 1) for parent in parents or ()),
        content_hash=hash_content(content),
        unread=() if parents is not None else ("down_revision",),
    )
    return ParsedFile(key, node, (finding,))


def find_ids(content: bytes) -> set[str]:
    """The ids assigned by `revision =` at the start of a line, found without parsing."""
    return {(first or second).decode(errors="replace") for first, second in _SALVAGED_ID.findall(content[:100_000])}


def _salvage_parents(texts: set[bytes]) -> list[str] | None:
    if len(texts) != 1:
        return None
    try:
        return _list_names(ast.literal_eval(texts.pop().decode()))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def guess_names(key: str) -> tuple[str, ...]:
    """The ids that a file may define, judging by its name: Alembic's template is `<id>_<slug>.py`."""
    stem = PurePosixPath(key).stem
    return tuple(dict.fromkeys((stem, _strip_slug(key), *_list_parts(stem))))


def _list_parts(stem: str) -> Iterator[str]:
    yield from (part for part in stem.split("_") if len(part) >= 6 and not part.isalpha())


def _strip_slug(key: str) -> str:
    return PurePosixPath(key).stem.partition("_")[0]
