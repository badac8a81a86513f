"""Read one Django migration file the way `django.db.migrations.loader` does, without importing it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from golive.migration_graph.catalogue import make_finding
from golive.migration_graph.model import Finding, Node, ParsedFile, Reference, Role
from golive.migration_graph.readers.alembic import hash_content
from golive.migration_graph.readers.bindings import STAR, follow
from golive.migration_graph.readers.literals import MAX_CHARACTERS, UNKNOWN, Bindings, NotLiteralError, evaluate
from golive.migration_graph.readers.syntax import parse

# A reference to a swappable model is written as its setting: `settings.AUTH_USER_MODEL`.
SETTING_PREFIX: Final = "settings."
# Operations that are irreversible without this argument (the second positional one).
_ONE_WAY: Final = {"RunPython": "reverse_code", "RunSQL": "reverse_sql"}


def name_migration(key: str, app: str) -> str:
    return f"{app}.{PurePosixPath(key).name.removesuffix('.py')}"


def read_migration(key: str, content: bytes, app: str) -> ParsedFile:
    """Read the `Migration` class of a file."""
    name = name_migration(key, app)
    tree = parse(key, content)
    if isinstance(tree, Finding):
        # The file name gives its name, so it stays in the graph and its dependants are not reported.
        node = Node(key, name, tree.line or 1, content_hash=hash_content(content), unread=("dependencies",))
        return ParsedFile(key, node, (tree,))
    outer = follow(tree.body)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Migration"]
    if not classes:
        return _report_no_class(key, name, content, outer)
    migration = classes[-1]
    reader = _ClassReader(key, name, follow(migration.body, outer))
    if "dependencies" not in reader.names and not all(_get_last_name(base) == "Migration" for base in migration.bases):
        reader.report_inherited("dependencies", migration.lineno)
    references = tuple(Reference(target, line) for target, line in reader.read_targets("dependencies"))
    run_before = tuple(Reference(target, line, Role.DEPENDENCY) for target, line in reader.read_targets("run_before"))
    replaces = tuple(target for target, _ in reader.read_targets("replaces"))
    node = Node(
        key,
        name,
        migration.lineno,
        references,
        message=" ".join((ast.get_docstring(tree) or "").split("\n\n", 1)[0].split()),
        is_reversible=not any(_find_one_way(migration)),
        content_hash=hash_content(content),
        unread=tuple(reader.unread),
        parents_line=bound.line if (bound := reader.names.get("dependencies")) else 0,
    )
    return ParsedFile(key, node, tuple(reader.findings), run_before, replaces)


def _report_no_class(key: str, name: str, content: bytes, names: Bindings) -> ParsedFile:
    node = Node(key, name, 1, content_hash=hash_content(content), unread=("dependencies",))
    if "Migration" in names or STAR in names:
        finding = make_finding(
            "MG106",
            f"`Migration` in {key} is not a class written here: only running the file would tell what it depends on.",
            "Write the class out, as makemigrations does.",
            file=key,
            line=names["Migration" if "Migration" in names else STAR].line,
            revisions=(name,),
        )
    else:
        finding = make_finding(
            "MG105",
            f"{key} has no class `Migration`: Django refuses to load the app because of it.",
            "Give a file that is not a migration a name that begins with an underscore, or move it out of the folder.",
            file=key,
            line=1,
            revisions=(name,),
        )
    return ParsedFile(key, node, (finding,))


class _ClassReader:
    """Reads reference lists from the bindings of a class body; collects findings and unreadable attributes."""

    def __init__(self, key: str, name: str, names: Bindings) -> None:
        self.key = key
        self.name = name
        self.names = names
        self.findings: list[Finding] = []
        self.unread: list[str] = []

    def read_targets(self, wanted: str) -> list[tuple[str, int]]:
        """The targets of one list as `app.name`, with their lines. Elements that are not literals are reported."""
        bound = self.names.get(wanted)
        if bound is None:
            return []
        elements = _list_elements(bound.expression)
        if bound.value is UNKNOWN and elements is None:
            self._report(wanted, bound.line, bound.reason)
            return []
        if elements is None:
            return [(target, bound.line) for target in _name_targets(bound.value)]
        collected: list[tuple[str, int]] = []
        for element in elements:
            targets = self._read_element(element)
            if targets is None:
                self._report(wanted, element.lineno, "has an element that is not a literal")
            collected += [(target, element.lineno) for target in targets or ()]
        return collected

    def _read_element(self, element: ast.expr) -> list[str] | None:
        if isinstance(element, ast.Call):
            target = _read_call(element, self.names)
            return None if target is None else [target]
        try:
            if isinstance(element, ast.Starred):
                return _name_targets(evaluate(element.value, self.names))
            return _name_targets([evaluate(element, self.names)])
        except NotLiteralError:
            return None

    def report_inherited(self, wanted: str, line: int) -> None:
        """Report a list that another class than Django's own may define."""
        self._report(wanted, line, "may be inherited")

    def _report(self, wanted: str, line: int, reason: str) -> None:
        self.unread.append(wanted)
        self.findings.append(
            make_finding(
                "MG106",
                f"`{wanted}` in {self.key} {reason}: only running the file would tell its value.",
                'Write each element out as ("app", "name"), or as migrations.swappable_dependency(settings.X).',
                file=self.key,
                line=line,
                revisions=(self.name,),
            )
        )


