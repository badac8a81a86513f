"""The identity of a migration: what it does, not how it is named, placed, formatted or explained.

Two files have the same body if running them has the same effect for a reason that needs no judgement: they differ only
in comments, layout, docstrings, annotations, the order of imports, imports that nothing uses, or in the values that
place the migration in the graph.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from typing import Final

from golive.migration_graph.model import Finding, Kind
from golive.migration_graph.readers.alembic import NAMES, hash_content
from golive.migration_graph.readers.syntax import list_targets, parse

# The body of a migration that does nothing, such as a merge.
EMPTY: Final = ""
_PLACING: Final = {
    Kind.ALEMBIC: frozenset(NAMES),
    Kind.DJANGO: frozenset({"dependencies", "run_before", "replaces", "initial"}),
}
_UPGRADE: Final = re.compile(rb"^def upgrade\b.*?(?=^def downgrade\b|\Z)", re.MULTILINE | re.DOTALL)
_CREATION: Final = re.compile(
    rb"\b(?:create_(?:table|index|unique_constraint|foreign_key|primary_key)|add_column|CreateModel|AddField|AddIndex|"
    rb"AddConstraint|CREATE\s+(?:UNIQUE\s+)?(?:TABLE|INDEX|TYPE)(?!\s+IF\b))\b"
)
# Fields that hold notes for tools and people, and one that only some versions of Python have.
_IGNORED: Final = frozenset({"annotation", "returns", "type_comment", "type_ignores", "type_params", "kind", "simple"})
_Suite = list[ast.stmt]


def hash_body(key: str, content: bytes, kind: Kind) -> str:
    """SHA-256 in hex of what a migration does; EMPTY if that is nothing.

    The same in every version of Python, so that it can be stored. A file that cannot be parsed is identified by its
    bytes.
    """
    tree = parse(key, content)
    if isinstance(tree, Finding):
        return hash_content(content)
    body = [statement for statement in tree.body if not _places(statement, kind)]
    if kind is Kind.DJANGO:
        body = [_reduce_class(statement) for statement in body]
    if _does_nothing(body, kind):
        return EMPTY
    digest = hashlib.sha256()
    for token in _write([*_list_imports(body), *(each for each in body if not _is_import(each))]):
        digest.update(token.encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    return digest.hexdigest()


def _reduce_class(statement: ast.stmt) -> ast.stmt:
    """The class `Migration` without the lists that place it."""
    if isinstance(statement, ast.ClassDef) and statement.name == "Migration":
        statement.body = [each for each in statement.body if not _places(each, Kind.DJANGO)]
    return statement


def _places(statement: ast.stmt, kind: Kind) -> bool:
    """Whether the statement only sets values that place the migration in the graph."""
    targets = list_targets(statement)
    return bool(targets) and all(isinstance(target, ast.Name) and target.id in _PLACING[kind] for target in targets)


def is_unrepeatable(content: bytes, kind: Kind) -> bool:
    """Whether running it twice must fail, since it makes something that is there then; by a look at its text."""
    found = _UPGRADE.search(content) if kind is Kind.ALEMBIC else None
    return _CREATION.search(found[0] if found else content) is not None


def _does_nothing(body: _Suite, kind: Kind) -> bool:
    if all(_is_import(each) and not _imports_upgrade(each) for each in body):
        return True
    if kind is Kind.ALEMBIC:
        upgrades = [each for each in body if isinstance(each, ast.FunctionDef) and each.name == "upgrade"]
        # Alembic calls no other function; a name bound in any other way may be anything.
        others = sum(map(_names_upgrade, ast.walk(ast.Module(body, []))))
        return len(upgrades) == others == 1 and not any(_list_effects(upgrades[0].body))
    classes = [each for each in body if isinstance(each, ast.ClassDef) and each.name == "Migration"]
    return len(classes) == 1 and all(_assigns_no_operations(each) for each in _list_effects(classes[0].body))


def _imports_upgrade(statement: ast.stmt) -> bool:
    aliases = statement.names if isinstance(statement, (ast.Import, ast.ImportFrom)) else []
    return any((alias.asname or alias.name) in ("upgrade", "*") for alias in aliases)


def _names_upgrade(node: ast.AST) -> bool:
    return "upgrade" in (getattr(node, "name", None), getattr(node, "id", None))


def _assigns_no_operations(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, (ast.Assign, ast.AnnAssign)) else None
    return isinstance(value, (ast.List, ast.Tuple)) and not value.elts


def _list_effects(suite: _Suite) -> Iterator[ast.stmt]:
    """The statements that do something: no docstring or other constant, no `pass`, no `return` of nothing."""
    for statement in suite:
        value = getattr(statement, "value", None)
        is_idle = isinstance(statement, ast.Pass) or (
            isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        )
        if not is_idle and not (isinstance(statement, ast.Return) and value is None):
            yield statement


def _is_import(statement: ast.AST) -> bool:
    return isinstance(statement, (ast.Import, ast.ImportFrom))


def _list_imports(body: _Suite) -> list[ast.stmt]:
    """The module's imports that something uses, one name each, sorted."""
    used = {node.id for statement in body for node in _walk_code(statement) if isinstance(node, ast.Name)}
    imports: dict[tuple[str, str, str], ast.stmt] = {}
    for statement in body:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                if (alias.asname or alias.name).partition(".")[0] in used:
                    imports["", alias.name, alias.asname or ""] = ast.Import([alias])
        elif isinstance(statement, ast.ImportFrom) and statement.module != "__future__":
            for alias in statement.names:
                if alias.name == "*" or (alias.asname or alias.name) in used:
                    source = "." * statement.level + (statement.module or "")
                    imports[source, alias.name, alias.asname or ""] = ast.ImportFrom(
                        statement.module, [alias], statement.level
                    )
    return [imports[place] for place in sorted(imports)]


def _walk_code(node: ast.AST) -> Iterator[ast.AST]:
    """As `ast.walk`, without annotations."""
    todo = [node]
    while todo:
        current = todo.pop()
        yield current
        for _, value in _list_fields(current):
            todo += [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, ast.AST)]


def _list_fields(node: ast.AST) -> Iterator[tuple[str, object]]:
    for name in node._fields:
        if name not in _IGNORED:
            value = getattr(node, name, None)
            if name == "body" and isinstance(value, list):
                value = list(_list_code(value))
            yield name, value


def _list_code(suite: _Suite) -> Iterator[ast.stmt]:
    """The statements of a suite that are code: `pass`, docstrings and other lone constants are not."""
    for statement in suite:
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            yield ast.Assign([statement.target], statement.value)
        elif not isinstance(statement, ast.Pass) and not (
            isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        ):
            yield statement


def _write(body: _Suite) -> Iterator[str]:
    """The tokens of a canonical form. Absent and empty fields are left out: which exist depends on Python's version."""
    todo: list[object] = [ast.Module(body, [])]
    while todo:
        item = todo.pop()
        if isinstance(item, ast.AST):
            yield type(item).__name__
            todo.append(")")
            for name, value in reversed(list(_list_fields(item))):
                if value is not None and value != []:
                    todo += [_Constant(value) if isinstance(item, ast.Constant) else value, f".{name}"]
            if isinstance(item, ast.Constant) and item.value is None:
                todo.append("None")
        elif isinstance(item, list):
            todo += ["]", *reversed([each for each in item if each is not None]), "["]
        elif isinstance(item, _Constant):
            yield item.describe()
        else:
            yield str(item)


class _Constant:
    def __init__(self, value: object) -> None:
        self.value = value

    def describe(self) -> str:
        # The decimal form of a huge integer is refused.
        return hex(self.value) if type(self.value) is int else f"{type(self.value).__name__} {self.value!r}"