def _list_elements(expression: ast.expr | None) -> list[ast.expr] | None:
    """The elements of a list literal or of a sum of list literals."""
    if isinstance(expression, (ast.List, ast.Tuple, ast.Set)):
        return expression.elts
    if isinstance(expression, ast.BinOp) and isinstance(expression.op, ast.Add):
        first, second = _list_elements(expression.left), _list_elements(expression.right)
        return None if first is None or second is None else [*first, *second]
    return None


def _name_targets(value: Any) -> list[str]:
    """`app.name` for each pair; anything else is kept as its repr and will be reported as dangling."""
    pairs: Sequence[Any] = list(value) if isinstance(value, (tuple, list, set, frozenset)) else [value]
    return [".".join(pair) if _is_pair(pair) else repr(pair)[:MAX_CHARACTERS] for pair in pairs]


def _is_pair(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(part, str) for part in value)


def _read_call(call: ast.Call, names: Bindings) -> str | None:
    """Read `swappable_dependency(settings.X)`, the only call that makemigrations writes here."""
    if _get_last_name(call.func) != "swappable_dependency" or len(call.args) != 1 or call.keywords:
        return None
    argument = call.args[0]
    if isinstance(argument, ast.Attribute) and _get_last_name(argument.value) == "settings":
        return SETTING_PREFIX + argument.attr
    try:
        model = evaluate(argument, names)
    except NotLiteralError:
        return None
    return f"{model.split('.')[0].lower()}.__first__" if isinstance(model, str) else None


def _get_last_name(expression: ast.expr) -> str:
    if isinstance(expression, ast.Name):
        return expression.id
    return expression.attr if isinstance(expression, ast.Attribute) else ""


def _find_one_way(migration: ast.ClassDef) -> Iterator[ast.Call]:
    """The irreversible operations. Calls with `*` or `**` may pass the reverse argument, so they are not counted."""
    for node in ast.walk(migration):
        if not isinstance(node, ast.Call) or _get_last_name(node.func) not in _ONE_WAY:
            continue
        argument = _ONE_WAY[_get_last_name(node.func)]
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        if None in given or any(isinstance(value, ast.Starred) for value in node.args):
            continue
        reverse = node.args[1] if len(node.args) > 1 else given.get(argument)
        if reverse is None or (isinstance(reverse, ast.Constant) and reverse.value is None):
            yield node
